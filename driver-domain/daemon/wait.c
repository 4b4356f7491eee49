// SPDX-License-Identifier: MIT
/*
 * Waiting for devices without polling: devtmpfs tells of each node that the kernel makes in /dev,
 * and at every such event we try again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>
#include "daemon.h"

static int events = -1;

int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

void wait_open(void)
{
	/*
	 * devtmpfs tells inotify of the nodes that the kernel makes: node and event cannot come
	 * apart.
	 */
	events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (events < 0 || inotify_add_watch(events, "/dev", IN_CREATE | IN_ATTRIB) < 0)
		log_error("cannot watch /dev: only devices that are there already will be found");
}

void wait_close(void)
{
	close(events);
	events = -1;
}

int wait_device(const char *path, int flags, int64_t deadline)
{
	char buffer[4096] __attribute__((aligned(8)));

	for (;;) {
		int fd = open(path, flags | O_CLOEXEC);
		int64_t left = deadline - now_ms();
		struct pollfd p = {.fd = events, .events = POLLIN};

		/* ENXIO: the node is there and its driver not quite. */
		if (fd >= 0 || (errno != ENOENT && errno != ENXIO && errno != ENODEV))
			return fd >= 0 ? fd : -errno;
		if (left <= 0 || events < 0)
			return -ENODEV;
		if (poll(&p, 1, left) > 0)
			while (read(events, buffer, sizeof(buffer)) > 0)
				;
	}
}
