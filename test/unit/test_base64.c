/*-------------------------------------------------------------------------
 *
 * test_base64.c
 *	  The encoder writes what RFC 4648 says, whatever pieces the data comes
 *	  in, and neither reads nor writes a byte outside its buffers.
 *
 * Buffers are allocated at their exact size, so that the address sanitizer
 * sees any excess.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include <openssl/evp.h>

#include "aws/base64.h"
#include "tap.h"

static uint32_t seed = 1;

static uint32_t
next_random(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Encode data cut into pieces of at most max_piece bytes; 0 = one piece. */
static char *
encode(const uint8_t *data, size_t len, size_t max_piece)
{
	size_t		expected = base64_length(len);
	char	   *text = malloc(expected + 1);
	char	   *end = text;
	Base64State state;

	base64_init(&state);
	for (size_t pos = 0; pos < len;)
	{
		size_t		n = max_piece == 0 ? len : next_random() % (max_piece + 1);
		uint8_t    *piece;

		if (n > len - pos)
			n = len - pos;
		piece = malloc(n > 0 ? n : 1);
		memcpy(piece, data + pos, n);
		end = base64_update(&state, end, piece, n);
		free(piece);
		pos += n;
	}
	text[expected] = '!';		/* must survive */
	end = base64_finish(&state, end);
	if ((size_t) (end - text) != expected || text[expected] != '!')
	{
		free(text);
		return NULL;
	}
	*end = '\0';
	return text;
}

static void
test_vectors(void)
{
	static const char *const vectors[][2] = {
		{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
		{"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
		{"a\n", "YQo="},
	};

	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		char	   *text = encode((const uint8_t *) vectors[i][0],
								  strlen(vectors[i][0]), 0);

		is_str(text, vectors[i][1], "vector of RFC 4648");
		free(text);
	}
}

/* Every character, in every place of a vector. */
static void
test_every_sextet(void)
{
	uint8_t		data[24];
	char		expected[33];
	bool		same = true;

	for (int sextet = 0; sextet < 64; sextet++)
	{
		for (int place = 0; place < 32; place++)
		{
			uint32_t	group = (uint32_t) sextet << (18 - 6 * (place % 4));
			char	   *text;

			memset(data, 0, sizeof(data));
			data[place / 4 * 3] = group >> 16;
			data[place / 4 * 3 + 1] = group >> 8;
			data[place / 4 * 3 + 2] = group;
			EVP_EncodeBlock((unsigned char *) expected, data, sizeof(data));
			text = encode(data, sizeof(data), 0);
			same = same && text != NULL && strcmp(text, expected) == 0;
			free(text);
		}
	}
	ok(same, "every character in every place of a vector");
}

static void
test_lengths(size_t max_piece, const char *name)
{
	bool		same = true;

	for (size_t len = 0; len <= 600 && same; len++)
	{
		uint8_t    *data = malloc(len > 0 ? len : 1);
		char	   *expected = malloc(base64_length(len) + 1);
		char	   *text;

		for (size_t i = 0; i < len; i++)
			data[i] = next_random();
		EVP_EncodeBlock((unsigned char *) expected, data, len);
		text = encode(data, len, max_piece);
		same = text != NULL && strcmp(text, expected) == 0;
		if (!same)
			printf("# length %zu differs\n", len);
		free(data);
		free(expected);
		free(text);
	}
	ok(same, "%s", name);
}

int
main(void)
{
	Base64State state;
	char		text[8];
	char	   *end;

	printf("# implementation: %s\n", base64_implementation());
	test_vectors();
	test_every_sextet();
	test_lengths(0, "every length up to 600 in one piece");
	test_lengths(1, "in pieces of 0 and 1");
	test_lengths(5, "in pieces of up to 5");
	test_lengths(100, "in pieces of up to 100");

	is_int(base64_length(1024000), 1365336, "length of the largest record");
	ok(base64_length(SIZE_MAX / 4 * 3) > SIZE_MAX / 4 * 3 - 4,
	   "length does not overflow early");

	base64_init(&state);
	end = base64_finish(&state, base64_update(&state, text, "a", 1));
	end = base64_finish(&state, base64_update(&state, end, "", 0));
	is_text(text, end - text, "YQ==", "nothing left over after finish");
	return done_testing();
}
