// SPDX-License-Identifier: MIT
// Files: how they are opened, read, written, positioned, truncated; descriptors; what each refuses.
// cflags: -Wno-stringop-overflow -Wno-stringop-overread -Wno-nonnull
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>
#include "check.h"

static char buf[70000];

/* What open gives: a descriptor is only "open". */
static const char *try_open(const char *name, int flags, int mode)
{
	int fd = open(name, flags, mode);

	if (fd < 0)
		return strerrorname_np(errno);
	close(fd);
	return "open";
}
#define OPEN(name, flags) printf("open(\"%s\", %s) = %s\n", name, #flags, try_open(name, flags, 0644))

static void opening(void)
{
	mkdir("d", 0755);
	symlink("f", "link");
	symlink("nowhere", "dangling");
	symlink("loop", "loop");
	symlink("d", "dlink");
	mkfifo("fifo", 0644);
	OPEN("f", O_RDONLY);
	OPEN("f", O_RDONLY | O_CREAT);
	OPEN("f", O_RDWR | O_CREAT | O_EXCL);
	OPEN("link", O_RDWR | O_CREAT | O_EXCL);
	OPEN("dangling", O_RDONLY);
	OPEN("dangling", O_RDWR | O_CREAT | O_EXCL);
	OPEN("dangling", O_RDWR | O_CREAT);
	OPEN("nowhere", O_RDONLY);
	OPEN("link", O_RDONLY | O_NOFOLLOW);
	OPEN("link", O_PATH | O_NOFOLLOW);
	OPEN("link", O_RDWR | O_CREAT | O_NOFOLLOW);
	OPEN("loop", O_RDONLY);
	OPEN("loop", O_RDONLY | O_CREAT);
	OPEN("d", O_RDONLY);
	OPEN("d", O_WRONLY);
	OPEN("d", O_RDONLY | O_CREAT);
	OPEN("d", O_RDONLY | O_TRUNC);
	OPEN("d", O_RDONLY | O_DIRECTORY);
	OPEN("dlink", O_RDONLY | O_DIRECTORY);
	OPEN("dlink", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	OPEN("dlink/", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	OPEN("f", O_RDONLY | O_DIRECTORY);
	OPEN("f/", O_RDONLY);
	OPEN("f/x", O_RDONLY);
	OPEN("new/", O_RDWR | O_CREAT);
	OPEN("f/", O_RDWR | O_CREAT);
	OPEN("d/", O_RDWR | O_CREAT);
	OPEN("d/.", O_RDWR | O_CREAT);
	OPEN("d/..", O_RDWR | O_CREAT);
	OPEN("/", O_RDWR | O_CREAT);
	OPEN("d//./../f", O_RDONLY);
	OPEN("missing/x", O_RDWR | O_CREAT);
	OPEN("", O_RDONLY);
	OPEN("", O_RDWR | O_CREAT);
	OPEN("f", O_WRONLY | O_RDWR);
	OPEN("f", O_CREAT | O_DIRECTORY);
	OPEN("new-directory", O_CREAT | O_DIRECTORY);
	OPEN("d", O_TMPFILE | O_RDWR);
	OPEN("d", O_TMPFILE | O_RDONLY);
	OPEN("f", O_TMPFILE | O_RDWR);
	OPEN("missing", O_TMPFILE | O_RDWR);
	OPEN("fifo", O_RDONLY | O_NONBLOCK);
	OPEN("fifo", O_WRONLY | O_NONBLOCK);
	OPEN("f", O_RDONLY | O_NOATIME);
	OPEN("f", O_PATH | O_TRUNC | O_RDWR);
	memset(buf, 'a', 300);
	buf[255] = 0;
	printf("255 letters: %s\n", try_open(buf, O_RDWR | O_CREAT, 0600));
	buf[255] = 'a', buf[256] = 0;
	printf("256 letters: %s\n", try_open(buf, O_RDWR | O_CREAT, 0600));
	memset(buf, '/', 5000);
	buf[4095] = 0;
	printf("4095 slashes: %s\n", try_open(buf, O_RDONLY, 0));
	buf[4095] = '/', buf[4096] = 0;
	printf("4096 slashes: %s\n", try_open(buf, O_RDONLY, 0));
	SHOW(openat(-1, "f", O_RDONLY));
	SHOW(openat(1000, "f", O_RDONLY));
	SHOW(syscall(SYS_openat, AT_FDCWD, (char *)1, O_RDONLY));
	SHOW(syscall(SYS_openat, AT_FDCWD, NULL, O_RDONLY));
	int fd = open("f", O_RDONLY);
	SHOW(openat(fd, "x", O_RDONLY));
	SHOW(openat(fd, "", O_RDONLY));
	close(fd);
}

static void descriptors(void)
{
	int fd = open("f", O_RDWR | O_APPEND | O_CLOEXEC), other, path;
	struct rlimit limit;

	printf("flags %o, descriptor flags %d\n", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
	SHOW(fcntl(fd, F_SETFD, 0));
	SHOW(fcntl(fd, F_GETFD));
	SHOW(fcntl(fd, F_SETFL, O_NONBLOCK));
	printf("flags %o\n", fcntl(fd, F_GETFL));
	SHOW(fcntl(fd, F_DUPFD, 100));
	SHOW(fcntl(fd, F_DUPFD_CLOEXEC, 100));
	SHOW(fcntl(101, F_GETFD));
	SHOW(dup2(fd, 200));
	SHOW(dup2(fd, fd) == fd);
	SHOW(dup2(-1, 5));
	SHOW(dup2(77, 77));
	SHOW(dup3(fd, fd, 0));
	SHOW(dup3(fd, 201, O_CLOEXEC));
	SHOW(dup3(fd, 201, O_NONBLOCK));
	SHOW(fcntl(201, F_GETFD));
	SHOW(dup2(fd, 1000000000));
	SHOW(dup(1000));
	SHOW(close(1000));
	SHOW(close(-1));
	SHOW(fcntl(fd, F_DUPFD, -1));
	SHOW(fcntl(fd, 12345));
	SHOW(fcntl(1000, F_GETFD));
	SHOW(syscall(SYS_close_range, 100, 150, 0));
	SHOW(fcntl(100, F_GETFD));
	SHOW(fcntl(200, F_GETFD));
	SHOW(syscall(SYS_close_range, 200, ~0u, CLOSE_RANGE_CLOEXEC));
	SHOW(fcntl(200, F_GETFD));
	SHOW(syscall(SYS_close_range, 200, ~0u, 0));
	SHOW(fcntl(200, F_GETFD));
	SHOW(syscall(SYS_close_range, 5, 4, 0));
	SHOW(syscall(SYS_close_range, 5, 6, 64));
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = 50;
	setrlimit(RLIMIT_NOFILE, &limit);
	SHOW(dup2(fd, 50));
	SHOW(dup2(fd, 49));
	SHOW(fcntl(fd, F_DUPFD, 50));
	SHOW(fcntl(fd, F_DUPFD, 49));
	while ((other = dup(fd)) >= 0)
		;
	printf("until %s\n", strerrorname_np(errno));
	OPEN("not-made", O_RDWR | O_CREAT);
	SHOW(access("not-made", F_OK));
	for (int i = fd + 1; i < 50; i++)
		close(i);
	limit.rlim_cur = 1024;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i < 1000; i++)
		if (dup(fd) < 0)
			break;
	SHOW(fcntl(900, F_GETFD));
	syscall(SYS_close_range, fd + 1, ~0u, 0);
	close(fd);

	path = open("f", O_PATH);
	printf("O_PATH: flags %o\n", fcntl(path, F_GETFL));
	SHOW(read(path, buf, 1));
	SHOW(write(path, buf, 1));
	SHOW(lseek(path, 0, SEEK_SET));
	SHOW(ioctl(path, FIONREAD, &other));
	SHOW(fchmod(path, 0600));
	SHOW(fcntl(path, F_SETFL, 0));
	SHOW(fcntl(path, F_SETFD, FD_CLOEXEC));
	SHOW(fstat(path, &(struct stat){0}));
	SHOW(dup(path) > path);
	SHOW(close(path + 1));
	SHOW(fsync(path));
	SHOW(flock(path, 1));
	close(path);
}

static void io(void)
{
	int fd = open("io", O_RDWR | O_CREAT | O_TRUNC, 0644), other;
	struct stat st;
	struct iovec v[3] = {{buf, 3}, {buf + 10, 0}, {buf + 20, 4}};

	SHOW(write(fd, "hello, world", 12));
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(read(fd, buf, 10));
	SHOW(lseek(fd, -5, SEEK_END));
	SHOW(read(fd, buf, 10));
	printf("%.5s\n", buf);
	SHOW(lseek(fd, -1, SEEK_SET));
	SHOW(lseek(fd, 0, 77));
	SHOW(lseek(fd, 0x7fffffffffffffff, SEEK_SET) != 0);
	SHOW(lseek(fd, 10, SEEK_CUR));
	SHOW(lseek(fd, 4, SEEK_DATA));
	SHOW(lseek(fd, 4, SEEK_HOLE));
	SHOW(lseek(fd, 12, SEEK_DATA));
	SHOW(lseek(fd, 100, SEEK_SET));
	SHOW(read(fd, buf, 10));
	SHOW(write(fd, "x", 1));
	fstat(fd, &st);
	printf("size %ld\n", (long)st.st_size);
	memset(buf, 1, 100);
	SHOW(pread(fd, buf, 200, 0));
	int zeroes = 0;
	for (int i = 12; i < 100; i++)
		zeroes += !buf[i];
	printf("%d zeroes in the hole\n", zeroes);
	SHOW(pread(fd, buf, 1, -1));
	SHOW(pwrite(fd, buf, 1, -1));
	SHOW(pread(fd, buf, 1, 1000));
	SHOW(pwrite(fd, "YY", 2, 4));
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(lseek(fd, 0, SEEK_SET));
	SHOW(readv(fd, v, 3));
	printf("%.3s %.4s\n", buf, buf + 20);
	SHOW(readv(fd, v, -1));
	SHOW(readv(fd, v, 1025));
	SHOW(readv(fd, v, 0));
	SHOW(readv(fd, (struct iovec *)8, 2));
	SHOW(writev(fd, v, 3));
	SHOW(preadv(fd, v, 3, 1));
	SHOW(pwritev(fd, v, 3, 200));
	SHOW(preadv(fd, v, 1, -5));
	SHOW(syscall(SYS_preadv2, fd, v, 3, -1L, 0, 0));
	SHOW(syscall(SYS_preadv2, fd, v, 3, 0L, 0, 0x10000));
	v[0].iov_len = -1;
	SHOW(readv(fd, v, 3));
	v[0].iov_len = 3;
	SHOW(read(fd, (char *)1, 10));
	lseek(fd, 0, SEEK_SET);
	SHOW(read(fd, (char *)1, 10));
	SHOW(write(fd, (char *)1, 10));
	SHOW(read(fd, (char *)-1, 0));
	SHOW(read(fd, (char *)1, 0));
	SHOW(read(fd, (char *)0xffff000000000000, 10));
	other = open("io", O_WRONLY);
	SHOW(read(other, buf, 1));
	close(other);
	other = open("io", O_RDONLY);
	SHOW(write(other, buf, 1));
	SHOW(ftruncate(other, 1));
	close(other);
	other = open(".", O_RDONLY);
	SHOW(read(other, buf, 1));
	SHOW(write(other, buf, 1));
	SHOW(ftruncate(other, 1));
	close(other);
	/* Half of the buffer is there. */
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(map + 4096, 4096);
	ftruncate(fd, 0);
	memset(buf, 'q', 8192);
	pwrite(fd, buf, 8192, 0);
	SHOW(pread(fd, map + 4000, 200, 0));
	SHOW(pwrite(fd, map + 4000, 200, 0));
	SHOW(pread(fd, map + 4096, 200, 0));
	/* O_APPEND */
	other = open("io", O_RDWR | O_APPEND);
	ftruncate(fd, 10);
	SHOW(lseek(other, 0, SEEK_CUR));
	SHOW(write(other, "abc", 3));
	SHOW(lseek(other, 0, SEEK_CUR));
	SHOW(pwrite(other, "def", 3, 0));
	SHOW(lseek(other, 0, SEEK_CUR));
	fstat(fd, &st);
	printf("size %ld\n", (long)st.st_size);
	close(other);
	/* A position shared by fork. */
	lseek(fd, 0, SEEK_SET);
	fflush(stdout);
	if (!fork()) {
		lseek(fd, 5, SEEK_CUR);
		_exit(0);
	}
	wait(NULL);
	SHOW(lseek(fd, 0, SEEK_CUR));
	/* Big ones, over page borders. */
	for (int i = 0; i < 70000; i++)
		buf[i] = (char)(i * 7);
	ftruncate(fd, 0);
	SHOW(pwrite(fd, buf, 70000, 3));
	memset(buf, 0, sizeof(buf));
	SHOW(pread(fd, buf, 70000, 3));
	int wrong = 0;
	for (int i = 0; i < 70000; i++)
		wrong += buf[i] != (char)(i * 7);
	printf("%d wrong\n", wrong);
	close(fd);
}

static void sizes(void)
{
	int fd = open("sizes", O_RDWR | O_CREAT | O_TRUNC, 0644);
	struct stat st;
	struct rlimit limit;

	write(fd, "0123456789", 10);
	SHOW(ftruncate(fd, 5));
	SHOW(ftruncate(fd, 8));
	memset(buf, 1, 20);
	SHOW(pread(fd, buf, 20, 0));
	printf("%.5s %d %d %d\n", buf, buf[5], buf[6], buf[7]);
	SHOW(ftruncate(fd, -1));
	SHOW(truncate("sizes", 100000));
	fstat(fd, &st);
	printf("size %ld\n", (long)st.st_size);
	SHOW(pread(fd, buf, 10, 99995));
	SHOW(truncate("d", 1));
	SHOW(truncate("fifo", 1));
	SHOW(truncate("missing", 1));
	SHOW(truncate("sizes", -1));
	SHOW(ftruncate(-1, 1));
	ftruncate(fd, 0);
	SHOW(fallocate(fd, 0, 0, 10000));
	fstat(fd, &st);
	printf("size %ld\n", (long)st.st_size);
	SHOW(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 20000));
	fstat(fd, &st);
	printf("size %ld\n", (long)st.st_size);
	SHOW(fallocate(fd, 0, -1, 10));
	SHOW(fallocate(fd, 0, 0, 0));
	SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
	memset(buf, 'z', 10000);
	pwrite(fd, buf, 10000, 0);
	SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 5000));
	pread(fd, buf, 10000, 0);
	int zeroes = 0;
	for (int i = 0; i < 10000; i++)
		zeroes += !buf[i];
	printf("%d zeroes, %d %d %d %d\n", zeroes, buf[99], buf[100], buf[5099], buf[5100]);
	SHOW(posix_fallocate(fd, 0, 100));
	/* Limits */
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	rlim_t old = limit.rlim_cur;
	limit.rlim_cur = 15000;
	setrlimit(RLIMIT_FSIZE, &limit);
	SHOW(pwrite(fd, buf, 100, 14950));
	SHOW(pwrite(fd, buf, 100, 15000));
	SHOW(ftruncate(fd, 16000));
	SHOW(ftruncate(fd, 12000));
	limit.rlim_cur = old;
	setrlimit(RLIMIT_FSIZE, &limit);
	close(fd);
}

