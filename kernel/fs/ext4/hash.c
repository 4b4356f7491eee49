// SPDX-License-Identifier: MIT
/* The hashes of names in indexed directories. Each has a variant that takes bytes as signed, as on the machines that first had it. */
#include "ext4.h"

static u32 rotate(u32 x, u32 by)
{
	return x << by | x >> (32 - by);
}

static u32 choose(u32 x, u32 y, u32 z)
{
	return z ^ (x & (y ^ z));
}
static u32 majority(u32 x, u32 y, u32 z)
{
	return (x & y) + ((x ^ y) & z);
}
static u32 parity(u32 x, u32 y, u32 z)
{
	return x ^ y ^ z;
}

/* MD4 (RFC 1320) over half of its words: three rounds of eight steps. */
static void half_md4(u32 state[4], const u32 in[8])
{
	static const struct {
		u32 (*mix)(u32, u32, u32);
		u32 add;
		u8 word[8], shift[4];
	} rounds[3] = {
		{choose, 0, {0, 1, 2, 3, 4, 5, 6, 7}, {3, 7, 11, 19}},
		{majority, 0x5a827999, {1, 3, 5, 7, 0, 2, 4, 6}, {3, 5, 9, 13}},
		{parity, 0x6ed9eba1, {3, 7, 2, 6, 1, 5, 0, 4}, {3, 9, 11, 15}},
	};
	u32 v[4] = {state[0], state[1], state[2], state[3]};

	for (u32 r = 0; r < 3; r++)
		for (u32 i = 0; i < 8; i++) {
			/* The registers change places with each step: a, d, c, b. */
			u32 a = (4 - i % 4) % 4, b = (a + 1) % 4, c = (a + 2) % 4, d = (a + 3) % 4;

			v[a] = rotate(v[a] + rounds[r].mix(v[b], v[c], v[d]) + in[rounds[r].word[i]] + rounds[r].add, rounds[r].shift[i % 4]);
		}
	for (u32 i = 0; i < 4; i++)
		state[i] += v[i];
}

/* The Tiny Encryption Algorithm, 16 cycles. */
static void tea(u32 state[4], const u32 in[4])
{
	u32 sum = 0, x = state[0], y = state[1];

	for (u32 i = 0; i < 16; i++) {
		sum += 0x9e3779b9;
		x += ((y << 4) + in[0]) ^ (y + sum) ^ ((y >> 5) + in[1]);
		y += ((x << 4) + in[2]) ^ (x + sum) ^ ((x >> 5) + in[3]);
	}
	state[0] += x;
	state[1] += y;
}

static u32 byte_at(const char *name, u32 i, bool is_unsigned)
{
	return is_unsigned ? (u32)(u8)name[i] : (u32)(s32)(signed char)name[i];
}

static u32 legacy(const char *name, u32 length, bool is_unsigned)
{
	u32 now, last = 0x12a3fe2d, before = 0x37abe8f9;

	for (u32 i = 0; i < length; i++) {
		now = before + (last ^ (byte_at(name, i, is_unsigned) * 7152373));
		if (now & 0x80000000)
			now -= 0x7fffffff;
		before = last;
		last = now;
	}
	return last << 1;
}

/* The first bytes of what is left of a name as words, filled up with its length. */
static void pack(const char *name, u32 length, u32 *words, u32 count, bool is_unsigned)
{
	u32 pad = length | length << 8, value, n = min(length, count * 4), at = 0;

	pad |= pad << 16;
	value = pad;
	for (u32 i = 0; i < n; i++) {
		value = byte_at(name, i, is_unsigned) + (value << 8);
		if (i % 4 == 3) {
			words[at++] = value;
			value = pad;
		}
	}
	if (at < count)
		words[at++] = value;
	while (at < count)
		words[at++] = pad;
}

long dx_hash(const struct ext4 *fs, u32 version, const char *name, u32 length, struct dx_hash *out)
{
	u32 state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}, in[8];
	bool is_unsigned = version >= HASH_LEGACY_UNSIGNED;

	if (fs->hash_seed[0] | fs->hash_seed[1] | fs->hash_seed[2] | fs->hash_seed[3])
		memcpy(state, fs->hash_seed, sizeof(state));
	if (version > HASH_TEA_UNSIGNED)
		return -EFSCORRUPTED;
	if (is_unsigned)
		version -= HASH_LEGACY_UNSIGNED;
	if (version == HASH_LEGACY) {
		*out = (struct dx_hash){legacy(name, length, is_unsigned), 0};
	} else if (version == HASH_HALF_MD4) {
		for (u32 at = 0; at < length; at += 32) {
			pack(name + at, length - at, in, 8, is_unsigned);
			half_md4(state, in);
		}
		*out = (struct dx_hash){state[1], state[2]};
	} else {
		for (u32 at = 0; at < length; at += 16) {
			pack(name + at, length - at, in, 4, is_unsigned);
			tea(state, in);
		}
		*out = (struct dx_hash){state[0], state[1]};
	}
	/* Bit 0 of hashes in an index means "continued"; the largest is the end of a readdir. */
	out->hash &= ~1u;
	if (out->hash == 0xfffffffe)
		out->hash = 0xfffffffc;
	return 0;
}
