/* SPDX-License-Identifier: MIT */
/*
 * Reads the payload archive ("newc": a header of ASCII hex fields, the name, the data, each padded to 4 bytes).
 */
#include <string.h>
#include <asm/errno.h>

#include "cpio.h"

#define CPIO_HEADER 110

/* Field `n` of the header: eight hex digits. -1 when they are none. */
static long cpio_field(const char *header, int n)
{
	long value = 0;

	for (int i = 0; i < 8; i++) {
		char c = header[6 + n * 8 + i];
		int digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (c | 0x20) - 'a' + 10;
		else
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

int cpio_find(const void *archive, size_t limit, const char *name, const void **data, size_t *size)
{
	const char *base = archive;
	size_t at = 0;

	while (limit - at >= CPIO_HEADER) {
		const char *header = base + at;
		long file_size, name_size;
		size_t name_at = at + CPIO_HEADER, data_at;
		const char *member;

		if (memcmp(header, "070701", 6) && memcmp(header, "070702", 6))
			return -EINVAL;
		file_size = cpio_field(header, 6);
		name_size = cpio_field(header, 11);
		if (file_size < 0 || name_size < 1 || (size_t)name_size > limit - name_at)
			return -EINVAL;
		data_at = ALIGN_UP(name_at + name_size, 4);
		if (data_at > limit || (size_t)file_size > limit - data_at)
			return -EINVAL;
		member = base + name_at;
		if (member[name_size - 1] != '\0')
			return -EINVAL;
		if (!strcmp(member, "TRAILER!!!"))
			return -ENOENT;
		if (member[0] == '.' && member[1] == '/')
			member += 2;
		if (!strcmp(member, name)) {
			*data = base + data_at;
			*size = file_size;
			return 0;
		}
		at = ALIGN_UP(data_at + file_size, 4);
		if (at > limit)
			return -EINVAL;
	}
	return -EINVAL;
}
