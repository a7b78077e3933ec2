/*
 * ddl_hooks.h
 *		Hooks into DDL: statements that need a database without connections,
 *		and the coming and going of the extension, its streams and pipelines.
 */
#ifndef FIREHOSE_WORKERS_DDL_HOOKS_H
#define FIREHOSE_WORKERS_DDL_HOOKS_H

extern void ddl_hooks_install(void);

/*
 * A pipeline was made, changed or dropped: the sender is to look when this
 * transaction has committed.
 */
extern void ddl_hooks_request_recheck(void);

#endif							/* FIREHOSE_WORKERS_DDL_HOOKS_H */
