/*-------------------------------------------------------------------------
 *
 * sha256.c
 *	  SHA-256 and HMAC-SHA-256 by OpenSSL; sha256.h says why not its HMAC().
 *
 * Called by the sender for every request.
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/crypto.h>
#include <string.h>

#include "aws/sha256.h"

/* SHA-256 hashes blocks of this size, which is that of HMAC's padded key. */
#define BLOCK_LEN		64

/* The padded key is combined with these (RFC 2104). */
#define INNER_PAD		0x36
#define OUTER_PAD		0x5c

bool
sha256_begin(EVP_MD_CTX **context)
{
	static const EVP_MD *sha256 = NULL;

	if (sha256 == NULL)
	{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
		sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
#else
		sha256 = EVP_sha256();
#endif
	}
	if (*context == NULL)
		*context = EVP_MD_CTX_new();
	return sha256 != NULL && *context != NULL && EVP_DigestInit_ex(*context, sha256, NULL) == 1;
}

/* Hash a block and what follows it. */
static bool
hash_behind(unsigned char out[SHA256_LEN], const unsigned char block[BLOCK_LEN],
			const void *data, size_t len)
{
	static EVP_MD_CTX *context = NULL;

	return sha256_begin(&context) &&
		(block == NULL || EVP_DigestUpdate(context, block, BLOCK_LEN) == 1) &&
		EVP_DigestUpdate(context, data, len) == 1 &&
		EVP_DigestFinal_ex(context, out, NULL) == 1;
}

bool
sha256_hmac(unsigned char out[SHA256_LEN], const void *key, size_t key_len, const char *text)
{
	unsigned char block[BLOCK_LEN] = {0};
	unsigned char inner[SHA256_LEN];
	bool		ok = true;

	/* a key that is longer than a block is hashed first */
	if (key_len > BLOCK_LEN)
		ok = hash_behind(block, NULL, key, key_len);
	else
		memcpy(block, key, key_len);
	for (int i = 0; i < BLOCK_LEN; i++)
		block[i] ^= INNER_PAD;
	ok = ok && hash_behind(inner, block, text, strlen(text));
	for (int i = 0; i < BLOCK_LEN; i++)
		block[i] ^= INNER_PAD ^ OUTER_PAD;
	ok = ok && hash_behind(out, block, inner, SHA256_LEN);
	OPENSSL_cleanse(block, sizeof(block));
	OPENSSL_cleanse(inner, sizeof(inner));
	return ok;
}
