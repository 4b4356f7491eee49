// SPDX-License-Identifier: MIT
// procfs: the shape of what ps, top, free and glibc read, and that it agrees with what system calls say.
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static char text[1 << 20];

static const char *slurp(const char *name)
{
	int fd = open(name, O_RDONLY);
	size_t n = 0;
	ssize_t got;

	text[0] = 0;
	if (fd < 0) {
		printf("%s: %s\n", name, strerrorname_np(errno));
		return text;
	}
	while ((got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = 0;
	close(fd);
	return text;
}

/* The text with each number as one 9, and blanks as one. */
static void shape(const char *name, const char *s)
{
	printf("%s: ", name);
	while (*s) {
		if (isdigit((unsigned char)*s)) {
			putchar('9');
			while (isdigit((unsigned char)*s))
				s++;
		} else if (*s == ' ' || *s == '\t') {
			putchar(' ');
			while (*s == ' ' || *s == '\t')
				s++;
		} else {
			putchar(*s++);
		}
	}
	putchar('\n');
}

/* The names before the colons that matter, in order. */
static void has_rows(const char *name, const char *const *rows)
{
	const char *at = slurp(name);

	for (; *rows; rows++) {
		char row[40];
		const char *found;

		snprintf(row, sizeof(row), "\n%s:", *rows);
		found = strstr(at, row);
		if (!found && !strncmp(text, row + 1, strlen(row) - 1))
			found = text;
		if (!found)
			printf("%s has no %s\n", name, *rows);
		else
			at = found;
	}
	printf("%s was looked through\n", name);
}

static void own_stat(void)
{
	int pid, ppid, group, session, fields = 0;
	char name[100], state;

	slurp("/proc/self/stat");
	CHECK(sscanf(text, "%d (%[^)]) %c %d %d %d", &pid, name, &state, &ppid, &group, &session) == 6);
	CHECK(pid == getpid() && ppid == getppid() && group == getpgrp() && session == getsid(0));
	printf("name %s state %c\n", name, state);
	for (const char *s = text; *s; s++)
		fields += *s == ' ';
	printf("%d fields, newline at the end: %d\n", fields + 1, text[strlen(text) - 1] == '\n');
	shape("statm", slurp("/proc/self/statm"));
	printf("comm: %s", slurp("/proc/self/comm"));
	int fd = open("/proc/self/comm", O_WRONLY);
	SHOW(write(fd, "renamed\n", 8));
	close(fd);
	printf("comm: %s", slurp("/proc/self/comm"));
	printf("task comm: %s", slurp("/proc/thread-self/comm"));
}

static void own_status(void)
{
	static const char *const rows[] = {"Name", "Umask", "State", "Tgid", "Pid", "PPid", "TracerPid", "Uid", "Gid", "FDSize", "Groups", "VmPeak", "VmSize", "VmHWM", "VmRSS",
		"RssAnon", "RssFile", "RssShmem", "VmData", "VmStk", "VmExe", "VmPTE", "VmSwap", "Threads", "SigQ", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapInh",
		"CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Cpus_allowed", "Cpus_allowed_list", "voluntary_ctxt_switches",
		"nonvoluntary_ctxt_switches", NULL};
	const char *s;

	has_rows("/proc/self/status", rows);
	s = strstr(text, "\nUid:");
	printf("%.*s\n", (int)strcspn(s + 1, "\n"), s + 1);
	s = strstr(text, "\nState:");
	printf("%.*s\n", (int)strcspn(s + 1, "\n"), s + 1);
	s = strstr(text, "\nThreads:");
	printf("%.*s\n", (int)strcspn(s + 1, "\n"), s + 1);
}

static void own_memory(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), line[100];
	int file = open("/proc/self/exe", O_RDONLY), mem;
	void *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
	char buf[16];

	mprotect(page + 4096, 4096, PROT_NONE);
	slurp("/proc/self/maps");
	snprintf(line, sizeof(line), "%lx-%lx rw-p 00000000 00:00 0 \n", (long)page, (long)page + 4096);
	CHECK(strstr(text, "[stack]") && strstr(text, "[heap]") && strstr(text, "[vdso]"));
	snprintf(line, sizeof(line), "%lx-%lx ---p 00000000", (long)page + 4096, (long)page + 8192);
	CHECK(strstr(text, line));
	snprintf(line, sizeof(line), "%lx-%lx r--s 00000000", (long)shared, (long)shared + 4096);
	CHECK(strstr(text, line));
	CHECK(strstr(text, " r-xp "));
	strcpy(page, "see me");
	mem = open("/proc/self/mem", O_RDWR);
	SHOW(pread(mem, buf, 7, (long)page));
	printf("%s\n", buf);
	SHOW(pwrite(mem, "wrote", 6, (long)page));
	printf("%s\n", page);
	SHOW(pread(mem, buf, 7, 0));
	close(mem);
	close(file);
}

static void links(void)
{
	char target[4096], name[64], cwd[4096];
	ssize_t n;
	struct stat st, via;
	int fd, p[2], dir;

	n = readlink("/proc/self", target, sizeof(target));
	CHECK(n > 0 && (target[n] = 0, atoi(target) == getpid()));
	n = readlink("/proc/self/cwd", target, sizeof(target));
	target[n] = 0;
	getcwd(cwd, sizeof(cwd));
	CHECK(!strcmp(target, cwd));
	n = readlink("/proc/self/root", target, sizeof(target));
	printf("root %.*s\n", (int)n, target);
	CHECK(!stat("/proc/self/exe", &st) && S_ISREG(st.st_mode));
	fd = open("file", O_RDWR | O_CREAT, 0600);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, target, sizeof(target));
	target[n] = 0;
	CHECK(!strncmp(target, cwd, strlen(cwd)) && !strcmp(target + strlen(cwd), "/file"));
	CHECK(!lstat(name, &st) && S_ISLNK(st.st_mode));
	printf("mode of the link %o\n", st.st_mode);
	CHECK(!stat(name, &via) && !fstat(fd, &st) && st.st_ino == via.st_ino);
	unlink("file");
	n = readlink(name, target, sizeof(target));
	target[n] = 0;
	printf("%s\n", target + strlen(cwd));
	write(fd, "content", 7);
	int again = open(name, O_RDONLY);
	SHOW(read(again, target, 10));
	close(again);
	pipe(p);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", p[0]);
	n = readlink(name, target, sizeof(target));
	target[n] = 0;
	shape("a pipe", target);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", p[1]);
	again = open(name, O_WRONLY);
	SHOW(write(again, "abc", 3));
	SHOW(read(p[0], target, 10));
	close(again);
	close(p[1]);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", p[0]);
	again = open(name, O_RDONLY);
	SHOW(read(again, target, 10));
	close(again);
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	slurp(name);
	printf("%.*s\n", (int)strcspn(strstr(text, "flags"), "\n"), strstr(text, "flags"));
	CHECK(strstr(text, "pos:\t7\n"));
	SHOW(access("/proc/self/fd/99", F_OK));
	SHOW(access("/proc/self/fd/01", F_OK));
	SHOW(open("/proc/self/fd/x", O_RDONLY));
	dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	CHECK(dir >= 0);
	close(dir);
	int count = 0;
	DIR *d = opendir("/proc/self/fd");
	for (struct dirent *e; (e = readdir(d));)
		count++;
	printf("%d descriptors listed\n", count - 2);
	closedir(d);
	close(fd);
	close(p[0]);
	SHOW(open("/proc/nothing", O_RDWR | O_CREAT, 0600));
	SHOW(mkdir("/proc/nothing", 0755));
	SHOW(open("/proc/99999999", O_RDONLY));
	SHOW(unlink("/proc/self/stat"));
	SHOW(open("/proc/version", O_WRONLY) >= 0);
	SHOW(chdir("/proc/self/task"));
	SHOW(chdir(cwd));
}

