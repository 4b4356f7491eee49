// SPDX-License-Identifier: MIT
// Pipes and FIFOs: sizes, ends that go, atomic writes, blocking, O_NONBLOCK, O_DIRECT, SIGPIPE.
// cflags: -Wno-stringop-overflow -Wno-stringop-overread
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static char buf[1 << 20];

static void basics(void)
{
	int p[2], n;

	SHOW(pipe2(p, O_CLOEXEC));
	SHOW(fcntl(p[0], F_GETFD));
	SHOW(fcntl(p[0], F_GETFL));
	SHOW(fcntl(p[1], F_GETFL));
	SHOW(write(p[1], "hello", 5));
	SHOW(ioctl(p[0], FIONREAD, &n));
	CHECK(n == 5);
	SHOW(read(p[0], buf, 2));
	SHOW(read(p[0], buf, 100));
	SHOW(write(p[0], "x", 1));
	SHOW(read(p[1], buf, 1));
	SHOW(lseek(p[0], 0, SEEK_SET));
	SHOW(pread(p[0], buf, 1, 0));
	SHOW(ftruncate(p[1], 0));
	SHOW(fsync(p[1]));
	SHOW(read(p[0], buf, 0));
	SHOW(write(p[1], "", 0));
	close(p[1]);
	SHOW(read(p[0], buf, 1));
	close(p[0]);
	SHOW(pipe2(p, 0x1000000));
	SHOW(pipe2((int *)1, 0));
	SHOW(pipe2(p, O_NONBLOCK));
	CHECK(p[0] < 10); /* the failed ones left no descriptor behind */
	SHOW(read(p[0], buf, 1));
	close(p[0]);
	close(p[1]);
}

static void capacity(void)
{
	int p[2];
	long total = 0, n;

	pipe2(p, O_NONBLOCK);
	SHOW(fcntl(p[0], F_GETPIPE_SZ));
	while ((n = write(p[1], buf, 4096)) > 0)
		total += n;
	printf("a full pipe holds %ld, then %s\n", total, strerrorname_np(errno));
	SHOW(write(p[1], "x", 1));
	SHOW(read(p[0], buf, 100));
	SHOW(write(p[1], buf, 100));
	SHOW(read(p[0], buf, 4096));
	SHOW(write(p[1], buf, 5000));
	SHOW(fcntl(p[1], F_SETPIPE_SZ, 4096));
	SHOW(fcntl(p[1], F_SETPIPE_SZ, 200000));
	SHOW(write(p[1], buf, 1000000));
	SHOW(fcntl(p[1], F_SETPIPE_SZ, 0));
	SHOW(fcntl(0x7fff, F_GETPIPE_SZ));
	close(p[0]);
	close(p[1]);
}

static volatile int sigpipes;

static void on_sigpipe(int signal)
{
	sigpipes += signal == SIGPIPE;
}

static void broken(void)
{
	int p[2];
	struct pollfd pfd;

	signal(SIGPIPE, on_sigpipe);
	pipe(p);
	close(p[0]);
	SHOW(write(p[1], "x", 1));
	printf("SIGPIPE: %d\n", sigpipes);
	pfd = (struct pollfd){.fd = p[1], .events = POLLOUT};
	SHOW(poll(&pfd, 1, 0));
	printf("revents %x\n", pfd.revents);
	close(p[1]);
	signal(SIGPIPE, SIG_IGN);
	pipe(p);
	close(p[0]);
	SHOW(write(p[1], "x", 1));
	close(p[1]);
}

/* Writers of PIPE_BUF bytes do not mix, whatever the reader's chunks. */
static int atomic_fd;

static void *atomic_writer(void *arg)
{
	char block[4096];

	memset(block, (int)(long)arg, sizeof(block));
	for (int i = 0; i < 50; i++)
		CHECK(write(atomic_fd, block, sizeof(block)) == sizeof(block));
	return NULL;
}

static void atomicity(void)
{
	pthread_t threads[4];
	int p[2];
	long total = 0, mixed = 0;
	char block[4096];

	pipe(p);
	atomic_fd = p[1];
	for (long i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, atomic_writer, (void *)('a' + i));
	while (total < 4 * 50 * 4096) {
		size_t have = 0;

		while (have < sizeof(block)) {
			ssize_t n = read(p[0], block + have, sizeof(block) - have);

			if (n <= 0)
				break;
			have += n;
		}
		for (size_t i = 1; i < have; i++)
			mixed += block[i] != block[0];
		total += have;
	}
	printf("atomic: %ld bytes, %ld mixed\n", total, mixed);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	close(p[0]);
	close(p[1]);
}

