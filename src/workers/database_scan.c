/*
 * database_scan.c
 *		Reading pg_database, and bringing the table of databases in step.
 *		Launcher process only.
 *
 * Shared memory and its locking contract: database_table.h.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "common/compat.h"
#include "workers/database_control.h"
#include "workers/database_scan.h"
#include "workers/database_table.h"
#include "workers/decoder_lifecycle.h"

/* A database of the last scan. */
typedef struct FoundDatabase
{
	Oid			dboid;
	NameData	name;
	bool		eligible;
} FoundDatabase;

/* The last scan. */
static struct
{
	MemoryContext context;		/* of found, reset by the next scan */
	FoundDatabase *found;
	int			nfound;
	int			nplaced;		/* of them, how many were given an entry */
	bool		warned_full;	/* warned: there were more than entries */
}			scan;

static void read_pg_database(void);
static void update_known_databases(void);

/* Read pg_database and bring the table up to date. */
void
database_scan(void)
{
	read_pg_database();
	update_known_databases();
	scan.nplaced = 0;
}

/* Read all databases into scan.found, in a short transaction. */
static void
read_pg_database(void)
{
	Relation	rel;
	TableScanDesc table_scan;
	HeapTuple	tuple;
	int			capacity = 64;

	if (scan.context == NULL)
		scan.context = AllocSetContextCreate(TopMemoryContext,
											 "firehose databases",
											 ALLOCSET_SMALL_SIZES);
	MemoryContextReset(scan.context);
	scan.found = MemoryContextAlloc(scan.context,
									capacity * sizeof(FoundDatabase));
	scan.nfound = 0;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	table_scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(table_scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		FoundDatabase *found;

		if (scan.nfound == capacity)
		{
			capacity *= 2;
			scan.found = repalloc(scan.found,
								  capacity * sizeof(FoundDatabase));
		}
		found = &scan.found[scan.nfound++];
		found->dboid = form->oid;
		found->name = form->datname;
		found->eligible = form->datallowconn && !form->datistemplate &&
			form->datconnlimit != DATCONNLIMIT_INVALID_DB;
	}
	table_endscan(table_scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

/* Bring the entries in use up to date, and forget databases that are gone. */
static void
update_known_databases(void)
{
	for (int i = 0; i < database_table->nentries; i++)
	{
		DatabaseEntry *entry = &database_table->entries[i];
		FoundDatabase *found = NULL;
		Oid			gone = InvalidOid;

		LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
		for (int j = 0; j < scan.nfound && !found; j++)
		{
			if (scan.found[j].dboid == entry->dboid)
				found = &scan.found[j];
		}

		if (found)
		{
			entry->name = found->name;
			entry->eligible = found->eligible;
			if (!entry->eligible)
			{
				worker_slot_request_exit(&entry->sender);
				decoders_exclude(entry->dboid);
				database_free_if_idle(entry);
			}
		}
		else if (entry->eligible)
		{
			/*
			 * seen by an earlier scan, so not one that is just being created
			 */
			gone = entry->dboid;
		}
		LWLockRelease(database_table->lock);

		if (OidIsValid(gone))
			database_forget(gone);
	}
}

/*
 * Give entries to databases that have none.  When there are more of them than
 * entries, the rest waits until senders have found out that the extension is
 * not in those that came first.
 */
void
database_scan_place(void)
{
	bool		full = false;
	bool		probing = false;

	LWLockAcquire(database_table->lock, LW_EXCLUSIVE);
	while (scan.nplaced < scan.nfound && !full)
	{
		FoundDatabase *found = &scan.found[scan.nplaced];
		DatabaseEntry *entry = database_find(found->dboid);

		if (found->eligible)
		{
			if (!entry)
				entry = database_claim(found->dboid);
			if (entry)
			{
				entry->name = found->name;
				entry->eligible = true;
			}
			else
				full = true;
		}
		if (!full)
			scan.nplaced++;
	}
	/* a sender that has found nothing gives its entry back when it has left */
	for (int i = 0; i < database_table->nentries; i++)
	{
		DatabaseEntry *entry = &database_table->entries[i];

		probing |= entry->extension == EXTENSION_UNKNOWN ||
			(entry->extension == EXTENSION_ABSENT && entry->sender.state != WORKER_SLOT_EMPTY);
	}
	LWLockRelease(database_table->lock);

	if (full && !probing && !scan.warned_full)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("firehose launcher: more databases have the extension than firehose.max_databases (%d)",
						database_table->nentries),
				 errdetail("Nothing is sent from database \"%s\", nor from those found after it.",
						   NameStr(scan.found[scan.nplaced].name)),
				 errhint("Increase firehose.max_databases and restart the server.")));
	if (!probing || !full)
		scan.warned_full = full;
}
