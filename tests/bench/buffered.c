// SPDX-License-Identifier: MIT
/*
 * Buffered sequential I/O of one large file through ext4, in calls of 64 KiB. A request is 1 MiB moved, so the figures are a MiB's.
 *
 * The write makes a new file and ends with fsync, which belongs to the time and the instructions of the whole, not to a sample. The
 * read begins with a cold page cache, and looks at every call's data.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "measure.h"

#define MIB        (1 << 20)
#define FILE_MIB   256
#define CALL       (64 << 10)
#define DIRECTORY  "/tmp/bench"
#define FILE_NAME  DIRECTORY "/sequential"

static unsigned char buf[CALL] __attribute__((aligned(4096)));

static bool is_mounted;

static void mount_files(void)
{
	if (mount(settings.files, DIRECTORY, "ext4", 0, NULL))
		die(settings.files);
	is_mounted = true;
}

/* False: there is no file system for us, the test is left out. */
static bool prepare(void)
{
	if (!settings.files)
		return false;
	if (mkdir(DIRECTORY, 0700) && errno != EEXIST)
		die(DIRECTORY);
	if (!is_mounted)
		mount_files();
	return true;
}

static void write_call(int fd, unsigned call)
{
	memcpy(buf, &call, sizeof(call));
	if (write(fd, buf, CALL) != CALL)
		die("write");
}

static void write_file(unsigned size)
{
	int fd = open(FILE_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	unsigned call = 0;

	if (fd < 0)
		die(FILE_NAME);
	for (unsigned i = 0; i < size; i++) {
		uint64_t t = now();

		for (unsigned j = 0; j < MIB / CALL; j++)
			write_call(fd, call++);
		sample(now() - t);
	}
	if (fsync(fd) || close(fd))
		die("fsync");
}

void sequential_write(void)
{
	unsigned n = scaled(FILE_MIB);
	struct window w;

	if (!prepare())
		return;
	memset(buf, 0x5a, sizeof(buf));
	write_file(1);
	if (unlink(FILE_NAME))
		die("unlink");
	sync();
	window_begin(&w);
	write_file(n);
	window_end(&w, "seqwrite", n);
	if (unlink(FILE_NAME))
		die("unlink");
}

void files_unmount(void)
{
	if (is_mounted && umount(DIRECTORY))
		die("umount");
	is_mounted = false;
}

/* What was cached of an unmounted file system is gone, on every kernel; drop_caches is only a hint. */
static void forget_caches(void)
{
	files_unmount();
	mount_files();
}

void sequential_read(void)
{
	unsigned n = scaled(FILE_MIB), call = 0;
	struct window w;
	int fd;

	if (!prepare())
		return;
	memset(buf, 0x5a, sizeof(buf));
	write_file(n);
	forget_caches();
	fd = open(FILE_NAME, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(FILE_NAME);
	window_begin(&w);
	for (unsigned i = 0; i < n; i++) {
		uint64_t t = now();

		for (unsigned j = 0; j < MIB / CALL; j++, call++) {
			if (read(fd, buf, CALL) != CALL)
				die("read");
			if (memcmp(buf, &call, sizeof(call)) || buf[CALL - 1] != 0x5a) {
				errno = EILSEQ;
				die("sequential read: other data than were written");
			}
		}
		sample(now() - t);
	}
	window_end(&w, "seqread", n);
	close(fd);
	if (unlink(FILE_NAME))
		die("unlink");
}
