// SPDX-License-Identifier: MIT
/*
 * The first program of every Linux that `make bench-peers` boots: bare, host, dom0 and guest. Loads the modules that lie in /modules,
 * in the order of their names; waits for the disk that `wait_for=` on the kernel's command line names; runs the
 * command that follows "--" there. Its output goes to the console. Says how that ended, powers off.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MODULES     "/modules"
#define WAIT_MS     10000
#define CANNOT_EXEC 127

static void mount_all(void)
{
	static const char *const what[][2] = {
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"}};
	static const char *const links[][2] = {
		{"/proc/self/fd", "/dev/fd"}, {"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"}};

	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		mkdir(what[i][1], 0755);
		if (mount(what[i][0], what[i][1], what[i][0], 0, NULL))
			perror(what[i][1]);
	}
	mkdir("/dev/pts", 0755);
	mount("devpts", "/dev/pts", "devpts", 0, NULL); /* not every kernel has it, and few commands need it */
	/* devtmpfs has no links; udev would make them. Xen's scripts wait for their lock forever without /dev/stdin. */
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], links[i][1]))
			perror(links[i][1]);
}

static void modules_load(void)
{
	struct dirent **entries;
	int n = scandir(MODULES, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char path[512];
		int fd;

		if (entries[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), MODULES "/%s", entries[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		/* Some are for a hypervisor that is not there, and say so. */
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			perror(path);
		close(fd);
	}
}

static bool wait_for(const char *path)
{
	struct timespec ms = {0, 1000000};

	for (int i = 0; path && access(path, F_OK); i++) {
		if (i == WAIT_MS)
			return false;
		nanosleep(&ms, NULL);
	}
	return true;
}

static void run(char **argv)
{
	int status;
	pid_t child = fork();

	if (!child) {
		setsid();
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(CANNOT_EXEC);
	}
	if (child < 0) {
		perror("fork");
		return;
	}
	while (waitpid(child, &status, 0) != child)
		;
	printf("peer: status %d\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	mount_all();
	modules_load();
	if (argc < 2)
		printf("peer: no command\n");
	else if (!wait_for(getenv("wait_for")))
		printf("peer: %s does not come\n", getenv("wait_for"));
	else
		run(argv + 1);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
