// SPDX-License-Identifier: MIT
/*
 * The driver domain's init, and its only program: bring /dev up, load the modules, give each line
 * of the configuration a slot, tell the hypervisor that the backend is ready, and serve until the
 * machine goes off.
 *
 * Nothing here waits for a time to pass: devices are waited for by events, DEADLINE_MS at most.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "daemon.h"

#define CONFIG_FILE "/etc/lichen.conf"
#define DEADLINE_MS 3000 /* for a device to appear */
#define DRAIN_MS    5000 /* for the ports to take what was sent before the machine went off */

static int lichen = -1;
static uint64_t machine; /* LICHEN_MACHINE_* */

static void mount_all(void)
{
	static const struct {
		const char *type, *path;
	} mounts[] = {{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}};

	for (unsigned int i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].path, 0755);
		if (mount(mounts[i].type, mounts[i].path, mounts[i].type, 0, NULL) &&
			errno != EBUSY)
			log_error("mount %s: %s", mounts[i].path, strerror(errno));
	}
}

static int module_load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long error = fd < 0 ? -1 : syscall(SYS_finit_module, fd, "", 0);

	error = error ? -errno : 0;
	if (error == -EEXIST)
		error = 0;
	if (error)
		log_error("%s: %s", path, strerror(-error));
	if (fd >= 0)
		close(fd);
	return error;
}

/* A file of any length, with a NUL after it; NULL with errno. */
static char *file_read(const char *path)
{
	size_t length = 0, room = 4096;
	char *text = malloc(room);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 || !text)
		return NULL;
	while ((n = read(fd, text + length, room - length - 1)) > 0) {
		length += n;
		if (length + 1 == room)
			text = realloc(text, room *= 2);
		if (!text)
			return NULL;
	}
	close(fd);
	text[length] = 0;
	return text;
}

static void config_error(unsigned int line, const char *message)
{
	log_error("lichen.conf:%u: %s", line, message);
}

/*
 * What Linux does for a disk of its own users is the frontend's business here: statistics and the
 * merging of requests. Only a saving, so what a device does not have is no error.
 */
static void block_tune(const char *path)
{
	static const char *const settings[][2] = {{"iostats", "0"}, {"nomerges", "2"}};

	for (unsigned int i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		char file[CONFIG_PATH + 64];
		int fd;

		/* A partition has its disk's queue. */
		snprintf(file, sizeof(file), "/sys/class/block/%s/queue/%s", strrchr(path, '/') + 1,
			settings[i][0]);
		fd = open(file, O_WRONLY | O_CLOEXEC);
		if (fd < 0) {
			snprintf(file, sizeof(file), "/sys/class/block/%s/../queue/%s",
				strrchr(path, '/') + 1, settings[i][0]);
			fd = open(file, O_WRONLY | O_CLOEXEC);
		}
		if (fd < 0)
			continue;
		if (write(fd, settings[i][1], 1) < 0)
			log_info("%s: %s", file, strerror(errno));
		close(fd);
	}
}

static int block_attach(const struct config_line *line, int64_t deadline)
{
	struct backend_block block = {
		.slot = line->slot,
		.queues = line->queues,
		.read_only = line->read_only,
		.without = line->without,
		.poll = line->poll,
	};
	/* Exclusive: Linux itself cannot mount what another kernel has mounted. */
	int mode = line->read_only ? O_RDONLY : O_RDWR, error;
	const char *id;

	block.fd = wait_device(line->path, mode | O_EXCL, deadline);
	if (block.fd == -EACCES || block.fd == -EROFS)
		block.fd = wait_device(line->path, O_RDONLY | O_EXCL, deadline);
	if (block.fd < 0)
		return block.fd;
	id = line->id[0] ? line->id : strrchr(line->path, '/') + 1;
	memcpy(block.id, id, strnlen(id, sizeof(block.id)));
	block_tune(line->path);
	error = ioctl(lichen, BACKEND_BLOCK, &block) ? -errno : 0;
	close(block.fd);
	return error;
}

