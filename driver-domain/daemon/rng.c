// SPDX-License-Identifier: MIT
/*
 * virtio-rng (virtio 1.2, 5.4): buffers filled from a file. A hardware generator may take its time,
 * so a thread of its own reads the file; the loop hands it one buffer at a time, and it never sees
 * the ring or shared memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "daemon.h"

#define QUEUE_MAX 64
#define BATCH	  256

struct rng {
	struct device device; /* first */
	struct source filled; /* eventfd: the thread has filled `bytes` */
	int wanted;	      /* eventfd: the thread shall */
	int file;
	bool busy; /* the thread has the buffer below */
	bool chain_valid;
	struct vring_chain chain;
	ssize_t length; /* bytes that were got, or negative */
	unsigned char bytes[BATCH];
};

static void *rng_thread(void *argument)
{
	struct rng *rng = argument;
	uint64_t count;

	while (read(rng->wanted, &count, sizeof(count)) > 0) {
		do
			rng->length = read(rng->file, rng->bytes, sizeof(rng->bytes));
		while (rng->length < 0 && errno == EINTR);
		count = 1;
		if (write(rng->filled.fd, &count, sizeof(count)) < 0)
			break;
	}
	return NULL;
}

/* Start on the next chain, unless the thread is busy. */
static void rng_kick(struct device *device, unsigned int queue)
{
	struct rng *rng = (struct rng *)device;
	uint64_t one = 1;

	if (rng->busy)
		return;
	if (!rng->chain_valid)
		rng->chain_valid = device_next(device, queue, &rng->chain);
	if (!rng->chain_valid)
		return;
	rng->busy = write(rng->wanted, &one, sizeof(one)) > 0;
}

static void rng_filled(struct source *source, uint32_t events)
{
	struct rng *rng = (struct rng *)((char *)source - offsetof(struct rng, filled));
	uint32_t written = 0;
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) < 0)
		return;
	rng->busy = false;
	/* After a reset in between the bytes are nobody's. */
	if (rng->chain_valid) {
		for (unsigned int i = rng->chain.readable;
			i < rng->chain.segments && rng->length > written; i++) {
			uint32_t n = rng->chain.segment[i].length;

			if (n > rng->length - written)
				n = rng->length - written;
			memcpy(rng->chain.segment[i].data, rng->bytes + written, n);
			written += n;
		}
		rng->chain_valid = false;
		device_push(&rng->device, 0, rng->chain.head, written);
	}
	if (rng->device.started)
		rng_kick(&rng->device, 0);
}

static void rng_start(struct device *device)
{
	(void)device;
}

static void rng_stop(struct device *device)
{
	((struct rng *)device)->chain_valid = false;
}

static const struct device_operations rng_operations = {
	.start = rng_start,
	.stop = rng_stop,
	.kick = rng_kick,
};

int rng_attach(const struct config_line *line, int lichen, int64_t deadline)
{
	struct backend_create create = {
		.slot = line->slot,
		.device_id = VIRTIO_ID_RNG,
		.queues = 1,
		.queue_max = QUEUE_MAX,
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
			    1ull << VIRTIO_RING_F_EVENT_IDX,
	};
	struct rng *rng = calloc(1, sizeof(*rng));
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	if (!rng)
		return -ENOMEM;
	rng->file = wait_device(line->path, O_RDONLY, deadline);
	if (rng->file < 0)
		return rng->file;
	rng->wanted = eventfd(0, EFD_CLOEXEC);
	rng->filled.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rng->filled.ready = rng_filled;
	if (rng->wanted < 0 || rng->filled.fd < 0)
		return -errno;
	error = loop_add(&rng->filled, EPOLLIN);
	if (error)
		return error;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 64 << 10);
	error = pthread_create(&thread, &attributes, rng_thread, rng);
	if (error)
		return -error;
	return device_attach(&rng->device, lichen, &create, &rng_operations);
}
