/*
 * sanitize.h
 *		Text from elsewhere: Firehose's responses (UTF-8), and names of other
 *		databases (their encoding), made valid in this database's encoding.
 */
#ifndef FIREHOSE_COMMON_SANITIZE_H
#define FIREHOSE_COMMON_SANITIZE_H

/* Replace, in place, what is not ASCII by '?' unless all is valid here. */
extern PGDLLEXPORT void sanitize_text(char *s, int len);

#endif							/* FIREHOSE_COMMON_SANITIZE_H */
