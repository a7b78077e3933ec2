/*
 * run_epoch.c
 *		Epochs in the WAL; run_epoch.h says what for.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "access/xlogutils.h"
#include "catalog/pg_control.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "replication/message.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "wal/run_epoch.h"

#define TRANCHE		"FirehoseEpoch"
#define PREFIX		"firehose epoch"

/* Written once, under the lock; the number last. */
typedef struct RunEpoch
{
	LWLock	   *lock;
	pg_atomic_uint64 begin;		/* of the record that says it */
	pg_atomic_uint64 end;
	pg_atomic_uint64 number;	/* 0: it was not said yet */
} RunEpoch;

static RunEpoch *run = NULL;	/* NULL: not preloaded */

void
run_epoch_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(RunEpoch));
	RequestNamedLWLockTranche(TRANCHE, 1);
}

void
run_epoch_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	run = ShmemInitStruct("firehose epoch", sizeof(RunEpoch), &found);
	if (!found)
	{
		run->lock = &GetNamedLWLockTranche(TRANCHE)->lock;
		pg_atomic_init_u64(&run->begin, 0);
		pg_atomic_init_u64(&run->end, 0);
		pg_atomic_init_u64(&run->number, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Saying it --------------------------------------------------------------- */

static uint64
draw(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		fraction = (now % USECS_PER_SEC + USECS_PER_SEC) % USECS_PER_SEC;
	uint64		second = now < USECS_PER_SEC ? 1 : now / USECS_PER_SEC;
	uint8		noise;

	/* it happens in a commit, which is not to fail of this */
	if (!pg_strong_random(&noise, sizeof(noise)))
		noise = (uint8) pg_prng_uint32(&pg_global_prng_state);
	return Min(second, EPOCH_LAST_DRAWN) << EPOCH_LOW_BITS |
		(fraction << EPOCH_FRACTION_BITS) / USECS_PER_SEC << EPOCH_RANDOM_BITS |
		noise % (1 << EPOCH_RANDOM_BITS);
}

/* Core's function would say that it is of this process's database. */
static XLogRecPtr
write_message(uint64 number)
{
	xl_logical_message message = {0};

	message.dbId = InvalidOid;
	message.transactional = false;
	message.prefix_size = sizeof(PREFIX);
	message.message_size = sizeof(number);

	XLogBeginInsert();
	XLogRegisterData((char *) &message, SizeOfLogicalMessage);
	XLogRegisterData((char *) PREFIX, sizeof(PREFIX));
	XLogRegisterData((char *) &number, sizeof(number));
	return XLogInsert(RM_LOGICALMSG_ID, XLOG_LOGICAL_MESSAGE);
}

void
run_epoch_say(void)
{
	if (run == NULL || likely(pg_atomic_read_u64(&run->number) != 0))
		return;

	/* pg_upgrade wants nothing written to what it reads */
	if (IsBinaryUpgrade || RecoveryInProgress())
		return;

	LWLockAcquire(run->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u64(&run->number) == 0)
	{
		uint64		number = draw();

		pg_atomic_write_u64(&run->end, write_message(number));
		pg_atomic_write_u64(&run->begin, ProcLastRecPtr);
		pg_write_barrier();
		pg_atomic_write_u64(&run->number, number);
	}
	LWLockRelease(run->lock);
}

void
run_epoch_flush(void)
{
	run_epoch_say();
	pg_read_barrier();
	XLogFlush(pg_atomic_read_u64(&run->end));
}

/* Before the commit record is written; also if there will be none. */
static void
at_transaction_event(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT)
		run_epoch_say();
}

void
run_epoch_register(void)
{
	RegisterXactCallback(at_transaction_event, NULL);
}

/* Reading it -------------------------------------------------------------- */

uint64
run_epoch_current(XLogRecPtr *since)
{
	uint64		number = run ? pg_atomic_read_u64(&run->number) : 0;

	pg_read_barrier();
	*since = number ? pg_atomic_read_u64(&run->begin) : InvalidXLogRecPtr;
	return number;
}

bool
run_epoch_is_start(XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record) & ~XLR_INFO_MASK;

	return XLogRecGetRmid(record) == RM_XLOG_ID &&
		(info == XLOG_CHECKPOINT_SHUTDOWN || info == XLOG_END_OF_RECOVERY);
}

/* The epoch that a record says; 0: it says none. */
static uint64
epoch_of_record(XLogReaderState *record)
{
	xl_logical_message *message;
	uint64		number;

	if (XLogRecGetRmid(record) != RM_LOGICALMSG_ID)
		return 0;
	message = (xl_logical_message *) XLogRecGetData(record);
	if (message->dbId != InvalidOid || message->transactional ||
		message->prefix_size != sizeof(PREFIX) || message->message_size != sizeof(number) ||
		memcmp(message->message, PREFIX, sizeof(PREFIX)) != 0)
		return 0;
	memcpy(&number, message->message + sizeof(PREFIX), sizeof(number));
	return EPOCH_IS_VALID(number) ? number : 0;
}

/* Read on until it is known; 0: the WAL ends before. */
static uint64
find(XLogReaderState *reader, XLogRecPtr position)
{
	uint64		number = 0;
	char	   *error = NULL;

	while (XLogReadRecord(reader, &error) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (reader->ReadRecPtr > position && number != 0)
			return number;
		if (run_epoch_is_start(reader))
			number = 0;
		else if (number == 0)
			number = epoch_of_record(reader);
	}
	if (error != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("could not read WAL at %X/%X: %s",
						LSN_FORMAT_ARGS(reader->EndRecPtr), error)));
	return number;
}

uint64
run_epoch_at(XLogRecPtr start, XLogRecPtr position)
{
	XLogRecPtr	since;
	uint64		number = run_epoch_current(&since);
	ReadLocalXLogPageNoWaitPrivate end = {0};
	XLogReaderState *reader;

	if (number != 0 && position >= since)
		return number;
	reader = XLogReaderAllocate(wal_segment_size, NULL,
								XL_ROUTINE(.page_read = read_local_xlog_page_no_wait,
										   .segment_open = wal_segment_open,
										   .segment_close = wal_segment_close),
								&end);
	if (reader == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	XLogBeginRead(reader, start);
	number = find(reader, position);
	XLogReaderFree(reader);
	if (number == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the WAL from %X/%X on does not say the epoch of the server's run",
						LSN_FORMAT_ARGS(start))));
	return number;
}
