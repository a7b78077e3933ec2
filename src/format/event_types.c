/*
 * event_types.c
 *		For formats that tell more of a table than its columns' names: types
 *		with their modifiers, and which columns are the primary key.
 *
 * pgoutput tells one key, that of the replica identity, and core's reader of
 * its messages skips modifiers, so the rest is asked of the catalogs: in
 * decoders those of the change, since it is under the change's snapshot.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "common/hashfn.h"
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

/* Plan a column again, if its values follow the modifier. */
static void
plan_with_typmod(EventRelation *relation, EventColumn *column)
{
	MemoryContext old;

	if (column->typmod < 0 || !value_follows_typmod(&relation->options))
		return;
	old = MemoryContextSwitchTo(relation->context);
	column->type = value_type_get(relation->context, column->typid, column->typmod,
								  &relation->options, &relation->relids);
	MemoryContextSwitchTo(old);
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

		column->nullable = true;
		if (attnum != InvalidAttrNumber)
		{
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);

			if (att->atttypid == column->typid)
				column->typmod = att->atttypmod;
			column->nullable = !att->attnotnull;
			column->primary = bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, pk);
		}
		set_type(relation, column);
		plan_with_typmod(relation, column);
	}
	bms_free(pk);
	if (rel)
		RelationClose(rel);
}

uint64
event_relation_fingerprint(const EventRelation *relation)
{
	StringInfoData text;
	uint64		hash;

	initStringInfo(&text);
	appendStringInfo(&text, "%s%s", relation->schema_json, relation->table_json);
	for (int i = 0; i < relation->ncolumns; i++)
	{
		const EventColumn *column = &relation->columns[i];

		appendStringInfo(&text, "%s%s%d%d%d", column->label, column->type_json, column->nullable,
						 column->key, column->primary);
	}
	hash = DatumGetUInt64(hash_any_extended((const unsigned char *) text.data, text.len, 0));
	pfree(text.data);
	return hash;
}
