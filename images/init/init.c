// SPDX-License-Identifier: MIT
/*
 * The guest's first program, the same on Lichen and on Linux. It lives in the initramfs, mounts the root disk under
 * ROOT, runs there what the host asked for (a shell on the console, or a command on four serial ports), reports
 * the exit status on the control port, leaves a clean file system and powers the machine off.
 *
 * Of the host it knows /lichen/run in the initramfs (NUL-terminated "key=value" items, see run_parse) and the ports:
 *
 *     /dev/hvc0     the console          an interactive shell's terminal
 *     /dev/vport0p2 host -> guest        standard input: one greeting byte, then the data, then end of file
 *     /dev/vport0p3 guest -> host        standard output, ended by the run's token
 *     /dev/vport0p4 guest -> host        standard error, ended likewise
 *     /dev/vport0p5 both ways, lines     control. To the host: "ready", "fail TEXT", "status N".
 *                                        From the host: "winsize ROWS COLUMNS", and "ok" as the answer to a status.
 *
 * It stays outside ROOT itself (only its child enters), so that it can unmount everything at the end.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define ROOT "/root-fs"
#define RUN_FILE "/lichen/run"
#define PUT_DIR "/lichen/put"
#define CONSOLE "/dev/hvc0"
#define PORT(n) "/dev/vport0p" #n
#define ITEMS 256

enum {
	STATUS_NO_EXEC = 127,
	DEVICE_WAIT_MS = 10000,
};

static struct {
	bool interactive;
	const char *root;
	const char *token;
	unsigned rows, columns;
	time_t time;
	char *argv[ITEMS + 1], *env[ITEMS + 1], *put[ITEMS + 1];
	unsigned args, envs, puts;
} run = { .root = "/dev/vda1", .token = "" };

static int control = -1;

static void write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* the host is gone: nobody is left to tell */
		data += n;
		size -= (size_t)n;
	}
}

/* One line to the control port, or to the kernel's console while that is not open. */
static void __attribute__((format(printf, 1, 2))) tell(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	write_all(control >= 0 ? control : STDERR_FILENO, line, (size_t)n);
}

static void pause_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

/* Device nodes appear when their drivers have found the devices, which may be after init was started. */
static int device_open(const char *path, int flags)
{
	for (int waited = 0;; waited++) {
		int fd = open(path, flags | O_CLOEXEC);
		if (fd >= 0 || waited >= DEVICE_WAIT_MS)
			return fd;
		if (errno != ENOENT && errno != ENXIO && errno != ENODEV)
			return -1;
		pause_ms(1);
	}
}

/* When this program began, in ticks of the machine's counter, for the command: BOOT_COUNTER in its environment. */
static void boot_counter_note(void)
{
	static char text[40];
	unsigned long count;

	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(count));
	snprintf(text, sizeof(text), "BOOT_COUNTER=%lu", count);
	run.env[run.envs++] = text;
}

/* Ends the machine. The caller has left no file system open. */
static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

/* Tells the host the outcome, waits until it has read everything, ends. */
static void __attribute__((noreturn)) finish(const char *kind, const char *text)
{
	char answer[64];

	tell("%s %s", kind, text);
	/* "ok", or window sizes that were still under way, or the end: the host is gone. */
	for (;;) {
		ssize_t n = control < 0 ? 0 : read(control, answer, sizeof(answer));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || memmem(answer, (size_t)n, "ok", 2))
			break;
	}
	power_off();
}

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (control >= 0)
		dprintf(STDERR_FILENO, "init: %s\n", text);
	finish("fail", text);
}

static void list_add(char **list, unsigned *count, char *item)
{
	if (*count == ITEMS)
		fail("the run description has more than %d items of a kind", ITEMS);
	list[(*count)++] = item;
}

/*
 * mode=interactive|command   root=DEVICE   token=TEXT   time=SECONDS (since 1970)   rows=N   columns=N
 * arg=TEXT, env=NAME=VALUE, put=OCTAL_MODE:PATH: as often as needed, in order; the content of the n-th put
 * is PUT_DIR/n, counted from 0.
 */
