/*
 * database_scan.h
 *		Reading pg_database.  Launcher process only.
 */
#ifndef FIREHOSE_WORKERS_DATABASE_SCAN_H
#define FIREHOSE_WORKERS_DATABASE_SCAN_H

/*
 * Read pg_database, in a transaction of its own, bring the entries in use up
 * to date, and forget databases that are gone.
 */
extern void database_scan(void);

/*
 * Give entries to the databases of the last scan that have none, as far as
 * there are free ones; call it again after senders have come and gone.
 */
extern void database_scan_place(void);

#endif							/* FIREHOSE_WORKERS_DATABASE_SCAN_H */
