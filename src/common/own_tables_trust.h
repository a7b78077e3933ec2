/*
 * own_tables_trust.h
 *		May a table of the extension still be used?
 */
#ifndef FIREHOSE_COMMON_OWN_TABLES_TRUST_H
#define FIREHOSE_COMMON_OWN_TABLES_TRUST_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

/*
 * Error (object_not_in_prerequisite_state) unless a table belongs to the
 * extension's owner and carries nothing that would run code of others.
 */
extern void own_tables_check_trust(Relation rel, Oid extension, Oid owner);

/*
 * Lock the indexes of a table, its TOAST table and that one's index, without
 * waiting; false if one cannot be had.  The locks are held until the
 * transaction ends.
 */
extern bool own_tables_lock_parts(Relation rel, LOCKMODE lockmode);

#endif							/* FIREHOSE_COMMON_OWN_TABLES_TRUST_H */
