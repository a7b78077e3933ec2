/*
 * ids.c
 *		The source of record ids.
 *
 * Ids start at the clock (microseconds since 2000, as far as LAST_TIME) or at
 * the number in the file pg_firehose/ids, whichever is larger, so that neither
 * a crash nor a clock set back makes an id return.  The file holds a number
 * above every id given out; it is written by the process that takes the first
 * id after a start, and then each time half of the ids below the number are
 * used up.
 *
 * Runs in the postmaster (start and stop) and in backends.
 *
 * Locking: Queue.next_id and .id_limit are atomic; the lock "FirehoseIds" is
 * held by the one process that writes the file.  Processes whose ids are below
 * the limit never wait for it.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "port/pg_crc32c.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "common/data_file.h"
#include "queue/ids.h"

#define IDS_TRANCHE			"FirehoseIds"
#define IDS_FILE			DATA_DIRECTORY "/ids"
#define IDS_FILE_MAGIC		0x46484931	/* "FHI1" */

/* The number of ids that one note on disk allows. */
#define ID_STEP				UINT64CONST(1000000000)

/*
 * No time raises ids further, be it of a clock that is wrong: a tenth of all
 * ids is left then, of which firehose_doctor allows one half to be used.
 */
#define LAST_TIME			(QUEUE_MAX_ID / 10 * 9)

typedef struct IdsFile
{
	uint32		magic;
	pg_crc32c	crc;			/* of what follows */
	uint64		limit;
} IdsFile;

static LWLock *ids_lock = NULL;

void
ids_shmem_request(void)
{
	RequestNamedLWLockTranche(IDS_TRANCHE, 1);
}

void
ids_shmem_startup(void)
{
	ids_lock = &GetNamedLWLockTranche(IDS_TRANCHE)->lock;
}

/* The checksum of the file's number. */
static pg_crc32c
ids_checksum(const IdsFile *ids)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &ids->limit, sizeof(ids->limit));
	FIN_CRC32C(crc);
	return crc;
}

/* Note durably that ids below `limit` may have been given out. */
static bool
write_ids(uint64 limit, int elevel)
{
	IdsFile		ids = {IDS_FILE_MAGIC, 0, limit};

	ids.crc = ids_checksum(&ids);
	return data_file_write(IDS_FILE, &ids, sizeof(ids), elevel);
}

/* The noted limit, 0 if there is none. */
static uint64
read_ids(void)
{
	IdsFile		ids;

	if (!data_file_exists(IDS_FILE))
		return 0;
	if (data_file_read(IDS_FILE, &ids, sizeof(ids)) && ids.magic == IDS_FILE_MAGIC &&
		EQ_CRC32C(ids.crc, ids_checksum(&ids)))
		return ids.limit;
	ereport(LOG,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("firehose: file \"%s\" is damaged", IDS_FILE),
			 errdetail("Record ids start at the time of the clock.")));
	return 0;
}

/* A clock may also be set before 2000, or far ahead. */
static uint64
time_of_clock(void)
{
	return Min((uint64) Max(GetCurrentTimestamp(), 1), LAST_TIME);
}

void
ids_start(Queue *q)
{
	uint64		now = time_of_clock();
	uint64		noted = read_ids();
	uint64		first = now;

	/*
	 * After a crash the limit is ahead of the clock.  A storage snapshot that
	 * is put back has the same limit again, and is not to give out the same
	 * ids: begin anywhere behind it.
	 */
	if (noted > now)
		first = noted + pg_prng_uint64_range(&pg_global_prng_state, 0, ID_STEP - 1);

	pg_atomic_write_u64(&q->next_id, first);
	/*
	 * the first put notes a limit: a server that puts nothing writes nothing
	 */
	pg_atomic_write_u64(&q->id_limit, first);
}

void
ids_save(Queue *q)
{
	uint64		next = pg_atomic_read_u64(&q->next_id);

	if (pg_atomic_read_u64(&q->id_limit) > next)
		(void) write_ids(next, LOG);
}

/*
 * Raise the limit, durably, above `needed`.  If the file cannot be written but
 * the ids in hand still suffice, the log gets a warning, once per process.
 */
static void
extend_ids(Queue *q, uint64 needed)
{
	static bool warned = false;
	bool		urgent = needed > pg_atomic_read_u64(&q->id_limit);

	if (urgent)
		LWLockAcquire(ids_lock, LW_EXCLUSIVE);
	else if (warned || !LWLockConditionalAcquire(ids_lock, LW_EXCLUSIVE))
		return;

	if (needed + ID_STEP / 2 > pg_atomic_read_u64(&q->id_limit))
	{
		urgent = needed > pg_atomic_read_u64(&q->id_limit);
		if (urgent)
		{
			/*
			 * a standby that was promoted is behind the clock, and its primary
			 */
			ids_raise(q, time_of_clock());
			needed = pg_atomic_read_u64(&q->next_id);
		}
		/* (an error releases the lock) */
		if (needed > QUEUE_MAX_ID)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("firehose: no record ids are left"),
					 errdetail("They have 53 bits.")));
		if (write_ids(needed + ID_STEP, urgent ? ERROR : LOG))
			pg_atomic_write_u64(&q->id_limit, Min(needed + ID_STEP, QUEUE_MAX_ID));
		else
			warned = true;
	}
	LWLockRelease(ids_lock);
}

uint64
queue_next_ids(Queue *q, int n)
{
	uint64		first = pg_atomic_fetch_add_u64(&q->next_id, n);

	if (likely(first + n + ID_STEP / 2 <= pg_atomic_read_u64(&q->id_limit)))
		return first;

	/*
	 * The rare case: note durably how far ids may go.  Ids drawn beyond the
	 * old limit are not used, because raising the limit may have raised the
	 * next id, too.
	 */
	while (first + n > pg_atomic_read_u64(&q->id_limit))
	{
		extend_ids(q, first + n);
		first = pg_atomic_fetch_add_u64(&q->next_id, n);
	}
	if (first + n + ID_STEP / 2 > pg_atomic_read_u64(&q->id_limit))
		extend_ids(q, first + n);
	return first;
}

static void
raise_next(Queue *q, uint64 least)
{
	uint64		next = pg_atomic_read_u64(&q->next_id);

	while (next < least &&
		   !pg_atomic_compare_exchange_u64(&q->next_id, &next, least))
		;
}

void
ids_raise(Queue *q, uint64 time)
{
	raise_next(q, Min(time, LAST_TIME));
}

/* An id that is drawn has its limit noted, and so that of those below it. */
void
ids_raise_durably(Queue *q, uint64 least)
{
	raise_next(q, least);
	(void) queue_next_ids(q, 1);
}

bool
ids_are_plausible(Queue *q, uint64 highest)
{
	uint64		now = time_of_clock();
	uint64		next = pg_atomic_read_u64(&q->next_id);

	return highest <= Max(now, next) + USECS_PER_DAY;
}
