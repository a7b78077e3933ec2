/*
 * replication_slot.h
 *		Replication slots of pipelines, as processes other than their decoders
 *		see them.
 */
#ifndef FIREHOSE_WAL_REPLICATION_SLOT_H
#define FIREHOSE_WAL_REPLICATION_SLOT_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

/* The properties of a replication slot. */
typedef struct SlotInfo
{
	Oid			database;		/* InvalidOid: a physical one */
	char		plugin[NAMEDATALEN];
	bool		persistent;		/* neither temporary nor being created */
	bool		lost;			/* invalidated: the WAL it needs is gone */
	/* made by synchronization while on a standby */
	bool		synced;
	bool		failover;		/* is synchronized to standbys */
	int			active_pid;		/* 0: not in use */
	XLogRecPtr	confirmed;
	XLogRecPtr	restart;
} SlotInfo;

/* The result of dropping a slot. */
typedef enum SlotDrop
{
	SLOT_DROPPED,
	/* there is none of this name in the database */
	SLOT_ABSENT,
	SLOT_BUSY					/* it is in use, or the drop failed: try later
								 * */
} SlotDrop;

/* The slot of a pipeline that names none: firehose_<database>_<pipeline>. */
extern char *replication_slot_default_name(Oid database, int32 id);

/* Does a name look like that of any pipeline? */
extern bool replication_slot_is_default_name(const char *name);

/* Look at a slot; false: there is none of this name. */
extern bool replication_slot_look(const char *name, SlotInfo *info);

/* How many slots may still be made? */
extern int	replication_slots_left(void);

/*
 * Drop a slot of a database, unless it is used.  Never raises an error;
 * outside a transaction.
 */
extern SlotDrop replication_slot_drop(const char *name, Oid database);

/*
 * Decoder: have a slot, that is not in use, synchronized to standbys, or not.
 * Core would wait for one that is; the decoder is to find that itself.
 */
extern void replication_slot_set_failover(const char *name, bool failover);

/* In a transaction: drop a slot that was invalidated; error if it is used. */
extern void replication_slot_drop_lost(const char *name);

/*
 * Drop the slots of a database that have the default name of a pipeline and
 * whose pipelines are not in the list of ids.  Never raises an error; outside
 * a transaction.
 */
extern void replication_slot_drop_orphans(Oid database, const List *ids);

#endif							/* FIREHOSE_WAL_REPLICATION_SLOT_H */
