/*
 * home.c
 *		Recognising a copy of the data directory; home.h says how and why.
 *
 * The postmaster writes shared memory when it sets it up, and no process
 * changes it afterwards.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/pidfile.h"

#include "common/data_file.h"
#include "common/home.h"
#include "common/siphash.h"

#define HOME_FILE		DATA_DIRECTORY "/home"
#define CONTROL_FILE	"global/pg_control"
#define MACHINE_FILE	"/etc/machine-id"

/* Text, for whoever wants to know why; one line each. */
#define HOME_FORMAT \
	"firehose home 1\nsystem " UINT64_FORMAT "\ninode " UINT64_FORMAT \
	"\nmachine " UINT64_FORMAT "\nnumber " INT64_FORMAT "\npath "

/* The identity of a data directory. */
typedef struct Home
{
	uint64		system;			/* identifier of the cluster */
	uint64		inode;			/* of its pg_control */
	uint64		machine;		/* hash of its id; 0: it has none */
	int64		number;
	char		path[MAXPGPATH];
} Home;

typedef struct HomeShared
{
	int64		number;
	bool		is_new_copy;
} HomeShared;

static HomeShared *shared = NULL;

static Home here;				/* in the postmaster: what was found ... */
static bool is_noted;			/* ... and noted before */

void
home_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(HomeShared));
}

int64
home_number(void)
{
	return shared != NULL ? shared->number : 0;
}

bool
home_is_new_copy(void)
{
	return shared->is_new_copy;
}

/* The directory, and the note --------------------------------------------- */

/*
 * The machine's id is not for others to know (machine-id(5)), so a hash of it
 * is used.
 */
static uint64
machine_hash(uint64 system)
{
	char		id[32];
	SipHashKey	key = {system, UINT64CONST(0x66697265686f7365)};	/* "firehose" */

	if (!data_file_read(MACHINE_FILE, id, sizeof(id)))
		return 0;
	return Max(siphash(&key, id, sizeof(id)), 1);
}

static uint64
control_inode(const char *directory)
{
	char		path[MAXPGPATH + 32];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", directory, CONTROL_FILE);
	return stat(path, &st) == 0 ? (uint64) st.st_ino : 0;
}

static void
look_here(void)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);

	memset(&here, 0, sizeof(Home));
	here.system = control->system_identifier;
	here.inode = control_inode(".");
	here.machine = machine_hash(here.system);
	strlcpy(here.path, DataDir, sizeof(here.path));
	pfree(control);
}

/* Read the note; false: there is none, or it is damaged. */
static bool
read_note(Home *home)
{
	char		text[sizeof(Home) + 256];
	int			fd = BasicOpenFile(HOME_FILE, O_RDONLY | O_NONBLOCK | PG_BINARY);
	ssize_t		length;
	int			at = 0;

	if (fd < 0)
		return false;
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[Max(length, 0)] = '\0';
	memset(home, 0, sizeof(Home));
	if (sscanf(text, HOME_FORMAT "%n", &home->system, &home->inode, &home->machine,
			   &home->number, &at) != 4 || at == 0 || length <= at || text[length - 1] != '\n')
		return false;
	text[length - 1] = '\0';
	strlcpy(home->path, text + at, sizeof(home->path));
	return true;
}

void
home_note(void)
{
	char		text[sizeof(Home) + 256];
	int			length;

	if (IsUnderPostmaster || IsBinaryUpgrade || is_noted)
		return;
	length = snprintf(text, sizeof(text), HOME_FORMAT "%s\n", here.system, here.inode,
					  here.machine, here.number, here.path);
	is_noted = data_file_write(HOME_FILE, text, length, LOG);
}

/* Judging ----------------------------------------------------------------- */

/*
 * Does a server run in the directory that was noted?  Its postmaster's working
 * directory says so for certain; the number in its file may be another
 * process's by now.
 */
static bool
original_is_running(const Home *noted)
{
	char		path[MAXPGPATH + 32];
	char		text[32] = "";
	int			fd;
	long		pid;

	if (control_inode(noted->path) != noted->inode)
		return false;
	snprintf(path, sizeof(path), "%s/postmaster.pid", noted->path);
	fd = BasicOpenFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	pid = strtol(text, NULL, 10);
	snprintf(path, sizeof(path), "/proc/%ld/cwd", pid);
	return pid > 0 && control_inode(path) == noted->inode;
}

/* Why this is certainly a copy of what was noted; NULL: it need not be. */
static const char *
find_copied(const Home *noted)
{
	if (noted->machine != 0 && here.machine != 0 && noted->machine != here.machine)
		return "its files were copied from another machine";
	if (strcmp(noted->path, here.path) != 0 && original_is_running(noted))
		return "the server that it was copied from is running on this machine";
	return NULL;
}

static int64
draw_number(void)
{
	int64		number = 0;

	while (number <= 0)
	{
		if (!pg_strong_random(&number, sizeof(number)))
			return 1;
	}
	return number;
}

/* The files were copied since the server ran last: give the copy a number. */
static void
judge_copy(const Home *noted)
{
	const char *why = find_copied(noted);

	if (why == NULL)
	{
		ereport(LOG,
				(errmsg("firehose: the data directory was restored or copied since the server ran in \"%s\"",
						noted->path),
				 errhint("If that server goes on as well, both send what it owed. Then pause the pipelines of one of them.")));
		return;
	}
	here.number = draw_number();
	shared->is_new_copy = true;
	ereport(LOG,
			(errmsg("firehose: the data directory is a copy of another server's, from \"%s\": %s",
					noted->path, why),
			 errdetail("Its pipelines are paused, and a saved queue is set aside, because the other server sends what they owe."),
			 errhint("If this server is to go on in its place, run firehose_resume_pipeline(name) for each pipeline, and firehose_load_saved_queue(file).")));
}

static void
judge(void)
{
	Home		noted;
	bool		known = read_note(&noted);

	look_here();
	if (known && noted.system == here.system)
	{
		here.number = noted.number;
		if (noted.inode != here.inode && !data_file_exists("standby.signal") &&
			!data_file_exists("recovery.signal"))
			judge_copy(&noted);
	}
	shared->number = here.number;
	is_noted = known && memcmp(&noted, &here, sizeof(Home)) == 0;
}

void
home_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("firehose home", sizeof(HomeShared), &found);
	LWLockRelease(AddinShmemInitLock);
	if (found)
		return;
	memset(shared, 0, sizeof(HomeShared));
	if (!IsUnderPostmaster && !IsBinaryUpgrade)
		judge();
}
