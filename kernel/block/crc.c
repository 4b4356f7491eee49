// SPDX-License-Identifier: MIT
/* CRC-32 and CRC-32C, reflected, eight bytes a step ("slicing"); the tables are computed at first use. */
#include <lichen/crc.h>
#include <lichen/string.h>

#define IEEE	   0xedb88320u
#define CASTAGNOLI 0x82f63b78u
#define SLICES	   8

static u32 ieee_table[SLICES][256], castagnoli_table[SLICES][256];
static _Atomic bool ready;

static void table_make(u32 table[SLICES][256], u32 polynomial)
{
	for (u32 i = 0; i < 256; i++) {
		u32 crc = i;

		for (u32 bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
		table[0][i] = crc;
	}
	for (u32 i = 0; i < 256; i++)
		for (u32 s = 1; s < SLICES; s++)
			table[s][i] = table[s - 1][i] >> 8 ^ table[0][table[s - 1][i] & 0xff];
}

/* Two CPUs that race here write the same values. */
static void tables_make(void)
{
	if (atomic_load_explicit(&ready, memory_order_acquire))
		return;
	table_make(ieee_table, IEEE);
	table_make(castagnoli_table, CASTAGNOLI);
	atomic_store_explicit(&ready, true, memory_order_release);
}

static u32 update(u32 table[SLICES][256], u32 crc, const u8 *p, size_t n)
{
	u64 word;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&word, p, 8);
		word ^= crc;
		crc = table[7][word & 0xff] ^ table[6][word >> 8 & 0xff] ^ table[5][word >> 16 & 0xff] ^
		      table[4][word >> 24 & 0xff] ^ table[3][word >> 32 & 0xff] ^ table[2][word >> 40 & 0xff] ^
		      table[1][word >> 48 & 0xff] ^ table[0][word >> 56];
	}
	while (n--)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xff];
	return crc;
}

u32 crc32(u32 crc, const void *bytes, size_t n)
{
	tables_make();
	return ~update(ieee_table, ~crc, bytes, n);
}

u32 crc32c(u32 crc, const void *bytes, size_t n)
{
	tables_make();
	return update(castagnoli_table, crc, bytes, n);
}
