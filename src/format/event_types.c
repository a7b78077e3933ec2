/*
 * event_types.c
 *		For formats that tell more of a table than its columns' names: types
 *		with their modifiers, and which columns are the primary key.
 *
 * Decoder process.  pgoutput sends no modifiers and one key, that of the
 * replica identity, so the rest is asked of the catalogs: those of the change,
 * since it is under the change's snapshot.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "common/compat.h"
#include "common/json_write.h"
#include "format/event.h"

/*
 * A type's name with its modifier, as a JSON string.  Of a name that has to be
 * quoted the quotes are left out, as wal2json does, unless a schema or
 * brackets are outside of them.
 */
static void
set_type(EventRelation *relation, EventColumn *column)
{
	MemoryContext old = MemoryContextSwitchTo(relation->context);
	char	   *name = format_type_with_typemod(column->typid, column->typmod);
	int			length = strlen(name);
	bool		quoted = name[0] == '"' && strchr(name + 1, '"') == name + length - 1;
	StringInfoData json;

	initStringInfo(&json);
	json_put_string(&json, quoted ? name + 1 : name, quoted ? length - 2 : length);
	json_terminate(&json);
	column->type_json = json.data;
	column->type_json_len = json.len;
	pfree(name);
	MemoryContextSwitchTo(old);
}

/* Find a column in the table; 0: it is gone. */
static AttrNumber
find_attribute(TupleDesc tupdesc, const char *name)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	return InvalidAttrNumber;
}

void
event_relation_add_types(EventRelation *relation)
{
	Relation	rel = RelationIdGetRelation(relation->relid);
	Bitmapset  *pk = NULL;

	if (rel)
		pk = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	for (int i = 0; i < relation->ncolumns; i++)
	{
		EventColumn *column = &relation->columns[i];
		AttrNumber	attnum = rel ? find_attribute(RelationGetDescr(rel), column->name) :
			InvalidAttrNumber;

		if (attnum != InvalidAttrNumber)
		{
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);

			if (att->atttypid == column->typid)
				column->typmod = att->atttypmod;
			column->primary = bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, pk);
		}
		set_type(relation, column);
	}
	bms_free(pk);
	if (rel)
		RelationClose(rel);
}
