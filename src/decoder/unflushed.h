/*
 * unflushed.h
 *		WAL that is written and not flushed yet, which decoders do not read:
 *		that of open transactions, and of commits with synchronous_commit off.
 *
 * Decoder process only.
 */
#ifndef FIREHOSE_DECODER_UNFLUSHED_H
#define FIREHOSE_DECODER_UNFLUSHED_H

/*
 * Flush the commits that did not wait for their flush, rather than have the
 * WAL writer do it up to three of its delays later; but not so often that
 * those who asked for fewer flushes would feel it: flushing takes at most a
 * fifth of the time.
 */
extern void unflushed_flush(void);

/*
 * How long until it is to be looked at again (ms), because its flush wakes no
 * process, or because commits wait until they may be flushed; -1: there is
 * none.
 */
extern long unflushed_timeout(void);

#endif							/* FIREHOSE_DECODER_UNFLUSHED_H */
