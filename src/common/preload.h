/*
 * preload.h
 *		Was the library loaded when the server started?
 *
 * Shared memory and background workers can be had then only.  In a session
 * that loads the library later, everything that needs them raises an error.
 */
#ifndef FIREHOSE_COMMON_PRELOAD_H
#define FIREHOSE_COMMON_PRELOAD_H

/* Set by _PG_init in the postmaster, and never changed after. */
extern bool firehose_preloaded;

/* Error (object_not_in_prerequisite_state) unless it was. */
extern void firehose_check_preloaded(void);

#endif							/* FIREHOSE_COMMON_PRELOAD_H */
