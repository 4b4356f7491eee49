/* SPDX-License-Identifier: MIT */
/* Reading cpio archives of the "newc" kind (070701 and 070702), one after the other, with zeroes between. No allocation. */
#ifndef LICHEN_CPIO_H
#define LICHEN_CPIO_H

#include <lichen/types.h>

struct cpio_entry {
	const char *name; /* terminated; in the archive */
	u32 name_length;
	u32 inode, mode, uid, gid, links, mtime, device_major, device_minor, rdev_major, rdev_minor;
	const void *data;
	u32 size;
};

/*
 * The entry that begins at or after byte `at` (trailers and padding are skipped): the offset behind it, 0 at the end, or
 * -EINVAL if the archive is cut or damaged there.
 */
s64 cpio_next(const void *archive, size_t bytes, size_t at, struct cpio_entry *entry);

#endif
