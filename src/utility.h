/*
 * utility.h
 *		Hooks into DDL: statements that need a database without connections,
 *		and the coming and going of the extension and its streams.
 */
#ifndef FIREHOSE_UTILITY_H
#define FIREHOSE_UTILITY_H

extern void utility_install_hooks(void);

#endif							/* FIREHOSE_UTILITY_H */
