/* SPDX-License-Identifier: MIT */
/*
 * A virtio device and its driver, above the virtio-mmio transport (mmio.c, virtio 1.2, 4.2).
 *
 *     PROBING --- driver->probe calls virtio_device_ready() ---> LIVE
 *        |                                                     |    ^
 *        | refused, no memory                 NEEDS_RESET, gone|    | restored: outstanding requests go in again
 *        v                                                     v    |
 *     FAILED <------ three resets without progress ------- RESETTING
 */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include <lichen/abi.h>
#include <lichen/async.h>
#include <lichen/irq.h>
#include <virtio/virtqueue.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

struct virtio_driver;

enum virtio_state { VIRTIO_PROBING, VIRTIO_LIVE, VIRTIO_RESETTING, VIRTIO_FAILED };

struct virtio_device {
	volatile char *registers;
	phys_addr_t address; /* of the registers: the name in messages */
	size_t register_bytes;
	u32 slot; /* its number under the hypervisor, or among all devices: for the trace */
	bool hypervisor; /* LICHEN_MMIO_* registers are there */
	s64 completion_sgi; /* -1: none */
	u32 irq;
	bool edge;
	u32 id;	   /* VIRTIO_ID_* */
	u32 index; /* among the devices of its kind, in the order of the tree */
	_Atomic u32 state;
	u32 resets; /* since a request last succeeded */
	u64 features; /* negotiated */
	const struct virtio_driver *driver;
	void *private;
	u32 queue_count;
	struct virtqueue *queues[LICHEN_QUEUES];
	struct virtio_device *next; /* virtio_for_each() */
};

#define VIRTIO_PROBE_ARGS struct virtio_device *device;
struct virtio_probe_args { VIRTIO_PROBE_ARGS };

struct virtio_driver {
	u32 id;
	const char *name;
	u64 features; /* that it can use; the transport adds its own */
	/* Features are negotiated: reads the configuration, makes its queues, calls virtio_device_ready(). 0 or -errno. */
	const struct async_fn *probe;
	/* The configuration changed. Interrupt context. */
	void (*config_changed)(struct virtio_device *device);
	/* The device is dead: fail what is outstanding. Any context. */
	void (*failed)(struct virtio_device *device);
	/* After a reset, queues empty and stopped; `offer` false: detach what was in flight; true: they run, offer it again. */
	void (*restore)(struct virtio_device *device, bool offer);
};

/*
 * In probe: makes queue `index`, of at most `size` entries, with indirect tables of `indirect_size` if the device knows
 * them. `interrupt` runs with interrupts masked on `cpu`, or on another where the device has one interrupt for all. 0 or -errno.
 */
long virtio_queue_setup(struct virtio_device *device, u32 index, u32 size, u32 indirect_size, u32 cpu,
	void (*interrupt)(struct virtqueue *queue));
/* In probe: from here on queues are live. */
void virtio_device_ready(struct virtio_device *device);
/* A queue found a lie, or a driver something impossible: a log line; the device is never used again. Any context, no queue lock held. */
void virtio_device_fail(struct virtio_device *device, const char *why);
static inline bool virtio_has(const struct virtio_device *device, u32 feature)
{
	return device->features >> feature & 1;
}
/* Reads bytes of the configuration space, consistently (ConfigGeneration). */
void virtio_config_read(struct virtio_device *device, u32 offset, void *to, size_t bytes);
u32 virtio_config_generation(struct virtio_device *device);

/* Calls fn for each device that has a driver, in the order of the tree. They stay until the machine goes off. */
void virtio_for_each(void (*fn)(struct virtio_device *device, void *arg), void *arg);
/* What the backend says that its service has cost: false if it doesn't count (it is not ours). */
bool virtio_backend_counters(struct virtio_device *device, struct lichen_backend_counters *counters);
/* The backend's last sample of its CPUs' counters; an odd `sequence`: it is being written, what was read is nothing. False if it is not ours. */
bool virtio_backend_sample(struct virtio_device *device, struct lichen_sample *sample);

/* mmio.c binds these. */
extern const struct virtio_driver virtio_blk_driver, virtio_console_driver, virtio_rng_driver, virtio_echo_driver;

#endif
