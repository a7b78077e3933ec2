/*
 * utility.h
 *		Hooks into DDL: statements that need a database without connections,
 *		and the coming and going of the extension, its streams and pipelines.
 */
#ifndef FIREHOSE_UTILITY_H
#define FIREHOSE_UTILITY_H

extern void utility_install_hooks(void);

/* A pipeline was made, changed or dropped: the sender is to look when this transaction has committed. */
extern void utility_request_recheck(void);

#endif							/* FIREHOSE_UTILITY_H */
