/*
 * extension_drop.h
 *		Objects that DROP EXTENSION takes along beyond its objects.
 */
#ifndef FIREHOSE_WORKERS_EXTENSION_DROP_H
#define FIREHOSE_WORKERS_EXTENSION_DROP_H

/*
 * The extension is being dropped from this database: tell how many pipelines
 * and queued records go with it, and take back the default "wal" of the
 * database's sessions.  Rolled back with the transaction.
 */
extern void extension_drop_follow(void);

#endif							/* FIREHOSE_WORKERS_EXTENSION_DROP_H */
