/*
 * retried.h
 *		The dead letters that the current transaction has queued again: their
 *		outcome is forgotten when it commits, and only then.
 */
#ifndef FIREHOSE_STATUS_RETRIED_H
#define FIREHOSE_STATUS_RETRIED_H

extern void retried_register_callbacks(void);

/* This record is queued again if the current (sub)transaction commits. */
extern void retried_add(uint64 id);

#endif							/* FIREHOSE_STATUS_RETRIED_H */
