/*
 * trigger.h
 *		The right to have a table send by a trigger.
 */
#ifndef FIREHOSE_PUT_TRIGGER_H
#define FIREHOSE_PUT_TRIGGER_H

/*
 * Have CREATE TRIGGER check the rights of whoever creates a trigger with
 * firehose_trigger.
 */
extern void trigger_install_hook(void);

#endif							/* FIREHOSE_PUT_TRIGGER_H */
