/*
 * durable.h
 *		Durable puts: records that go through the WAL instead of the queue.
 *
 * With firehose.put_durability = wal a transaction writes what it puts as
 * logical messages (durable_message.h), which commit or abort with it as any
 * WAL does; the decoder of the database's durable pipeline reads them back
 * and hands the records to the queue, and its replication slot remembers what
 * is not yet delivered.  The WAL is the buffer: such a put needs no room in
 * the queue.
 *
 * A message that no pipeline reads would be a record lost in silence.  So
 * every put checks that the slot is there, a transaction checks it once more
 * before it commits, and firehose_disable_durable_puts waits for those that
 * have put and not ended.
 */
#ifndef FIREHOSE_PUT_DURABLE_H
#define FIREHOSE_PUT_DURABLE_H

#include "access/xlogdefs.h"
#include "storage/lockdefs.h"

#include "queue/record_shape.h"
#include "stream/stream.h"

typedef enum PutDurability
{
	PUT_DURABILITY_MEMORY,
	PUT_DURABILITY_WAL
} PutDurability;

extern int	put_durability;		/* firehose.put_durability */

/* Told of a record that waits for the commit; data NULL: it is in the WAL. */
typedef void (*PendingVisitor) (uint64 id, Oid serverid, const char *data, Size length,
								void *arg);

extern void durable_define_settings(void);
extern void durable_register_callbacks(void);

/*
 * Put n records, whose length was checked, under the ids from first_id on.
 * They are in the WAL before the transaction commits; at once, and flushed, if
 * they are not transactional.  Errors unless they will be read:
 * object_not_in_prerequisite_state.
 */
extern void durable_put(const Stream *stream, uint64 first_id, const RecordBytes *records,
						int n, RecordShape shape, bool transactional);

/*
 * Did the current transaction put this record, to be sent when it commits?  Of
 * a transaction of very many puts only the last ones are remembered.
 */
extern bool durable_is_own_pending(uint64 id);

/* Has the current transaction put anything that waits for its commit? */
extern bool durable_has_put(void);

/* The same of one stream (InvalidOid: any), savepoints considered. */
extern bool durable_has_pending(Oid serverid);

/*
 * Visit what durable_is_own_pending knows; a warning if that is not
 * everything.
 */
extern void durable_visit(PendingVisitor visit, void *arg);

/* Are durable puts enabled in a database (InvalidOid: in any)? */
extern bool durable_is_anywhere(Oid dboid);

/*
 * For processes that wait: a position that the durable pipeline has read when
 * everything committed before this call is in the queue; the WAL is flushed up
 * to it.
 */
extern XLogRecPtr durable_flush_wal(void);

/*
 * Have the durable pipelines of a database (InvalidOid: of all) read up to a
 * position?  Those that have not are woken.
 */
extern bool durable_has_read(Oid dboid, XLogRecPtr upto);

#endif							/* FIREHOSE_PUT_DURABLE_H */
