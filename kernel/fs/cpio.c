// SPDX-License-Identifier: MIT
/* The reader of cpio archives. It looks at nothing but the bytes it was given: it is also built and fuzzed on the host. */
#include <lichen/cpio.h>
#include <lichen/string.h>
#include <asm/errno.h>

#define HEADER_BYTES 110
#define FIELDS	     13

enum { INODE, MODE, UID, GID, LINKS, MTIME, SIZE, DEVICE_MAJOR, DEVICE_MINOR, RDEV_MAJOR, RDEV_MINOR, NAME_BYTES };

static bool hex_field(const char *text, u32 *value)
{
	u32 v = 0;

	for (int i = 0; i < 8; i++) {
		char c = text[i];

		if (c >= '0' && c <= '9')
			v = v * 16 + (u32)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v * 16 + (u32)((c | 32) - 'a' + 10);
		else
			return false;
	}
	*value = v;
	return true;
}

s64 cpio_next(const void *archive, size_t bytes, size_t at, struct cpio_entry *entry)
{
	const char *start = archive;

	for (;;) {
		u32 field[FIELDS];
		const char *header, *name;
		size_t data;

		/* Between archives, and behind the last, zeroes. */
		while (at < bytes && !start[at])
			at++;
		if (at == bytes)
			return 0;
		header = start + at;
		if (bytes - at < HEADER_BYTES || memcmp(header, "07070", 5) || (header[5] != '1' && header[5] != '2'))
			return -EINVAL;
		for (int i = 0; i < FIELDS; i++)
			if (!hex_field(header + 6 + 8 * i, &field[i]))
				return -EINVAL;
		name = header + HEADER_BYTES;
		if (!field[NAME_BYTES] || field[NAME_BYTES] > bytes - at - HEADER_BYTES || name[field[NAME_BYTES] - 1])
			return -EINVAL;
		data = align_up(at + HEADER_BYTES + field[NAME_BYTES], 4);
		if (data > bytes || field[SIZE] > bytes - data)
			return -EINVAL;
		at = min(align_up(data + field[SIZE], 4), bytes);
		*entry = (struct cpio_entry){
			.name = name,
			.name_length = (u32)strlen(name),
			.inode = field[INODE],
			.mode = field[MODE],
			.uid = field[UID],
			.gid = field[GID],
			.links = field[LINKS],
			.mtime = field[MTIME],
			.device_major = field[DEVICE_MAJOR],
			.device_minor = field[DEVICE_MINOR],
			.rdev_major = field[RDEV_MAJOR],
			.rdev_minor = field[RDEV_MINOR],
			.data = start + data,
			.size = field[SIZE],
		};
		if (strcmp(name, "TRAILER!!!"))
			return (s64)at;
	}
}
