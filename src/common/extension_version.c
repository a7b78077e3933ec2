/*
 * extension_version.c
 *		The version of the extension's objects in a database, against that of
 *		the library.
 *
 * Runs in backends and senders, within a transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "common/catalog_row.h"
#include "common/extension_version.h"
#include "common/names.h"

/* Of what is written as 1.10.2: negative, zero or positive, as strcmp. */
static int
compare_versions(const char *a, const char *b)
{
	for (;;)
	{
		char	   *a_end;
		char	   *b_end;
		unsigned long a_number = strtoul(a, &a_end, 10);
		unsigned long b_number = strtoul(b, &b_end, 10);

		if (a_number != b_number)
			return a_number < b_number ? -1 : 1;
		if (*a_end != '.' || *b_end != '.')
			return strcmp(a_end, b_end);
		a = a_end + 1;
		b = b_end + 1;
	}
}

/* The version of an extension, by a snapshot as of catalog_row; or NULL. */
static char *
version_of(Oid extension, Snapshot snapshot)
{
	HeapTuple	row = catalog_row(ExtensionRelationId, ExtensionOidIndexId,
								  Anum_pg_extension_oid, extension, snapshot);
	Relation	rel;
	Datum		version;
	bool		isnull;
	char	   *result;

	if (row == NULL)
		return NULL;
	rel = table_open(ExtensionRelationId, AccessShareLock);
	version = heap_getattr(row, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull);
	result = isnull ? NULL : TextDatumGetCString(version);
	table_close(rel, AccessShareLock);
	heap_freetuple(row);
	return result;
}

/* That of this database's objects; NULL: there are none. */
static char *
version_of_objects(void)
{
	Oid			extension = get_extension_oid(FIREHOSE_NAME, true);

	return OidIsValid(extension) ? version_of(extension, NULL) : NULL;
}

/*
 * Called before the script runs, whose new functions the old library misses;
 * what core says of that is no help.
 */
void
extension_version_check(Oid extension)
{
	const char *version = version_of(extension, SnapshotSelf);

	if (version == NULL || compare_versions(version, FIREHOSE_VERSION) <= 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"%s\" of version %s needs its library of that version",
					FIREHOSE_NAME, version),
			 errdetail("The server runs the library of version %s.", FIREHOSE_VERSION),
			 errhint("Restart the server to finish the upgrade of %s, and then repeat the command.",
					 FIREHOSE_NAME)));
}

const char *
extension_version_remedy(const char *otherwise)
{
	const char *version = version_of_objects();
	int			order = version == NULL ? 0 : compare_versions(version, FIREHOSE_VERSION);

	if (order == 0)
		return otherwise;
	if (order < 0)
		return psprintf("To bring the objects from version %s to the library's, %s, run: ALTER EXTENSION %s UPDATE;",
						version, FIREHOSE_VERSION, FIREHOSE_NAME);
	return psprintf("The objects are of version %s, and the library is of %s: install the library of version %s and restart the server.",
					version, FIREHOSE_VERSION, version);
}

void
extension_version_report(void)
{
	static char reported[64] = FIREHOSE_VERSION;
	const char *version = version_of_objects();

	if (version == NULL || strncmp(version, reported, sizeof(reported) - 1) == 0)
		return;
	strlcpy(reported, version, sizeof(reported));
	if (compare_versions(version, FIREHOSE_VERSION) != 0)
		ereport(LOG,
				(errmsg("extension \"%s\" of database \"%s\" is of version %s, its library of version %s",
						FIREHOSE_NAME, get_database_name(MyDatabaseId), version, FIREHOSE_VERSION),
				 errhint("%s", extension_version_remedy(""))));
}
