// SPDX-License-Identifier: MIT
/*
 * A virtio device served from here. The module holds the slot for us; we see the shared memory
 * through one mapping a region, hear kicks through eventfds, and follow the view: reset, then
 * DRIVER_OK, then reset...
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "daemon.h"

#define REGIONS 8

static struct {
	uint64_t start, length;
	char *memory;
} regions[REGIONS];
static unsigned int region_count;

int device_map_pool(int lichen)
{
	struct backend_info info;

	if (ioctl(lichen, BACKEND_INFO, &info))
		return -errno;
	for (unsigned int i = 0; i < info.regions && i < REGIONS; i++) {
		struct backend_region region = {.index = i};
		void *memory;

		if (ioctl(lichen, BACKEND_REGION, &region))
			return -errno;
		memory = mmap(NULL, region.length, PROT_READ | PROT_WRITE, MAP_SHARED, lichen,
			region.offset);
		if (memory == MAP_FAILED)
			return -errno;
		regions[i].start = region.start;
		regions[i].length = region.length;
		regions[i].memory = memory;
		region_count = i + 1;
	}
	return 0;
}

static void *translate(void *unused, uint64_t address, uint32_t length)
{
	(void)unused;
	for (unsigned int i = 0; i < region_count; i++) {
		uint64_t offset = address - regions[i].start;

		if (offset < regions[i].length && length <= regions[i].length - offset)
			return regions[i].memory + offset;
	}
	return NULL;
}

static void device_broken(struct device *device, unsigned int queue, const char *why)
{
	device->queues[queue].running = false;
	/* A driver must not drown the log of the others. */
	if (now_ms() - device->complaints_since > 5000) {
		device->complaints_since = now_ms();
		device->complaints = 0;
	}
	if (device->complaints++ < 40)
		log_error("slot %u: queue %u: %s: the device needs a reset", device->slot, queue,
			why);
	ioctl(device->view.fd, BACKEND_BROKEN, queue);
}

int device_next(struct device *device, unsigned int index, struct vring_chain *chain)
{
	struct device_queue *queue = &device->queues[index];

	while (queue->running) {
		int more = vring_next(&queue->ring, chain);

		if (more > 0)
			return 1;
		if (more < 0)
			device_broken(device, index, queue->ring.broken);
		else if (!vring_notify_enable(&queue->ring))
			return 0;
	}
	return 0;
}

void device_push(struct device *device, unsigned int index, uint16_t head, uint32_t written)
{
	struct device_queue *queue = &device->queues[index];

	if (!queue->running)
		return;
	vring_push(&queue->ring, head, written);
	if (vring_signal_needed(&queue->ring))
		ioctl(device->view.fd, BACKEND_SIGNAL, index);
}

static void queue_kicked(struct source *source, uint32_t events)
{
	struct device_queue *queue = (struct device_queue *)source;
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) > 0 && queue->running)
		queue->device->operations->kick(queue->device, queue->index);
}

static void device_start(struct device *device)
{
	for (unsigned int q = 0; q < device->queue_count; q++) {
		struct device_queue *queue = &device->queues[q];
		struct backend_queue view = {.queue = q};

		if (ioctl(device->view.fd, BACKEND_QUEUE, &view) || !view.ready)
			continue;
		if (vring_device_start(&queue->ring, view.num, view.desc, view.driver, view.device,
			    device->features, translate, NULL)) {
			device_broken(device, q, "its rings are not usable");
			continue;
		}
		queue->running = true;
	}
	device->started = true;
	device->operations->start(device);
	/* Chains made available before we looked were kicked in vain. */
	for (unsigned int q = 0; q < device->queue_count; q++)
		if (device->queues[q].running)
			device->operations->kick(device, q);
}

static void device_stop(struct device *device)
{
	if (device->started)
		device->operations->stop(device);
	device->started = false;
	for (unsigned int q = 0; q < device->queue_count; q++)
		device->queues[q].running = false;
}

static void device_changed(struct source *source, uint32_t events)
{
	struct device *device = (struct device *)source;
	struct backend_view view;

	(void)events;
	if (ioctl(source->fd, BACKEND_VIEW, &view))
		return;
	if (view.generation != device->generation) {
		device_stop(device);
		device->generation = view.generation;
		ioctl(source->fd, BACKEND_RESET_DONE, view.generation);
	}
	/* Never set while a reset waits for us. */
	if (!device->started && view.status & VIRTIO_CONFIG_S_DRIVER_OK) {
		device->features = view.features;
		device_start(device);
	}
}

int device_attach(struct device *device, int lichen, const struct backend_create *what,
	const struct device_operations *operations)
{
	struct backend_view view;
	int error;

	if (what->queues > DEVICE_QUEUES)
		return -EINVAL;
	device->slot = what->slot;
	device->queue_count = what->queues;
	device->operations = operations;
	device->view.fd = ioctl(lichen, BACKEND_CREATE, what);
	if (device->view.fd < 0)
		return -errno;
	device->view.ready = device_changed;
	if (ioctl(device->view.fd, BACKEND_VIEW, &view))
		return -errno;
	device->generation = view.generation;
	for (unsigned int q = 0; q < what->queues; q++) {
		struct device_queue *queue = &device->queues[q];
		struct backend_eventfd kick = {.queue = q};

		queue->device = device;
		queue->index = q;
		queue->kick.ready = queue_kicked;
		queue->kick.fd = kick.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (kick.fd < 0 || ioctl(device->view.fd, BACKEND_KICK, &kick))
			return -errno;
		error = loop_add(&queue->kick, EPOLLIN);
		if (error)
			return error;
	}
	return loop_add(&device->view, EPOLLIN);
}
