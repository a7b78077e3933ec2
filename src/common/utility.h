/*
 * utility.h
 *		ProcessUtility_hook, which several of our modules put themselves into.
 *		The parameters are those of every function of that chain.
 */
#ifndef FIREHOSE_COMMON_UTILITY_H
#define FIREHOSE_COMMON_UTILITY_H

#include "tcop/utility.h"

#define UTILITY_PARAMETERS \
	PlannedStmt *pstmt, const char *query_string, bool read_only_tree, \
	ProcessUtilityContext context, ParamListInfo params, \
	QueryEnvironment *query_env, DestReceiver *dest, QueryCompletion *qc

#define UTILITY_ARGUMENTS \
	pstmt, query_string, read_only_tree, context, params, query_env, dest, qc

/* Put a hook at the head of the chain; returns the function it has to call. */
static inline ProcessUtility_hook_type
utility_install_hook(ProcessUtility_hook_type hook)
{
	ProcessUtility_hook_type next = ProcessUtility_hook;

	ProcessUtility_hook = hook;
	return next ? next : standard_ProcessUtility;
}

#endif							/* FIREHOSE_COMMON_UTILITY_H */
