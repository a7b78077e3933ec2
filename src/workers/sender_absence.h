/*
 * sender_absence.h
 *		Why a database has no sender, for views.
 */
#ifndef FIREHOSE_WORKERS_SENDER_ABSENCE_H
#define FIREHOSE_WORKERS_SENDER_ABSENCE_H

/* Have firehose_stat_stream say so. */
extern void sender_absence_register(void);

#endif							/* FIREHOSE_WORKERS_SENDER_ABSENCE_H */
