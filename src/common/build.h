/*
 * build.h
 *		Which build of firehose the server runs, and whether senders can run
 *		with it.
 *
 * FIREHOSE_BUILD, from the Makefile, is the version and a checksum of all
 * headers.  Two objects must agree on both to share memory and to call each
 * other. firehose.so is loaded when the server starts, firehose_sender.so
 * whenever a sender does.  After an upgrade without a restart they may differ.
 */
#ifndef FIREHOSE_COMMON_BUILD_H
#define FIREHOSE_COMMON_BUILD_H

#define BUILD_TROUBLE_LEN	256

extern void build_shmem_request(void);
extern void build_shmem_startup(void);

/* Is this the build that made the shared memory? */
extern bool build_matches(const char *build);

/* The build that did. */
extern const char *build_running(void);

/*
 * Why senders cannot start; "": they can.  Setting it returns whether that is
 * news.
 */
extern bool build_set_trouble(const char *trouble);
extern bool build_get_trouble(char trouble[BUILD_TROUBLE_LEN]);

#endif							/* FIREHOSE_COMMON_BUILD_H */
