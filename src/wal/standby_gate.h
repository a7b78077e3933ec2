/*
 * standby_gate.h
 *		WAL that standbys have, and so will not miss after a promotion.
 *
 * A change that was delivered and does not exist on the new primary cannot be
 * taken back.  So a decoder whose slot is a failover slot reads only the WAL
 * that all standbys of synchronized_standby_slots have confirmed, as core's
 * walsenders do.  Where the setting is empty, for other slots, and below
 * PostgreSQL 17, the gate is open.
 *
 * It is asked for one position at a time, the end of the WAL at that moment,
 * until that is confirmed: the end itself moves on as fast as standbys follow.
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_WAL_STANDBY_GATE_H
#define FIREHOSE_WAL_STANDBY_GATE_H

#include "access/xlogdefs.h"

/* Whether standbys have the WAL up to a position now. */
extern bool standby_gate_has(XLogRecPtr lsn);

/* Of the WAL up to its end `flushed`, that which may be read; looks anew. */
extern XLogRecPtr standby_gate_pass(XLogRecPtr flushed);

/* The same as of the last look. */
extern XLogRecPtr standby_gate_passed(XLogRecPtr flushed);

/* Was there WAL at the last look that a standby did not have? */
extern bool standby_gate_is_closed(void);

/* Have every standby's progress set this process's latch, once; or not. */
extern void standby_gate_want_wakeup(void);
extern void standby_gate_cancel_wakeup(void);

/*
 * The slot that has not confirmed a position (Invalid: that of the gate), for
 * the reason of a state; in palloc'd memory.
 */
extern char *standby_gate_reason(XLogRecPtr lsn);

#endif							/* FIREHOSE_WAL_STANDBY_GATE_H */
