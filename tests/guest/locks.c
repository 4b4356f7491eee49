// SPDX-License-Identifier: MIT
// Locks of files: fcntl records of processes and of open files, flock; waiting, deadlock, the ends of owners.
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static int fd;

static int lock(int file, int command, short type, off_t start, off_t length)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

	return fcntl(file, command, &l);
}

/* What is in the way, as another process sees it. */
static void test(int file, int command, short type, off_t start, off_t length, pid_t owner)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

	fcntl(file, command, &l);
	if (l.l_type == F_UNLCK)
		printf("  [%ld, %ld): free\n", (long)start, (long)(start + length));
	else
		printf("  [%ld, %ld): %s at %ld, %ld bytes, whence %d, owner %s\n", (long)start, (long)(start + length), l.l_type == F_WRLCK ? "write" : "read", (long)l.l_start,
			(long)l.l_len, l.l_whence, l.l_pid == owner ? "known" : l.l_pid == -1 ? "a file" : "unknown");
}

static void child(void (*what)(pid_t parent))
{
	pid_t parent = getpid();
	int status;

	fflush(stdout);
	if (!fork()) {
		what(parent);
		fflush(stdout);
		_exit(check_failures != 0);
	}
	wait(&status);
	CHECK(!status);
}

static void see(pid_t parent)
{
	test(fd, F_GETLK, F_WRLCK, 0, 1000, parent);
	test(fd, F_GETLK, F_RDLCK, 0, 1000, parent);
	for (off_t at = 0; at < 100; at += 10)
		test(fd, F_GETLK, F_WRLCK, at, 10, parent);
	SHOW(lock(fd, F_SETLK, F_WRLCK, 15, 1));
	SHOW(lock(fd, F_SETLK, F_RDLCK, 15, 1));
	SHOW(lock(fd, F_SETLK, F_RDLCK, 55, 1));
	SHOW(lock(fd, F_SETLK, F_UNLCK, 0, 0));
}

static void records(void)
{
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_END, .l_start = -10, .l_len = 5};
	int reader = open("file", O_RDONLY), writer = open("file", O_WRONLY);

	SHOW(lock(fd, F_SETLK, F_WRLCK, 10, 20));
	SHOW(lock(fd, F_SETLK, F_RDLCK, 50, 10));
	child(see);
	/* Splitting, joining, changing the kind. */
	SHOW(lock(fd, F_SETLK, F_UNLCK, 15, 5));
	SHOW(lock(fd, F_SETLK, F_RDLCK, 22, 3));
	SHOW(lock(fd, F_SETLK, F_RDLCK, 60, 10));
	SHOW(lock(fd, F_SETLK, F_WRLCK, 90, 0));
	child(see);
	SHOW(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	child(see);
	ftruncate(fd, 100);
	SHOW(fcntl(fd, F_SETLK, &l));
	child(see);
	l.l_len = -50;
	SHOW(fcntl(fd, F_SETLK, &l));
	child(see);
	l.l_start = -200;
	SHOW(fcntl(fd, F_SETLK, &l));
	l.l_whence = 9;
	SHOW(fcntl(fd, F_SETLK, &l));
	SHOW(lock(fd, F_SETLK, 9, 0, 1));
	SHOW(lock(reader, F_SETLK, F_WRLCK, 0, 1));
	SHOW(lock(writer, F_SETLK, F_RDLCK, 0, 1));
	SHOW(lock(fd, F_GETLK, F_UNLCK, 0, 1));
	SHOW(lock(99, F_SETLK, F_RDLCK, 0, 1));
	SHOW(fcntl(fd, F_SETLK, (struct flock *)1));
	/* Closing any descriptor of the file loses all. */
	close(reader);
	child(see);
	close(writer);
}

static int turn[2];