static void moving(void)
{
	int from = open("io", O_RDWR), to = open("copy", O_RDWR | O_CREAT | O_TRUNC, 0644), p[2];
	off_t at = 10, to_at = 0;
	struct stat st;

	SHOW(sendfile(to, from, &at, 20000));
	printf("at %ld\n", (long)at);
	SHOW(lseek(from, 0, SEEK_CUR));
	SHOW(lseek(to, 0, SEEK_CUR));
	SHOW(sendfile(to, from, NULL, 5));
	SHOW(lseek(from, 0, SEEK_CUR));
	SHOW(sendfile(to, -1, NULL, 5));
	at = 0;
	SHOW(copy_file_range(from, &at, to, &to_at, 1000000, 0));
	printf("at %ld, %ld\n", (long)at, (long)to_at);
	SHOW(copy_file_range(from, &at, to, &to_at, 10, 0));
	SHOW(copy_file_range(from, NULL, from, &to_at, 10, 0));
	at = 0;
	to_at = 5;
	SHOW(copy_file_range(from, &at, from, &to_at, 10, 0));
	SHOW(copy_file_range(from, &at, to, &to_at, 10, 1));
	pipe(p);
	SHOW(copy_file_range(from, NULL, p[1], NULL, 10, 0));
	at = 0;
	SHOW(splice(from, &at, p[1], NULL, 100, 0));
	SHOW(splice(p[0], NULL, to, NULL, 1000, 0));
	SHOW(splice(from, &at, to, NULL, 100, 0));
	SHOW(splice(p[0], &at, to, NULL, 100, 0));
	SHOW(splice(p[0], NULL, to, NULL, 100, SPLICE_F_NONBLOCK));
	close(p[0]);
	close(p[1]);
	fstat(to, &st);
	printf("size %ld\n", (long)st.st_size);
	close(from);
	close(to);
}

