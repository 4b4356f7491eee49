// SPDX-License-Identifier: MIT
// kernel: fs/cpio.c
/* Archives as cpio(1) and boot loaders make them: one, several with zeroes between, cut, damaged. */
#include "check.h"
#include <lichen/cpio.h>
#include <errno.h>
#include <string.h>

static char archive[4096];
static size_t used;

static void put(const char *name, unsigned int mode, const char *data)
{
	size_t n = strlen(data);

	used += (size_t)sprintf(archive + used, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 7, mode, 1, 2, 1, 99, (unsigned int)n, 3, 4, 5, 6, (unsigned int)strlen(name) + 1, 0);
	memcpy(archive + used, name, strlen(name) + 1);
	used = (used + strlen(name) + 1 + 3) & ~3ul;
	memcpy(archive + used, data, n);
	used = (used + n + 3) & ~3ul;
}

static void begin(void)
{
	memset(archive, 0, sizeof(archive));
	used = 0;
}

static void plain(void)
{
	struct cpio_entry e;
	s64 at;

	begin();
	put("dir", 040755, "");
	put("dir/file", 0100644, "hello");
	put("TRAILER!!!", 0, "");
	at = cpio_next(archive, used, 0, &e);
	CHECK(at > 0 && !strcmp(e.name, "dir") && e.mode == 040755 && !e.size && e.inode == 7 && e.uid == 1 && e.gid == 2 && e.links == 1 && e.mtime == 99);
	CHECK(e.device_major == 3 && e.device_minor == 4 && e.rdev_major == 5 && e.rdev_minor == 6);
	at = cpio_next(archive, used, (size_t)at, &e);
	CHECK(at > 0 && !strcmp(e.name, "dir/file") && e.name_length == 8 && e.size == 5 && !memcmp(e.data, "hello", 5));
	CHECK(cpio_next(archive, used, (size_t)at, &e) == 0);
	/* Zeroes behind it. */
	CHECK(cpio_next(archive, used + 512, (size_t)at, &e) == 0);
}

static void several(void)
{
	struct cpio_entry e;
	s64 at;

	begin();
	put("a", 0100644, "1");
	put("TRAILER!!!", 0, "");
	used += 512;
	put("b", 0100644, "22");
	put("TRAILER!!!", 0, "");
	at = cpio_next(archive, used, 0, &e);
	CHECK(at > 0 && !strcmp(e.name, "a"));
	at = cpio_next(archive, used, (size_t)at, &e);
	CHECK(at > 0 && !strcmp(e.name, "b") && e.size == 2);
	CHECK(cpio_next(archive, used, (size_t)at, &e) == 0);
	CHECK(cpio_next(archive, 0, 0, &e) == 0);
}

static void damaged(void)
{
	struct cpio_entry e;

	begin();
	put("name", 0100644, "data!");
	/* The padding behind the last entry may be missing, nothing else. */
	for (size_t n = 1; n < used; n++)
		CHECK(cpio_next(archive, n, 0, &e) == (n >= used - 3 ? (s64)n : -EINVAL));
	archive[0] = 'x';
	CHECK(cpio_next(archive, used, 0, &e) == -EINVAL);
	begin();
	put("name", 0100644, "data");
	archive[20] = 'g';
	CHECK(cpio_next(archive, used, 0, &e) == -EINVAL);
	begin();
	put("name", 0100644, "data");
	archive[114] = 'x'; /* where the name's end was */
	CHECK(cpio_next(archive, used, 0, &e) == -EINVAL);
	begin();
	put("name", 0100644, "data");
	memset(archive + 6 + 8 * 6, 'f', 8); /* 4 GiB long */
	CHECK(cpio_next(archive, used, 0, &e) == -EINVAL);
}

int main(void)
{
	plain();
	several();
	damaged();
	return CHECK_RESULT();
}