static int echo_attach(const struct config_line *line)
{
	struct backend_echo echo = {.slot = line->slot, .queues = line->queues};

	return ioctl(lichen, BACKEND_ECHO, &echo) ? -errno : 0;
}

static void attach_all(const struct config *config)
{
	static const char *const names[] = {"blk", "console", "rng", "echo"};
	int64_t deadline = now_ms() + DEADLINE_MS;
	unsigned int blocks = 0;

	for (unsigned int i = 0; i < config->count; i++) {
		const struct config_line *line = &config->lines[i];
		int error = 0;

		switch (line->kind) {
		case CONFIG_BLOCK:
			error = block_attach(line, deadline);
			blocks += !error;
			break;
		case CONFIG_CONSOLE:
			error = console_attach(line, lichen, deadline);
			break;
		case CONFIG_RNG:
			error = rng_attach(line, lichen, deadline);
			break;
		case CONFIG_ECHO:
			error = echo_attach(line);
			break;
		}
		if (error)
			log_error("lichen.conf:%u: %s %s: %s: not served", line->line,
				names[line->kind], line->kind == CONFIG_CONSOLE ? "" : line->path,
				strerror(-error));
	}
	if (!blocks)
		log_error("no block device is served: frontends have no disk");
}

/* Microseconds that the machine's counter has run: since reset, where nothing starts it later. */
static unsigned int counter_us(void)
{
	uint64_t count, frequency;

	__asm__ volatile("isb; mrs %0, cntvct_el0; mrs %1, cntfrq_el0"
			 : "=r"(count), "=r"(frequency));
	return count * 1000000 / frequency;
}

static void machine_changed(struct source *source, uint32_t events)
{
	uint64_t bits;

	(void)events;
	if (read(source->fd, &bits, sizeof(bits)) == sizeof(bits))
		machine |= bits;
}

static void machine_off(void)
{
	int64_t deadline = now_ms() + DRAIN_MS;

	/* The frontends are off: what they sent is in the rings and on its way out. */
	while (!console_drained() && now_ms() < deadline)
		loop_once(1);
	if (now_ms() >= deadline)
		log_error("the other end of a port does not take what was sent: it is lost");
	sync();
	reboot(machine & LICHEN_MACHINE_OFF ? RB_POWER_OFF : RB_AUTOBOOT);
	log_error("reboot: %s", strerror(errno));
}

int main(void)
{
	static struct config config;
	static struct source machine_source = {.ready = machine_changed};
	char *text;
	int error;

	mount_all();
	log_open();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	wait_open();
	loop_open();
	module_load("/lib/modules/pmu.ko");
	module_load("/lib/modules/lichen.ko");
	lichen = wait_device("/dev/lichen", O_RDWR | O_NONBLOCK, now_ms() + DEADLINE_MS);
	if (lichen < 0) {
		log_error("/dev/lichen: %s: there is no hypervisor, or the module found nothing",
			strerror(-lichen));
		reboot(RB_POWER_OFF);
	}
	error = device_map_pool(lichen);
	if (error)
		log_error("cannot map the shared memory: %s", strerror(-error));
	machine_source.fd = lichen;
	loop_add(&machine_source, EPOLLIN);

	text = file_read(CONFIG_FILE);
	if (!text)
		log_error("%s: %s", CONFIG_FILE, strerror(errno));
	else if (config_parse(&config, text, config_error))
		log_error("%s: wrong lines are left out", CONFIG_FILE);
	free(text);
	attach_all(&config);
	if (ioctl(lichen, BACKEND_READY, 0))
		log_error("the hypervisor does not take our readiness: %s", strerror(errno));
	log_info("ready, %u us after the counter's start", counter_us());
	/* Closing a watch waits for a grace period: not before we are ready. */
	wait_close();
	while (!machine)
		loop_once(-1);
	machine_off();
	for (;;)
		pause();
}
