// SPDX-License-Identifier: MIT
/* What once made the kernel hang, die or leak; found by wild.c and by stress. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static long page;

/* `good` pages that are there, and one that is not. */
static char *pages_and_a_hole(int good)
{
	char *p = mmap(NULL, (good + 1) * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 'x', good * page);
	munmap(p + good * page, page);
	return p;
}

static long size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : (long)st.st_size;
}

/* A write whose buffer ends within a page of a new file: what is there is written. */
static void write_from_a_hole(const char *path)
{
	char *p = pages_and_a_hole(1);
	char back[64];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	SHOW(pwrite(fd, p + page - 64, 65536, 0));
	SHOW(size_of(fd));
	SHOW(pwrite(fd, p + page - 64, 65536, 4096));
	SHOW(size_of(fd));
	SHOW(pwrite(fd, p + 64, 65536, 65536 + 64));
	SHOW(size_of(fd));
	SHOW(pwrite(fd, p + page, 65536, 3 * 65536));
	SHOW(size_of(fd));
	SHOW(pread(fd, back, 64, 4096 + 32));
	SHOW(back[31] == 'x' && !back[32]);
	close(fd);
	unlink(path);
	munmap(p, page);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	page = sysconf(_SC_PAGESIZE);
	write_from_a_hole("/tmp/robust");
	write_from_a_hole("/root/robust");
	write_from_a_hole("/dev/shm/robust");
	return CHECK_RESULT();
}
