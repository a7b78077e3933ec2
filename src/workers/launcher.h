/*
 * launcher.h
 *		The launcher: one static background worker, connected to no database,
 *		that keeps a sender running in every database that has the extension,
 *		and a decoder for every pipeline.
 */
#ifndef FIREHOSE_WORKERS_LAUNCHER_H
#define FIREHOSE_WORKERS_LAUNCHER_H

/*
 * Register the launcher with the postmaster, which starts it after recovery.
 */
extern void launcher_register_worker(void);

#endif							/* FIREHOSE_WORKERS_LAUNCHER_H */
