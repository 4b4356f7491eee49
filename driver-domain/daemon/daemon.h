/* SPDX-License-Identifier: MIT */
/*
 * The backend daemon: the driver domain's first and only program.
 *
 *     main.c     start as init, attach what the configuration names, say ready, serve, power off
 *     config.c   /etc/lichen.conf
 *     wait.c     devices that are still being found
 *     loop.c     one epoll loop; nothing here blocks in it
 *     device.c   a virtio device served from here: rings, kicks, resets
 *     console.c  virtio-console on ports and terminals of Linux
 *     rng.c      virtio-rng
 *     log.c      lines in Linux's log
 */
#ifndef LICHEN_DAEMON_H
#define LICHEN_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <lichen/abi.h>
#include "backend.h"
#include "vring.h"

/* ---- log.c: a line of the kernel's log, which the module sends on to the hypervisor's ---- */

void log_open(void);
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- config.c ---- */

#define CONFIG_PORTS 16
#define CONFIG_PATH  128

enum config_kind { CONFIG_BLOCK, CONFIG_CONSOLE, CONFIG_RNG, CONFIG_ECHO };

struct config_line {
	enum config_kind kind;
	unsigned int line; /* of the file, for messages */
	unsigned int slot;
	char path[CONFIG_PATH];		      /* blk, rng */
	unsigned int queues;		      /* blk, echo; 0: auto */
	bool read_only;			      /* blk */
	uint64_t without;		      /* blk: feature bits that are not offered */
	enum backend_poll poll;		      /* blk */
	char id[21];			      /* blk */
	char port[CONFIG_PORTS][CONFIG_PATH]; /* console; empty: none */
	unsigned int columns, rows;	      /* console; 0: not known */
};

struct config {
	unsigned int count;
	struct config_line lines[LICHEN_SLOTS];
};

/*
 * Parse `text`. Each wrong line is reported through `error` (with its number) and skipped; the
 * others count. Returns the number of wrong lines.
 */
unsigned int config_parse(struct config *config, const char *text,
	void (*error)(unsigned int line, const char *message));

/* ---- wait.c ---- */

/* Start to listen for devices that appear. Before anything is looked for. */
void wait_open(void);
/*
 * Wait until `path` can be opened, at most until the deadline (CLOCK_MONOTONIC, ms). A descriptor
 * or -errno.
 */
int wait_device(const char *path, int flags, int64_t deadline);
void wait_close(void);
int64_t now_ms(void);

/* ---- loop.c ---- */

struct source {
	int fd;
	void (*ready)(struct source *source, uint32_t events);
};

void loop_open(void);
/*
 * events: EPOLLIN... and EPOLLET. The source stays the caller's; remove it before closing its fd. 0
 * or -errno.
 */
int loop_add(struct source *source, uint32_t events);
void loop_remove(struct source *source);
/* Handle what is ready, waiting at most `timeout` ms (-1: for ever). */
void loop_once(int timeout);

/* ---- device.c ---- */

#define DEVICE_QUEUES 64

struct device;

struct device_queue {
	struct source kick;
	struct device *device;
	unsigned int index;
	bool running;
	struct vring_device ring;
};

struct device_operations {
	/* The driver is ready (DRIVER_OK): rings may be used. */
	void (*start)(struct device *device);
	/* Forget every chain: the driver wants a reset, which is acknowledged on return. */
	void (*stop)(struct device *device);
	/* Chains may be available. */
	void (*kick)(struct device *device, unsigned int queue);
};

struct device {
	struct source view;
	const struct device_operations *operations;
	unsigned int slot;
	unsigned int queue_count;
	uint32_t generation;
	uint64_t features; /* the driver's */
	bool started;
	int64_t complaints_since; /* the driver's ring errors that were logged, in a window of some seconds */
	unsigned int complaints;
	struct device_queue queues[DEVICE_QUEUES];
};

/* Map the shared memory: once. 0 or -errno. */
int device_map_pool(int lichen);
/* Attach. Fills `device`, which must stay where it is. 0 or -errno. */
int device_attach(struct device *device, int lichen, const struct backend_create *what,
	const struct device_operations *operations);
/*
 * A chain from a running queue: 1, or 0 when there is none now (a kick will come). A broken ring is
 * reported.
 */
int device_next(struct device *device, unsigned int queue, struct vring_chain *chain);
/* Give it back, and signal the driver if it wants that. */
void device_push(struct device *device, unsigned int queue, uint16_t head, uint32_t written);

/* ---- console.c, rng.c ---- */

struct console;
/* Serve a slot. Missing ports are logged and left out. 0 or -errno. */
int console_attach(const struct config_line *line, int lichen, int64_t deadline);
/* True when everything that a driver sent has left for the ports' other side. */
bool console_drained(void);
int rng_attach(const struct config_line *line, int lichen, int64_t deadline);

#endif