static void arguments(void)
{
	int fd = open("/proc/self/cmdline", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text));

	CHECK(n > 0 && text[n - 1] == 0);
	SHOW(lseek(fd, 0, SEEK_SET));
	CHECK(read(fd, text, 2) == 2);
	close(fd);
	fflush(stdout);
	if (!fork()) {
		execle("/proc/self/exe", "one", "two words", "", "last", NULL, (char *[]){"A=1", "B=two", NULL});
		_exit(1);
	}
	wait(NULL);
}

static void show_arguments(void)
{
	int fd = open("/proc/self/cmdline", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text));

	for (ssize_t i = 0; i < n; i++)
		putchar(text[i] ? text[i] : '|');
	printf("\n");
	close(fd);
	fd = open("/proc/self/environ", O_RDONLY);
	n = read(fd, text, sizeof(text));
	for (ssize_t i = 0; i < n; i++)
		putchar(text[i] ? text[i] : '|');
	printf("\n");
	fd = open("/proc/self/auxv", O_RDONLY);
	n = read(fd, text, sizeof(text));
	CHECK(n > 0 && n % 16 == 0);
	long *last = (long *)(text + n - 16);
	printf("the last pair: %ld %ld\n", last[0], last[1]);
}

static void *wait_for_it(void *arg)
{
	char c;

	(void)!read(*(int *)arg, &c, 1);
	return NULL;
}

