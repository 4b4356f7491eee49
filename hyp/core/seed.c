/* SPDX-License-Identifier: MIT */
/*
 * One block of ChaCha20 a domain: the key is the firmware's seed, the nonce the domain's number.
 */
#include <string.h>

#include "seed.h"

static u32 rotate(u32 x, u32 n)
{
	return x << n | x >> (32 - n);
}

static void quarter(u32 *s, int a, int b, int c, int d)
{
	s[a] += s[b];
	s[d] = rotate(s[d] ^ s[a], 16);
	s[c] += s[d];
	s[b] = rotate(s[b] ^ s[c], 12);
	s[a] += s[b];
	s[d] = rotate(s[d] ^ s[a], 8);
	s[c] += s[d];
	s[b] = rotate(s[b] ^ s[c], 7);
}

void seed_expand(const u8 *key, size_t key_size, u32 stream, u8 *to, size_t size)
{
	u32 begin[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, s[16];

	memcpy(&begin[4], key, MIN(key_size, 32));
	begin[13] = stream;
	memcpy(s, begin, sizeof(s));
	for (int round = 0; round < 10; round++) {
		quarter(s, 0, 4, 8, 12);
		quarter(s, 1, 5, 9, 13);
		quarter(s, 2, 6, 10, 14);
		quarter(s, 3, 7, 11, 15);
		quarter(s, 0, 5, 10, 15);
		quarter(s, 1, 6, 11, 12);
		quarter(s, 2, 7, 8, 13);
		quarter(s, 3, 4, 9, 14);
	}
	for (int i = 0; i < 16; i++)
		s[i] += begin[i];
	memcpy(to, s, MIN(size, sizeof(s)));
}
