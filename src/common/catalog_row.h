/*
 * catalog_row.h
 *		One row of a system catalog, by its OID, where no system cache serves.
 */
#ifndef FIREHOSE_COMMON_CATALOG_ROW_H
#define FIREHOSE_COMMON_CATALOG_ROW_H

#include "access/htup.h"
#include "utils/snapshot.h"

/*
 * A palloc'd copy of the row of `catalog` whose column `column` has this OID;
 * NULL if there is none.  `index` is unique on that column.  A NULL snapshot
 * is the present one of catalogs; SnapshotSelf finds a row that this very
 * command has made.
 */
extern HeapTuple catalog_row(Oid catalog, Oid index, AttrNumber column, Oid oid,
							 Snapshot snapshot);

#endif							/* FIREHOSE_COMMON_CATALOG_ROW_H */