static void run_parse(void)
{
	static char text[256 * 1024];
	size_t size = 0;
	ssize_t n;
	int fd = open(RUN_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail("no run description (%s) in the initramfs: %s", RUN_FILE, strerror(errno));
	while (size < sizeof(text) - 1 && (n = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
		size += (size_t)n;
	close(fd);
	if (size == sizeof(text) - 1)
		fail("the run description is longer than %zu bytes", sizeof(text) - 2);
	for (char *item = text; item < text + size; item += strlen(item) + 1) {
		char *value = strchr(item, '=');
		if (!value)
			continue;
		*value++ = '\0';
		if (!strcmp(item, "mode"))
			run.interactive = !strcmp(value, "interactive");
		else if (!strcmp(item, "root"))
			run.root = value;
		else if (!strcmp(item, "token"))
			run.token = value;
		else if (!strcmp(item, "time"))
			run.time = (time_t)strtoll(value, NULL, 10);
		else if (!strcmp(item, "rows"))
			run.rows = (unsigned)strtoul(value, NULL, 10);
		else if (!strcmp(item, "columns"))
			run.columns = (unsigned)strtoul(value, NULL, 10);
		else if (!strcmp(item, "arg"))
			list_add(run.argv, &run.args, value);
		else if (!strcmp(item, "env"))
			list_add(run.env, &run.envs, value);
		else if (!strcmp(item, "put"))
			list_add(run.put, &run.puts, value);
		item = value;
	}
}

/* Mounts a kernel file system; one that this kernel does not have is no failure unless it is needed. */
static void mount_kernel(const char *type, const char *path, const char *options, bool needed)
{
	unsigned long flags = MS_NOSUID | (strncmp(type, "dev", 3) ? MS_NODEV : MS_NOEXEC);

	mkdir(path, 0755);
	if (mount(type, path, type, flags, options) && errno != EBUSY && (needed || errno != ENODEV))
		fail("cannot mount %s on %s: %s", type, path, strerror(errno));
}

static void mount_root(void)
{
	struct stat st;

	mkdir(ROOT, 0755);
	for (int waited = 0; stat(run.root, &st); waited++) {
		if (waited >= DEVICE_WAIT_MS / 10)
			fail("no root disk: %s does not exist", run.root);
		pause_ms(1);
	}
	if (mount(run.root, ROOT, "ext4", 0, NULL))
		fail("cannot mount the root disk %s (ext4): %s", run.root, strerror(errno));
	mount_kernel("devtmpfs", ROOT "/dev", NULL, true);
	/* What udev makes elsewhere, and shells need for <(command). */
	symlink("/proc/self/fd", ROOT "/dev/fd");
	symlink("/proc/self/fd/0", ROOT "/dev/stdin");
	symlink("/proc/self/fd/1", ROOT "/dev/stdout");
	symlink("/proc/self/fd/2", ROOT "/dev/stderr");
	mount_kernel("devpts", ROOT "/dev/pts", "gid=5,mode=620,ptmxmode=666", false);
	mount_kernel("tmpfs", ROOT "/dev/shm", "mode=1777", false);
	mount_kernel("proc", ROOT "/proc", NULL, true);
	mount_kernel("sysfs", ROOT "/sys", NULL, false);
	mount_kernel("tmpfs", ROOT "/run", "mode=755", true);
	mount_kernel("tmpfs", ROOT "/tmp", "mode=1777", true);
	mkdir(ROOT "/run/lock", 01777);
}

/* The name of the machine is the root file system's to say. A kernel without one keeps its own. */
static void hostname_set(void)
{
	char name[65];
	int fd = open(ROOT "/etc/hostname", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, name, sizeof(name) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	name[n] = '\0';
	sethostname(name, strcspn(name, "\n"));
}

/* Children first; what stays busy is made read-only, so that the disk is clean in any case. */
static void unmount_root(void)
{
	static const char *const mounts[] = { "/tmp", "/run", "/sys", "/proc", "/dev/shm", "/dev/pts", "/dev" };
	char path[64];

	for (unsigned i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		snprintf(path, sizeof(path), ROOT "%s", mounts[i]);
		umount2(path, 0);
	}
	sync();
	if (umount2(ROOT, 0) && mount(NULL, ROOT, NULL, MS_REMOUNT | MS_RDONLY, NULL))
		dprintf(STDERR_FILENO, "init: cannot unmount the root disk: %s\n", strerror(errno));
}

static void put_file(unsigned index, char *item)
{
	static char buffer[64 * 1024];
	char source[64], path[4096];
	char *name;
	mode_t mode = (mode_t)strtoul(item, &name, 8) & 07777;
	ssize_t n;

	snprintf(source, sizeof(source), PUT_DIR "/%u", index);
	if (*name != ':' || snprintf(path, sizeof(path), ROOT "%s", name + 1) >= (int)sizeof(path))
		fail("bad put item %s", item);
	for (char *slash = path + sizeof(ROOT); (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		mkdir(path, 0755);
	}
	int from = open(source, O_RDONLY | O_CLOEXEC);
	int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (from < 0 || to < 0)
		fail("cannot put %s: %s", name + 1, strerror(errno));
	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		if (write(to, buffer, (size_t)n) != n) {
			n = -1;
			break;
		}
	if (n < 0 || fchmod(to, mode))
		fail("cannot put %s: %s", name + 1, strerror(errno));
	close(from);
	close(to);
}

/*
 * Standard input starts with one byte that is not data. Until the host's side of the port is connected a read
 * says end of file; after this byte has come, an end of file is meant.
 */
static int input_open(void)
{
	int fd = device_open(PORT(2), O_RDONLY);
	char greeting;

	if (fd < 0)
		return fd;
	for (int waited = 0; waited < DEVICE_WAIT_MS; waited++) {
		ssize_t n = read(fd, &greeting, 1);
		if (n == 1)
			return fd;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			break;
		pause_ms(1);
	}
	close(fd);
	errno = EIO;
	return -1;
}

static void __attribute__((noreturn)) child(const int standard[3])
{
	static char *shell[] = { "-bash", NULL };
	sigset_t none;

	setsid();
	for (int i = 0; i < 3; i++)
		if (dup2(standard[i], i) < 0)
			_exit(STATUS_NO_EXEC);
	if (run.interactive)
		ioctl(STDIN_FILENO, TIOCSCTTY, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chroot(ROOT) || chdir("/root"))
		_exit(STATUS_NO_EXEC);
	if (run.interactive)
		execve("/bin/bash", shell, run.env);
	else
		execvpe(run.argv[0], run.argv, run.env);
	dprintf(STDERR_FILENO, "init: %s: %s\n", run.interactive ? "/bin/bash" : run.argv[0], strerror(errno));
	_exit(errno == ENOENT ? STATUS_NO_EXEC : 126);
}

/* Passes window sizes on. Killed like everything else when the shell has ended. */
static pid_t winsize_follow(int console)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	char text[128];
	size_t size = 0;
	for (;;) {
		ssize_t n = read(control, text + size, sizeof(text) - 1 - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		size += (size_t)n;
		text[size] = '\0';
		for (char *end; (end = strchr(text, '\n'));) {
			unsigned rows, columns;
			if (sscanf(text, "winsize %u %u", &rows, &columns) == 2) {
				struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
				ioctl(console, TIOCSWINSZ, &ws);
			}
			size -= (size_t)(end + 1 - text);
			memmove(text, end + 1, size + 1);
		}
		if (size == sizeof(text) - 1)
			size = 0;
	}
}

int main(void)
{
	int standard[3], status, last = 0;
	char number[16];

	boot_counter_note();
	mount_kernel("devtmpfs", "/dev", NULL, true);
	mount_kernel("proc", "/proc", NULL, true);
	mount_kernel("sysfs", "/sys", NULL, false);
	control = device_open(PORT(5), O_RDWR);
	run_parse();
	if (run.time) {
		/* Neither kernel drives a real-time clock. */
		struct timespec now = { run.time, 0 };
		clock_settime(CLOCK_REALTIME, &now);
	}
	mount_root();
	hostname_set();
	for (unsigned i = 0; i < run.puts; i++)
		put_file(i, run.put[i]);

	if (run.interactive) {
		standard[0] = device_open(CONSOLE, O_RDWR | O_NOCTTY);
		if (standard[0] < 0)
			fail("no console (%s): %s", CONSOLE, strerror(errno));
		standard[1] = standard[2] = standard[0];
		if (run.rows && run.columns) {
			struct winsize ws = {
				.ws_row = (unsigned short)run.rows,
				.ws_col = (unsigned short)run.columns,
			};
			ioctl(standard[0], TIOCSWINSZ, &ws);
		}
	} else {
		standard[0] = input_open();
		standard[1] = device_open(PORT(3), O_WRONLY);
		standard[2] = device_open(PORT(4), O_WRONLY);
		for (int i = 0; i < 3; i++)
			if (standard[i] < 0)
				fail("no serial port %d: %s", i + 2, strerror(errno));
		if (!run.args)
			fail("no command");
		/* For execvpe: the guest's search path, not this program's. */
		for (unsigned i = 0; i < run.envs; i++)
			if (!strncmp(run.env[i], "PATH=", 5))
				setenv("PATH", run.env[i] + 5, 1);
	}
	tell("ready");
	pid_t pid = fork();
	if (pid == 0)
		child(standard);
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (run.interactive)
		winsize_follow(standard[0]);

	for (pid_t dead; (dead = wait4(-1, &status, 0, NULL)) != pid;)
		if (dead < 0 && errno != EINTR)
			fail("wait4: %s", strerror(errno));
	last = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);

	/* Nobody may write any more when the streams are ended and the disk is unmounted. */
	kill(-1, SIGKILL);
	while (wait4(-1, &status, 0, NULL) > 0 || errno == EINTR)
		;
	if (run.interactive) {
		/* The end of the session has hung up every opened file of its terminal. */
		close(standard[0]);
		standard[0] = device_open(CONSOLE, O_WRONLY | O_NOCTTY);
		write_all(standard[0], run.token, strlen(run.token));
		tcdrain(standard[0]);
	} else {
		write_all(standard[1], run.token, strlen(run.token));
		write_all(standard[2], run.token, strlen(run.token));
	}
	unmount_root();
	snprintf(number, sizeof(number), "%d", last);
	finish("status", number);
}