/* Much data through a small pipe, both sides blocking again and again. */
static void stream(void)
{
	int p[2], status;
	unsigned long sum = 0, expected = 0;
	pid_t child;

	pipe(p);
	child = fork();
	if (!child) {
		unsigned char block[3000];
		unsigned state = 1;

		close(p[0]);
		for (int i = 0; i < 400; i++) {
			for (size_t k = 0; k < sizeof(block); k++)
				block[k] = (state = state * 1103515245 + 12345) >> 16;
			for (size_t done = 0; done < sizeof(block);) {
				ssize_t n = write(p[1], block + done, sizeof(block) - done);

				if (n <= 0)
					_exit(1);
				done += n;
			}
		}
		_exit(0);
	}
	close(p[1]);
	for (unsigned i = 0, state = 1; i < 400 * 3000; i++)
		expected = expected * 31 + (unsigned char)((state = state * 1103515245 + 12345) >> 16);
	for (;;) {
		static unsigned char block[7777];
		ssize_t n = read(p[0], block, sizeof(block));

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 31 + block[i];
	}
	printf("stream: %s\n", sum == expected ? "same" : "different");
	waitpid(child, &status, 0);
	CHECK(status == 0);
	close(p[0]);
}

static void packets(void)
{
	int p[2];

	pipe2(p, O_DIRECT | O_NONBLOCK);
	SHOW(write(p[1], "first", 5));
	SHOW(write(p[1], "second", 6));
	SHOW(read(p[0], buf, 100));
	SHOW(read(p[0], buf, 3));
	SHOW(read(p[0], buf, 100));
	close(p[0]);
	close(p[1]);
}

static void vectors(void)
{
	char a[3], b[10];
	struct iovec out[3] = {{"one", 3}, {NULL, 0}, {"two!", 4}}, in[2] = {{a, 3}, {b, 10}};
	int p[2];

	pipe(p);
	SHOW(writev(p[1], out, 3));
	SHOW(readv(p[0], in, 2));
	CHECK(!memcmp(a, "one", 3) && !memcmp(b, "two!", 4));
	SHOW(writev(p[1], out, -1));
	SHOW(writev(p[1], out, 2000));
	close(p[0]);
	close(p[1]);
}

/* A buffer that ends in unmapped memory: the bytes before it move. */
static void faults(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int p[2];

	munmap(page + 4096, 4096);
	pipe2(p, O_NONBLOCK);
	SHOW(write(p[1], (char *)8, 10));
	SHOW(read(p[0], buf, 10));
	SHOW(write(p[1], "0123456789", 10));
	SHOW(read(p[0], (char *)8, 10));
	SHOW(write(p[1], page + 4090, 6));
	close(p[0]);
	close(p[1]);
}

static void fifos(void)
{
	const char *path = "/tmp/fifo";
	struct stat st;
	int fd, other, status;
	pid_t child;

	unlink(path);
	SHOW(mkfifo(path, 0600));
	SHOW(stat(path, &st));
	printf("mode %o\n", st.st_mode);
	SHOW(open(path, O_WRONLY | O_NONBLOCK));
	fd = open(path, O_RDONLY | O_NONBLOCK);
	CHECK(fd >= 0);
	SHOW(read(fd, buf, 1));
	other = open(path, O_WRONLY | O_NONBLOCK);
	CHECK(other >= 0);
	SHOW(read(fd, buf, 1));
	SHOW(write(other, "through", 7));
	SHOW(read(fd, buf, 100));
	close(other);
	SHOW(read(fd, buf, 1));
	close(fd);
	/* Both sides wait for each other in open. */
	child = fork();
	if (!child) {
		fd = open(path, O_WRONLY);
		if (write(fd, "late", 4) != 4)
			_exit(1);
		_exit(0);
	}
	fd = open(path, O_RDONLY);
	SHOW(read(fd, buf, 100));
	SHOW(read(fd, buf, 100));
	waitpid(child, &status, 0);
	CHECK(status == 0);
	close(fd);
	fd = open(path, O_RDWR);
	SHOW(write(fd, "self", 4));
	SHOW(read(fd, buf, 10));
	close(fd);
	unlink(path);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void interrupted(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	int p[2];

	pipe(p);
	sigaction(SIGALRM, &action, NULL);
	alarm(1);
	SHOW(read(p[0], buf, 1));
	/* Part of a write moved before the signal: that is the result. */
	alarm(1);
	SHOW(write(p[1], buf, sizeof(buf)));
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	basics();
	capacity();
	broken();
	atomicity();
	stream();
	packets();
	vectors();
	faults();
	fifos();
	interrupted();
	return CHECK_RESULT();
}