static void hold_and_go(pid_t parent)
{
	(void)parent;
	SHOW(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	fflush(stdout);
	(void)!write(turn[1], "x", 1);
	usleep(50000);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void waiting(void)
{
	char c;
	int status;
	pid_t pid, parent = getpid();

	(void)!pipe(turn);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		hold_and_go(parent);
		_exit(0);
	}
	(void)!read(turn[0], &c, 1);
	SHOW(lock(fd, F_SETLK, F_WRLCK, 5, 1));
	SHOW(lock(fd, F_SETLKW, F_WRLCK, 5, 1));
	waitpid(pid, &status, 0);
	SHOW(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	/* Interrupted. */
	fflush(stdout);
	pid = fork();
	if (!pid) {
		lock(fd, F_SETLK, F_WRLCK, 0, 10);
		(void)!write(turn[1], "x", 1);
		pause();
	}
	(void)!read(turn[0], &c, 1);
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
	ualarm(20000, 0);
	SHOW(lock(fd, F_SETLKW, F_WRLCK, 5, 1));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	SHOW(lock(fd, F_SETLKW, F_WRLCK, 5, 1));
	lock(fd, F_SETLK, F_UNLCK, 0, 0);
	/* A circle: the child has 1 and wants 0, we have 0 and want 1. One of us is told. */
	lock(fd, F_SETLK, F_WRLCK, 0, 1);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		lock(fd, F_SETLK, F_WRLCK, 1, 1);
		(void)!write(turn[1], "x", 1);
		_exit(lock(fd, F_SETLKW, F_WRLCK, 0, 1) ? errno : 0);
	}
	(void)!read(turn[0], &c, 1);
	usleep(50000);
	SHOW(lock(fd, F_SETLKW, F_WRLCK, 1, 1));
	lock(fd, F_SETLK, F_UNLCK, 0, 0);
	waitpid(pid, &status, 0);
	printf("the other one: %d\n", status);
}

static void of_files(void)
{
	int a = open("file", O_RDWR), b = open("file", O_RDWR), c = dup(a);
	struct flock l = {.l_type = F_RDLCK, .l_pid = 5};

	SHOW(lock(a, F_OFD_SETLK, F_WRLCK, 0, 10));
	SHOW(lock(b, F_OFD_SETLK, F_WRLCK, 5, 10));
	SHOW(lock(c, F_OFD_SETLK, F_WRLCK, 5, 10));
	SHOW(lock(b, F_SETLK, F_WRLCK, 5, 10));
	test(b, F_OFD_GETLK, F_WRLCK, 0, 100, 0);
	test(b, F_GETLK, F_WRLCK, 0, 100, 0);
	test(c, F_OFD_GETLK, F_WRLCK, 0, 100, 0);
	SHOW(fcntl(a, F_OFD_SETLK, &l));
	close(c);
	SHOW(lock(b, F_OFD_SETLK, F_WRLCK, 5, 10));
	close(a);
	SHOW(lock(b, F_OFD_SETLK, F_WRLCK, 5, 10));
	close(b);
}

static void whole(void)
{
	int a = open("file", O_RDONLY), b = open("file", O_RDONLY), c = dup(a), status;
	char byte;

	SHOW(flock(a, LOCK_EX));
	SHOW(flock(b, LOCK_EX | LOCK_NB));
	SHOW(flock(b, LOCK_SH | LOCK_NB));
	SHOW(flock(c, LOCK_SH));
	SHOW(flock(b, LOCK_SH | LOCK_NB));
	SHOW(flock(b, LOCK_EX | LOCK_NB));
	SHOW(flock(b, LOCK_SH | LOCK_NB)); /* the failed change lost what it had, and now it has it again */
	SHOW(flock(b, LOCK_UN));
	SHOW(flock(b, LOCK_UN));
	SHOW(flock(a, 0));
	SHOW(flock(a, LOCK_EX | LOCK_SH));
	SHOW(flock(99, LOCK_EX));
	/* Records do not see it. */
	SHOW(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	SHOW(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	SHOW(flock(a, LOCK_EX));
	close(a);
	SHOW(flock(b, LOCK_EX | LOCK_NB));
	fflush(stdout);
	pid_t pid = fork();
	if (!pid) {
		usleep(30000);
		flock(c, LOCK_UN);
		_exit(0);
	}
	SHOW(flock(b, LOCK_EX));
	waitpid(pid, &status, 0);
	close(c);
	/* The lock goes with the last descriptor, in whatever process. */
	fflush(stdout);
	pid = fork();
	if (!pid) {
		(void)!read(turn[0], &byte, 1);
		_exit(0);
	}
	close(b);
	a = open("file", O_RDONLY);
	SHOW(flock(a, LOCK_EX | LOCK_NB));
	(void)!write(turn[1], "x", 1);
	waitpid(pid, &status, 0);
	SHOW(flock(a, LOCK_EX | LOCK_NB));
	close(a);
}

int main(void)
{
	char work[] = "/tmp/locks-XXXXXX";

	CHECK(mkdtemp(work) && !chdir(work));
	fd = open("file", O_RDWR | O_CREAT, 0644);
	records();
	waiting();
	of_files();
	whole();
	return CHECK_RESULT();
}
