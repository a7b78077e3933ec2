/*-------------------------------------------------------------------------
 *
 * sha256.h
 *	  SHA-256 and HMAC-SHA-256 by OpenSSL.
 *
 * OpenSSL 3 looks an algorithm up at each use, by name and under a lock,
 * unless it was fetched: here it is, once in a process.  For a signature that
 * costs several times as much as the hashing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FIREHOSE_AWS_SHA256_H
#define FIREHOSE_AWS_SHA256_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/evp.h>

#define SHA256_LEN		32

/*
 * Begin a digest; EVP_DigestUpdate and EVP_DigestFinal_ex go on with it.  The
 * context is created if it is NULL, and is to be used again and again.
 */
extern bool sha256_begin(EVP_MD_CTX **context);

/* HMAC-SHA-256 of a text. */
extern bool sha256_hmac(unsigned char out[SHA256_LEN], const void *key, size_t key_len,
						const char *text);

#endif							/* FIREHOSE_AWS_SHA256_H */
