// SPDX-License-Identifier: MIT
// deadline: 120
// Address spaces as a program sees them: the errno of each wrong call, what mappings show after fork, mremap, truncation and
// advice, the signals of bad accesses, a stack that grows, and threads that map, store and fork at the same time.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul

static const char *name_of(long result)
{
	static char text[32];

	if (result >= 0)
		return "ok";
	switch (errno) {
	case EINVAL: return "EINVAL";
	case ENOMEM: return "ENOMEM";
	case EACCES: return "EACCES";
	case EBADF: return "EBADF";
	case EEXIST: return "EEXIST";
	case EFAULT: return "EFAULT";
	case EPERM: return "EPERM";
	case ENODEV: return "ENODEV";
	case EOVERFLOW: return "EOVERFLOW";
	case EAGAIN: return "EAGAIN";
	case EBUSY: return "EBUSY";
	case EOPNOTSUPP: return "EOPNOTSUPP";
	}
	snprintf(text, sizeof(text), "errno %d", errno);
	return text;
}

/* The raw call: glibc checks some arguments itself. */
#define CALL(call, ...)                                                                            \
	do {                                                                                       \
		errno = 0;                                                                         \
		long result_ = syscall(SYS_##call, ##__VA_ARGS__);                                 \
		printf("%-60s %s\n", #call "(" #__VA_ARGS__ ")", name_of(result_));                 \
	} while (0)

static int file_of(const char *path, size_t pages)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char page[PAGE];

	for (size_t i = 0; i < pages; i++) {
		memset(page, 'a' + (int)i, sizeof(page));
		if (write(fd, page, sizeof(page)) != sizeof(page))
			abort();
	}
	return fd;
}

static void errors(void)
{
	int fd = file_of("/tmp/memory-test", 4), ro = open("/tmp/memory-test", O_RDONLY), wo = open("/tmp/memory-test", O_WRONLY);
	int pipes[2], path = open("/tmp/memory-test", O_PATH);
	char *m = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *f = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *r = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, ro, 0);
	unsigned char vec[8];
	uintptr_t top = 1ul << 48;

	if (pipe(pipes))
		abort();
	munmap(m + 3 * PAGE, PAGE); /* a hole */
	CALL(mmap, 0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CALL(mmap, 0, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0);
	CALL(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, -1, 0);
	CALL(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, path, 0);
	CALL(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0);
	CALL(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, wo, 0);
	CALL(mmap, 0, PAGE, PROT_WRITE, MAP_SHARED, ro, 0);
	CALL(mmap, 0, PAGE, PROT_WRITE, MAP_SHARED, wo, 0);
	CALL(mmap, 0, PAGE, PROT_WRITE, MAP_PRIVATE, ro, 0);
	CALL(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, ro, 100);
	CALL(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, ro, -4096l);
	CALL(mmap, 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CALL(mmap, top - PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CALL(mmap, 0, top, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CALL(mmap, 0, -1ul, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CALL(mmap, m, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CALL(mmap, 0, PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, ro, 0);
	CALL(mmap, 0, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
	CALL(munmap, m + 1, PAGE);
	CALL(munmap, m, 0);
	CALL(munmap, top, PAGE);
	CALL(munmap, m + 3 * PAGE, PAGE);
	CALL(mprotect, m + 1, PAGE, PROT_READ);
	CALL(mprotect, m, 0, PROT_READ);
	CALL(mprotect, m, PAGE, 0x40);
	CALL(mprotect, m, PAGE, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP);
	CALL(mprotect, m, PAGE, PROT_READ | PROT_GROWSDOWN);
	CALL(mprotect, m + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE);
	CALL(mprotect, m, -PAGE, PROT_READ);
	CALL(mprotect, r, PAGE, PROT_READ | PROT_WRITE);
	CALL(mremap, m + 1, PAGE, PAGE, 0, 0);
	CALL(mremap, m, PAGE, 0, 0, 0);
	CALL(mremap, m, PAGE, PAGE, 8, 0);
	CALL(mremap, m, PAGE, PAGE, MREMAP_FIXED, f);
	CALL(mremap, m, PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, m);
	CALL(mremap, m, PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, 1);
	CALL(mremap, m + 3 * PAGE, PAGE, PAGE, 0, 0);
	CALL(mremap, m + 2 * PAGE, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE, 0);
	CALL(mremap, m + PAGE, PAGE, 4 * PAGE, 0, 0);
	CALL(mremap, m, 0, PAGE, MREMAP_MAYMOVE, 0);
	CALL(madvise, m + 1, PAGE, MADV_NORMAL);
	CALL(madvise, m, PAGE, 77);
	CALL(madvise, m, 0, MADV_DONTNEED);
	CALL(madvise, m, -1ul, MADV_NORMAL);
	CALL(madvise, m, 8 * PAGE, MADV_DONTNEED);
	CALL(madvise, f, PAGE, MADV_FREE);
	CALL(madvise, f, PAGE, MADV_WILLNEED);
	CALL(madvise, f, PAGE, MADV_WIPEONFORK);
	CALL(msync, m + 1, PAGE, MS_SYNC);
	CALL(msync, m, PAGE, MS_SYNC | MS_ASYNC);
	CALL(msync, m, PAGE, 8);
	CALL(msync, m, 8 * PAGE, MS_SYNC);
	CALL(msync, f, 4 * PAGE, MS_SYNC);
	CALL(mincore, m + 1, PAGE, vec);
	CALL(mincore, m, 8 * PAGE, vec);
	CALL(mincore, m, PAGE, (void *)8);
	CALL(mlock, m, 8 * PAGE);
	CALL(mlock2, m, PAGE, 2);
	CALL(mlock, m, 3 * PAGE);
	CALL(munlock, m, 3 * PAGE);
	CALL(mlockall, 0);
	CALL(mlockall, 64);
	CALL(munlockall);
	munmap(m, 8 * PAGE);
	munmap(f, 4 * PAGE);
	munmap(r, 4 * PAGE);
	close(fd), close(ro), close(wo), close(pipes[0]), close(pipes[1]), close(path);
}

/* --- signals --- */

static sigjmp_buf back;
static volatile int caught, code;
static void *volatile where;

static void handler(int signal, siginfo_t *info, void *context)
{
	(void)context;
	caught = signal;
	code = info->si_code;
	where = info->si_addr;
	siglongjmp(back, 1);
}

#define TRY(what, expected_address)                                                                \
	do {                                                                                       \
		caught = 0;                                                                        \
		if (!sigsetjmp(back, 1)) {                                                         \
			what;                                                                      \
		}                                                                                  \
		printf("%-40s signal %d code %d%s\n", #what, caught, code,                          \
			caught && where != (void *)(expected_address) ? " (elsewhere)" : "");       \
	} while (0)

static void signals(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	int fd = file_of("/tmp/memory-test", 2);
	char *m = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *f = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	volatile char c;

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	memset(m, 1, 4 * PAGE);
	munmap(m + 2 * PAGE, PAGE);
	mprotect(m, PAGE, PROT_NONE);
	mprotect(m + PAGE, PAGE, PROT_READ);
	TRY(c = m[5], m + 5);
	TRY(m[PAGE + 7] = 1, m + PAGE + 7);
	TRY(c = m[PAGE], 0);
	TRY(c = m[2 * PAGE + 9], m + 2 * PAGE + 9);
	TRY(((void (*)(void))(m + 3 * PAGE))(), m + 3 * PAGE);
	TRY(c = f[2 * PAGE + 1], f + 2 * PAGE + 1);
	TRY(f[3 * PAGE] = 1, f + 3 * PAGE);
	c = f[PAGE];
	if (ftruncate(fd, PAGE))
		abort();
	TRY(c = f[PAGE], f + PAGE);
	mprotect(m, PAGE, PROT_READ);
	printf("kept under PROT_NONE: %d\n", m[5]);
	(void)c;
	munmap(m, 4 * PAGE);
	munmap(f, 4 * PAGE);
	close(fd);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
}

/* --- what mappings show --- */

static void in_child(void (*what)(char *), char *arg)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		what(arg);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		printf("child: status %x\n", status);
}

static void store_child(char *m)
{
	if (m[0] != 'p' || m[PAGE] != 'q')
		_exit(1);
	m[0] = 'c';
	m[2 * PAGE] = 'n';
}

static void contents(void)
{
	int fd = file_of("/tmp/memory-test", 4);
	char *m = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *s = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	char *f = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *n;
	char byte, buffer[16];
	struct iovec local = {buffer, 5}, remote = {p, 5};

	m[0] = s[0] = 'p';
	m[PAGE] = s[PAGE] = 'q';
	in_child(store_child, m);
	in_child(store_child, s);
	printf("private after a child's store: %c %d; shared: %c %c\n", m[0], m[2 * PAGE], s[0], s[2 * PAGE]);
	p[0] = 'X';
	f[PAGE] = 'Y';
	if (pread(fd, &byte, 1, 0) != 1)
		abort();
	printf("file after a private store: %c; ", byte);
	if (pread(fd, &byte, 1, PAGE) != 1)
		abort();
	printf("after a shared one: %c, in the private mapping %c\n", byte, p[PAGE]);
	if (pwrite(fd, "Z", 1, 2 * PAGE) != 1)
		abort();
	printf("after pwrite: shared %c, private %c\n", f[2 * PAGE], p[2 * PAGE]);
	madvise(p, 4 * PAGE, MADV_DONTNEED);
	madvise(m, 4 * PAGE, MADV_DONTNEED);
	madvise(s, 4 * PAGE, MADV_DONTNEED);
	printf("after DONTNEED: private file %c, anonymous %d, shared %c\n", p[0], m[0], s[0]);
	memcpy(m, "hello", 6);
	m[3 * PAGE] = '3';
	n = mremap(m, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
	printf("after mremap: %s %c %d\n", n, n[3 * PAGE], n[40 * PAGE]);
	n = mremap(n, 64 * PAGE, 2 * PAGE, 0);
	n[0] = 'j';
	m = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	n = mremap(n, 2 * PAGE, 2 * PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, m);
	printf("after a fixed one: %s at its place: %d\n", n, n == m);
	n = mremap(f, 0, 2 * PAGE, MREMAP_MAYMOVE);
	printf("a second view: %c %d\n", n[PAGE], n != f);
	n[PAGE] = 'W';
	printf("through it: %c\n", f[PAGE]);
	if (ftruncate(fd, PAGE + 100) || ftruncate(fd, 4 * PAGE))
		abort();
	printf("after truncation: %c %d %d\n", f[PAGE + 99], f[PAGE + 100], f[2 * PAGE]);
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 5)
		perror("process_vm_readv");
	printf("process_vm_readv: %.5s\n", buffer);
	munmap(s, 4 * PAGE);
	close(fd);
}

/* Copies that end where memory does. */
static void short_copies(void)
{
	int fd = open("/tmp/memory-test", O_RDWR | O_CREAT | O_TRUNC, 0600);
	char *m = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec pieces[] = {{m, 10}, {m + PAGE - 10, 20}, {m + PAGE + 100, 10}, {m + 3 * PAGE - 5, 10}};

	memset(m, 'm', 4 * PAGE);
	mprotect(m + 3 * PAGE, PAGE, PROT_NONE);
	printf("pwrite: %zd", pwrite(fd, m + 2 * PAGE, 2 * PAGE, 0));
	printf(" %zd", pwrite(fd, m + 2 * PAGE + 100, 2 * PAGE, 8 * PAGE));
	printf(" %zd", pwrite(fd, m + 2 * PAGE + 100, 2 * PAGE, 20 * PAGE + 500));
	printf(" %zd", pwrite(fd, m + 3 * PAGE, PAGE, 30 * PAGE));
	printf(" %zd", pwritev(fd, pieces, 4, 40 * PAGE));
	printf("\npread: %zd", pread(fd, m + 2 * PAGE, 2 * PAGE, 0));
	printf(" %zd", pread(fd, m + 2 * PAGE + 100, 2 * PAGE, 0));
	printf(" %zd", pread(fd, m + 3 * PAGE, PAGE, 0));
	printf(" %zd", preadv(fd, pieces, 4, 0));
	printf("\nsize %ld\n", (long)lseek(fd, 0, SEEK_END));
	munmap(m, 4 * PAGE);
	close(fd);
}

static int depth(int n)
{
	volatile char room[3000];

	room[0] = (char)n;
	return n ? depth(n - 1) + (room[0] == (char)n) : 0;
}

static void stack_and_heap(void)
{
	struct rlimit limit;
	char *b = sbrk(0);

	getrlimit(RLIMIT_STACK, &limit);
	printf("stack: %d\n", depth((int)(limit.rlim_cur / 3000 * 9 / 10)));
	printf("brk grows: %d\n", sbrk(1 << 20) == b);
	memset(b, 5, 1 << 20);
	sbrk(-(1 << 20));
	sbrk(1 << 20);
	printf("new heap is zero: %d\n", !b[8192] && !b[(1 << 20) - 1]);
}

/* --- threads --- */

enum { THREADS = 4, ROUNDS = 150 };
static char *arena; /* shared by all: each thread has every fourth page */
static _Atomic int wrong;

static void *mapper(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg, seed = me;

	for (int round = 0; round < ROUNDS; round++) {
		size_t pages = 1 + (unsigned)rand_r(&seed) % 32;
		unsigned char *m = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (size_t i = 0; i < pages; i++)
			m[i * PAGE] = (unsigned char)(me + i);
		if (round % 3 == 0)
			mprotect(m, pages * PAGE, PROT_READ);
		if (round % 16 == (int)me) {
			int status;
			pid_t pid = fork();

			if (!pid) {
				for (size_t i = 0; i < pages; i++)
					if (m[i * PAGE] != (unsigned char)(me + i))
						_exit(1);
				_exit(0);
			}
			if (waitpid(pid, &status, 0) != pid || status)
				wrong++;
		}
		for (unsigned i = me; i < 64; i += THREADS) {
			unsigned char *mine = (unsigned char *)arena + i * PAGE;

			if (*mine != (unsigned char)round)
				wrong++;
			(*mine)++;
		}
		for (size_t i = 0; i < pages; i++)
			if (m[i * PAGE] != (unsigned char)(me + i))
				wrong++;
		munmap(m, pages * PAGE);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t thread[THREADS];

	arena = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, mapper, (void *)i))
			abort();
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	printf("threads: %d wrong\n", wrong);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/tmp", 0777);
	errors();
	signals();
	contents();
	short_copies();
	stack_and_heap();
	threads();
	unlink("/tmp/memory-test");
	return 0;
}
