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
 * Decoder process only, except where noted.
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

/*
 * The end of the WAL, if at the last look there was some that a standby did
 * not have: the gate is closed.  Invalid: it is open.
 */
extern XLogRecPtr standby_gate_lacks(void);

/*
 * Let nothing pass that begins at `from` or later before standbys have all up
 * to `lsn`.
 */
extern void standby_gate_hold(XLogRecPtr from, XLogRecPtr lsn);

/*
 * Have every confirmation of a standby set this process's latch, once; or not.
 * Whoever looks at the gate afterwards misses none, except in one case: a
 * walsender goes by the settings that it has read, and after a reload it may
 * read them a moment later than this process.  No other event opens the gate
 * but such a reload.  (A slot that is created, for a name that had none, lets
 * WAL pass only once its standby confirms it.)
 */
extern void standby_gate_want_wakeup(void);
extern void standby_gate_cancel_wakeup(void);

/*
 * The slot that has not confirmed a position, for the reason of a state; in
 * palloc'd memory.  Any process may ask.
 */
extern char *standby_gate_reason(XLogRecPtr lsn);

#endif							/* FIREHOSE_WAL_STANDBY_GATE_H */