static void memfds(void)
{
	int fd = memfd_create("name", MFD_ALLOW_SEALING), plain = memfd_create("plain", MFD_CLOEXEC);
	char link[100] = "";

	sprintf(buf, "/proc/self/fd/%d", fd);
	SHOW(readlink(buf, link, 99));
	printf("%s\n", link);
	SHOW(ftruncate(fd, 100));
	SHOW(write(fd, "hello", 5));
	SHOW(fcntl(fd, F_GET_SEALS));
	SHOW(fcntl(plain, F_GET_SEALS));
	SHOW(fcntl(plain, F_GETFD));
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	SHOW(ftruncate(fd, 50));
	SHOW(ftruncate(fd, 150));
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
	SHOW(ftruncate(fd, 200));
	SHOW(pwrite(fd, "xyz", 3, 149));
	SHOW(pwrite(fd, "xyz", 3, 150));
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	SHOW(pwrite(fd, "xyz", 3, 0));
	SHOW(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	SHOW(fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE));
	SHOW(fcntl(0, F_GET_SEALS));
	SHOW(memfd_create("x", 0x1000));
	memset(buf, 'x', 300);
	buf[249] = 0;
	SHOW(memfd_create(buf, 0) > 0);
	buf[249] = 'x', buf[250] = 0;
	SHOW(memfd_create(buf, 0));
	close(fd);
	close(plain);
}

int main(void)
{
	char work[] = "/tmp/files-XXXXXX";

	umask(022);
	CHECK(mkdtemp(work) && !chdir(work));
	opening();
	descriptors();
	io();
	sizes();
	moving();
	memfds();
	return CHECK_RESULT();
}
