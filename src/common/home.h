/*
 * home.h
 *		Is this data directory the one in which the server has run before, or a
 *		copy of its files?
 *
 * A copy has the replication slots and the saved queue of its original, and
 * would send what that still owes, again.  It cannot be told from the
 * original by anything that is in the files.  So the file pg_firehose/home
 * has what is not: the inode of global/pg_control, which a copy of files
 * changes and PostgreSQL does not, the machine (/etc/machine-id), and the
 * path.
 *
 * The same inode: it is the same directory, wherever it is by now.  That is a
 * restart, a container or a machine made anew around its volume, a directory
 * that was renamed, and a storage snapshot.
 *
 * Another inode and another machine: it is a copy.  Another inode and path on
 * the same machine, while a server runs at the path that was noted: likewise.
 *
 * Another inode otherwise: it was restored or moved to other storage, or is a
 * copy of which nothing tells.  That is logged, no more.
 *
 * A machine that has no id is taken for the same: containers have none.  A
 * server that starts in recovery is a standby or is restored; what it has of
 * others' slots and queue is decided elsewhere, and it is at home.
 *
 * A copy gets a number, by which pipelines know that they were made by its
 * original (pipeline_row_is_copied), and keeps it; so do the standbys that are
 * made of it, which copy the file.  All others have the number 0, and to them
 * no pipeline is another server's.
 *
 * The postmaster looks at its start.  Nothing changes until the next one.
 */
#ifndef FIREHOSE_COMMON_HOME_H
#define FIREHOSE_COMMON_HOME_H

extern void home_shmem_request(void);

/* Look; problems are logged. */
extern void home_shmem_startup(void);

/*
 * Postmaster, once what belongs to the original is out of the way: write what
 * was found, so that it is known from now on.
 */
extern void home_note(void);

/* The number of this data directory: 0, or that of a copy. */
extern int64 home_number(void);

/*
 * Was it recognised as a copy just now, at this start, so that a saved queue
 * is the original's?
 */
extern bool home_is_new_copy(void);

#endif							/* FIREHOSE_COMMON_HOME_H */
