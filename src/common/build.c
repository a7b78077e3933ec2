/*
 * build.c
 *		Which build of firehose the server runs, and whether senders can run
 *		with it.
 *
 * The postmaster writes the build when it sets shared memory up, and no
 * process changes it afterwards.  Senders write why they cannot start, and the
 * views read it, both under the lock "FirehoseBuild".
 */
#include "postgres.h"

#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "common/build.h"

#define BUILD_TRANCHE	"FirehoseBuild"

typedef struct BuildShared
{
	char		build[64];
	char		trouble[BUILD_TROUBLE_LEN];
} BuildShared;

static BuildShared *shared = NULL;

static LWLock *
build_lock(void)
{
	return &GetNamedLWLockTranche(BUILD_TRANCHE)->lock;
}

void
build_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(BuildShared));
	RequestNamedLWLockTranche(BUILD_TRANCHE, 1);
}

void
build_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("firehose build", sizeof(BuildShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(BuildShared));
		strlcpy(shared->build, FIREHOSE_BUILD, sizeof(shared->build));
	}
	LWLockRelease(AddinShmemInitLock);
}

bool
build_matches(const char *build)
{
	return build != NULL && strcmp(shared->build, build) == 0;
}

const char *
build_running(void)
{
	return shared->build;
}

bool
build_set_trouble(const char *trouble)
{
	bool		news;

	LWLockAcquire(build_lock(), LW_EXCLUSIVE);
	news = strncmp(shared->trouble, trouble, BUILD_TROUBLE_LEN - 1) != 0;
	strlcpy(shared->trouble, trouble, BUILD_TROUBLE_LEN);
	LWLockRelease(build_lock());
	return news;
}

bool
build_get_trouble(char trouble[BUILD_TROUBLE_LEN])
{
	LWLockAcquire(build_lock(), LW_SHARED);
	strlcpy(trouble, shared->trouble, BUILD_TROUBLE_LEN);
	LWLockRelease(build_lock());
	return trouble[0] != '\0';
}