static void others(void)
{
	int p[2], status, hold[2];
	char name[64];
	pid_t child;
	pthread_t thread;

	pipe(p);
	pipe(hold);
	child = fork();
	if (!child) {
		close(p[1]);
		_exit(read(p[0], name, 1) == 0 ? 7 : 8);
	}
	snprintf(name, sizeof(name), "/proc/%d/stat", child);
	do {
		slurp(name);
	} while (!strstr(text, ") S"));
	close(p[0]);
	close(p[1]);
	do {
		slurp(name);
	} while (!strstr(text, ") Z"));
	printf("a zombie: %d\n", strstr(text, "(renamed) Z") != NULL);
	snprintf(name, sizeof(name), "/proc/%d/cmdline", child);
	printf("its arguments: %zu\n", strlen(slurp(name)));
	snprintf(name, sizeof(name), "/proc/%d/exe", child);
	SHOW(readlink(name, text, 10));
	snprintf(name, sizeof(name), "/proc/%d/fd", child);
	SHOW(access(name, F_OK));
	snprintf(name, sizeof(name), "/proc/%d/status", child);
	int fd = open(name, O_RDONLY);
	waitpid(child, &status, 0);
	printf("status %x\n", status);
	SHOW(read(fd, text, 10));
	SHOW(access(name, F_OK));
	close(fd);

	pthread_create(&thread, NULL, wait_for_it, &hold[0]);
	int count = 0;
	DIR *d = opendir("/proc/self/task");
	for (struct dirent *e; (e = readdir(d));)
		count += e->d_name[0] != '.';
	closedir(d);
	printf("%d tasks\n", count);
	slurp("/proc/self/status");
	printf("%.9s%s", strstr(text, "Threads:"), strstr(text, "Threads:\t2\n") ? "2\n" : "?\n");
	close(hold[1]);
	pthread_join(thread, NULL);
	bool found = false, init = false;
	d = opendir("/proc");
	for (struct dirent *e; (e = readdir(d));) {
		found |= atoi(e->d_name) == getpid();
		init |= !strcmp(e->d_name, "1");
	}
	closedir(d);
	printf("found itself %d, init %d\n", found, init);
}

static void machine(void)
{
	static const char *const memory[] = {"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "SwapTotal", "SwapFree", "Dirty", "Slab", NULL};
	struct utsname names;
	struct sysinfo info;
	unsigned long kib;
	double up, idle;

	has_rows("/proc/meminfo", memory);
	sysinfo(&info);
	CHECK(sscanf(text, "MemTotal: %lu kB", &kib) == 1 && kib == info.totalram * info.mem_unit / 1024);
	CHECK(sscanf(slurp("/proc/uptime"), "%lf %lf", &up, &idle) == 2 && up > 0 && idle >= 0);
	shape("loadavg", slurp("/proc/loadavg"));
	slurp("/proc/stat");
	shape("stat", (text[strcspn(text, "\n")] = 0, text));
	slurp("/proc/stat");
	CHECK(strstr(text, "\ncpu0 ") && strstr(text, "\nintr ") && strstr(text, "\nctxt ") && strstr(text, "\nbtime ") && strstr(text, "\nprocesses ") &&
		strstr(text, "\nprocs_running "));
	CHECK(strstr(slurp("/proc/cpuinfo"), "processor\t: 0\n") && strstr(text, "Features\t: fp asimd"));
	uname(&names);
	CHECK(!strncmp(slurp("/proc/sys/kernel/osrelease"), names.release, strlen(names.release)));
	printf("%s", slurp("/proc/sys/kernel/ostype"));
	CHECK(!strncmp(slurp("/proc/sys/kernel/hostname"), names.nodename, strlen(names.nodename)));
	CHECK(strlen(slurp("/proc/sys/kernel/random/boot_id")) == 37);
	shape("file-nr", slurp("/proc/sys/fs/file-nr"));
	CHECK(atoi(slurp("/proc/sys/kernel/pid_max")) >= 32768);
	CHECK(strstr(slurp("/proc/filesystems"), "nodev\ttmpfs\n") && strstr(text, "nodev\tproc\n"));
	CHECK(strstr(slurp("/proc/mounts"), " /proc proc rw"));
	slurp("/proc/self/mountinfo");
	CHECK(strstr(text, " / /proc ") && strstr(text, " - proc proc rw"));
	CHECK(!strncmp(slurp("/proc/version"), "Linux version ", 14));
	CHECK(strstr(slurp("/proc/devices"), "Character devices:\n  1 mem\n"));
	slurp("/proc/partitions");
	printf("%.*s\n", (int)strcspn(text, "\n"), text);
	SHOW(access("/proc/interrupts", R_OK));
	SHOW(access("/proc/diskstats", R_OK));
	shape("limits", slurp("/proc/self/limits"));
	struct stat st;
	SHOW(stat("/proc", &st));
	printf("inode of /proc %lu, mode %o\n", (long)st.st_ino, st.st_mode);
	SHOW(stat("/proc/meminfo", &st));
	printf("size %ld, mode %o\n", (long)st.st_size, st.st_mode);
	int fd = open("/proc/meminfo", O_RDONLY);
	CHECK(read(fd, text, 10) == 10 && pread(fd, text + 10, 10, 0) == 10 && !memcmp(text, text + 10, 8));
	SHOW(lseek(fd, 1000000, SEEK_SET));
	SHOW(read(fd, text, 10));
	close(fd);
}

int main(int argc, char **argv)
{
	char work[] = "/tmp/procfs-XXXXXX";

	if (argc == 4 && !strcmp(argv[0], "one")) {
		show_arguments();
		return CHECK_RESULT();
	}
	CHECK(mkdtemp(work) && !chdir(work));
	own_stat();
	own_status();
	own_memory();
	links();
	arguments();
	others();
	machine();
	return CHECK_RESULT();
}
