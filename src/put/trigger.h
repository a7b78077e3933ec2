/*
 * trigger.h
 *		Who may have a table send by a trigger.
 */
#ifndef FIREHOSE_PUT_TRIGGER_H
#define FIREHOSE_PUT_TRIGGER_H

/* Have CREATE TRIGGER look at who creates a trigger of ours. */
extern void trigger_install_hook(void);

#endif							/* FIREHOSE_PUT_TRIGGER_H */
