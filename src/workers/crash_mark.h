/*
 * crash_mark.h
 *		A brake: which record of the WAL a decoder is at, in a place that
 *		outlives a crash of the server.
 *
 * A record at which the decoder crashes would crash the server again after
 * each restart, because decoding begins at the same place.  A decoder that
 * finds that it has crashed at the same record ENOUGH_CRASHES times in a row
 * does not read it once more: the pipeline fails, the server lives.  A command
 * of the user starts the count anew.
 *
 * The mark is a page of a file in pg_firehose that the decoder maps: two
 * stores for each record.  It need not outlive the operating system.  A
 * decoder that is stopped because another process crashed, or at an immediate
 * stop, takes its mark away.
 */
#ifndef FIREHOSE_WORKERS_CRASH_MARK_H
#define FIREHOSE_WORKERS_CRASH_MARK_H

#include "wal/wal_reader.h"

/*
 * Decoder: map the mark of a pipeline, whose definition has this version, and
 * count the crash that it tells.  True: it crashed too often at *place.
 * Without the file (a full disk) there is no brake, and the log says so.
 */
extern bool crash_mark_open(Oid dboid, int32 id, int32 version, WalPlace *place);

/* The mark that the WAL reader writes; NULL: there is none. */
extern WalMark *crash_mark(void);

/* Decoder, at exit: this was no crash. */
extern void crash_mark_close(void);

/* The pipeline is gone. */
extern void crash_mark_forget(Oid dboid, int32 id);

#endif							/* FIREHOSE_WORKERS_CRASH_MARK_H */
