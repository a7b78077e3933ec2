/*
 * trigger.h
 *		The right to have a table send by a trigger, and which tables do.
 */
#ifndef FIREHOSE_PUT_TRIGGER_H
#define FIREHOSE_PUT_TRIGGER_H

#include "access/htup.h"
#include "utils/relcache.h"

/*
 * Have CREATE TRIGGER check the rights of whoever creates a trigger with
 * firehose_trigger.
 */
extern void trigger_install_hook(void);

/*
 * The stream that a row of pg_trigger names; NULL: it is no trigger of ours,
 * or one that names none and is an error whenever it fires.
 */
extern const char *trigger_stream(Relation triggers, HeapTuple tuple);

#endif							/* FIREHOSE_PUT_TRIGGER_H */
