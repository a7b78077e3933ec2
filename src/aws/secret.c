/*-------------------------------------------------------------------------
 *
 * secret.c
 *	  Memory for secrets that live long.
 *
 * Called by credentials.c and the sender's identity.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE			/* for madvise() where only POSIX is asked for */
#endif
#include <openssl/crypto.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "aws/secret.h"

/* In front of each piece; as large as the strictest alignment */
typedef union SecretHeader
{
	size_t		mapped;			/* bytes, with this header */
	char		align[16];
} SecretHeader;

void *
secret_alloc(size_t size)
{
	size_t		mapped = size + sizeof(SecretHeader);
	SecretHeader *header;

	if (mapped < size)
		return NULL;
	header = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (header == MAP_FAILED)
		return NULL;
	/* if it fails, the memory is as good as any other */
#if defined(MADV_DONTDUMP)
	(void) madvise(header, mapped, MADV_DONTDUMP);
#elif defined(MADV_NOCORE)
	(void) madvise(header, mapped, MADV_NOCORE);
#endif
	header->mapped = mapped;
	return header + 1;
}

char *
secret_copy(const char *text)
{
	size_t		size = strlen(text) + 1;
	char	   *copy = secret_alloc(size);

	if (copy != NULL)
		memcpy(copy, text, size);
	return copy;
}

void
secret_free(void *secret)
{
	SecretHeader *header;
	size_t		mapped;

	if (secret == NULL)
		return;
	header = (SecretHeader *) secret - 1;
	mapped = header->mapped;
	OPENSSL_cleanse(header, mapped);
	(void) munmap(header, mapped);
}
