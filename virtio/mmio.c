// SPDX-License-Identifier: MIT
/*
 * The virtio-mmio transport, version 2 (virtio 1.2, 4.2): finds devices in the device tree, negotiates, brings interrupts
 * to the queues, and resets and restores a device that asks for it. It never waits in a spin: a reset is a handshake that the other
 * side completes when it can.
 *
 * Interrupts. On a plain machine: one line a device, InterruptStatus and InterruptACK. Under the hypervisor a store exits, so
 * completions are never acknowledged: they come as an SGI on the queue's own CPU (`lichen,completion-sgi`), or on the device's
 * edge-triggered line; the used rings hold the truth. Only configuration changes are acknowledged.
 */
#include <lichen/list.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/task.h>
#include <lichen/timer.h>
#include <lichen/tracing.h>
#include <asm/errno.h>
#include <libfdt.h>
#include <linux/virtio_mmio.h>
#include <virtio/device.h>

#define MMIO_MAGIC		0x74726976u /* "virt" */
#define RESET_LOG_AFTER		(5 * NSEC_PER_SEC)
#define RESETS_MAX		3
#define TRANSPORT_FEATURES                                                                         \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |  \
		BIT(VIRTIO_RING_F_EVENT_IDX))

static const struct virtio_driver *const drivers[] = {
	&virtio_blk_driver,
	&virtio_console_driver,
	&virtio_rng_driver,
	&virtio_echo_driver,
};
static u32 device_count;
static u32 driver_devices[ARRAY_SIZE(drivers)];
static struct virtio_device *first_device, **last_device = &first_device; /* grows at boot alone */

/* Queues whose completions arrive as an SGI, by CPU. Only ever grows; readers are interrupt handlers. */
static struct virtqueue *_Atomic completion_queues[CPUS_MAX];
static spinlock_t completion_lock = SPINLOCK_INIT;
static bool completion_requested;

static u32 reg_read(struct virtio_device *device, u32 offset)
{
	return io_read32(device->registers + offset);
}

static void reg_write(struct virtio_device *device, u32 offset, u32 value)
{
	io_write32(device->registers + offset, value);
}

static void reg_write_address(struct virtio_device *device, u32 low, phys_addr_t address)
{
	reg_write(device, low, (u32)address);
	reg_write(device, low + 4, (u32)(address >> 32));
}

static void status_add(struct virtio_device *device, u32 bits)
{
	reg_write(device, VIRTIO_MMIO_STATUS, reg_read(device, VIRTIO_MMIO_STATUS) | bits);
}

u32 virtio_config_generation(struct virtio_device *device)
{
	return reg_read(device, VIRTIO_MMIO_CONFIG_GENERATION);
}

/* The tries are bounded: a device that changes its configuration for ever gets a torn one read. */
void virtio_config_read(struct virtio_device *device, u32 offset, void *to, size_t bytes)
{
	const volatile u8 *from = (const volatile u8 *)device->registers + VIRTIO_MMIO_CONFIG + offset;

	for (unsigned tries = 0; tries < 16; tries++) {
		u32 before = virtio_config_generation(device);
		size_t at = 0;

		/* Fields are naturally aligned, and must be read as wide as they are (4.2.2.2), or narrower. */
		while (at < bytes) {
			if (is_aligned(offset + at, 4) && bytes - at >= 4) {
				u32 word = io_read32(from + at);

				memcpy((char *)to + at, &word, 4);
				at += 4;
			} else {
				((u8 *)to)[at] = io_read8(from + at);
				at++;
			}
		}
		if (virtio_config_generation(device) == before)
			break;
	}
}

/* --- death and resurrection --- */

static void queues_stop(struct virtio_device *device)
{
	for (u32 i = 0; i < device->queue_count; i++) {
		struct virtqueue *queue = device->queues[i];
		unsigned long flags;

		if (!queue)
			continue;
		flags = spin_lock_irqsave(&queue->lock);
		queue->stopped = true;
		spin_unlock_irqrestore(&queue->lock, flags);
	}
}

void virtio_device_fail(struct virtio_device *device, const char *why)
{
	if (atomic_exchange(&device->state, VIRTIO_FAILED) == VIRTIO_FAILED)
		return;
	log_err("virtio %s%u: %s; the device is not used any more", device->driver->name, device->index, why);
	queues_stop(device);
	status_add(device, VIRTIO_CONFIG_S_FAILED);
	if (device->driver->failed)
		device->driver->failed(device);
}

/*
 * Status = 0, then until it reads 0: the other side has let go of the rings. There is no deadline, since memory that
 * it may still write to cannot be used for anything else.
 */
ASYNC(virtio_reset, struct virtio_device *device; nsec_t began; nsec_t pause; bool logged;)
{
	ASYNC_BEGIN;
	reg_write(f->device, VIRTIO_MMIO_STATUS, 0);
	f->began = time_monotonic();
	f->pause = 20000;
	while (reg_read(f->device, VIRTIO_MMIO_STATUS)) {
		if (!f->logged && time_monotonic() - f->began > RESET_LOG_AFTER) {
			log_warn("virtio %s%u: still waiting for its reset", f->device->driver->name, f->device->index);
			f->logged = true;
		}
		AWAIT(sleep_until, .deadline = time_monotonic() + f->pause, .uninterruptible = true);
		f->pause = min(f->pause * 2, (nsec_t)10000000);
	}
	ASYNC_END;
}

/* From ACKNOWLEDGE to FEATURES_OK (3.1.1). `wanted`: features that must be there, or 0. 0 or -ENODEV. */
static long negotiate(struct virtio_device *device, u64 must)
{
	u64 offered;

	status_add(device, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	status_add(device, VIRTIO_CONFIG_S_DRIVER);
	reg_write(device, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	offered = reg_read(device, VIRTIO_MMIO_DEVICE_FEATURES);
	reg_write(device, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	offered |= (u64)reg_read(device, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	if (!(offered & BIT(VIRTIO_F_VERSION_1)) || (offered & must) != must)
		return -ENODEV;
	device->features = must ? must : offered & (device->driver->features | TRANSPORT_FEATURES);
	reg_write(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(device, VIRTIO_MMIO_DRIVER_FEATURES, (u32)device->features);
	reg_write(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(device, VIRTIO_MMIO_DRIVER_FEATURES, (u32)(device->features >> 32));
	status_add(device, VIRTIO_CONFIG_S_FEATURES_OK);
	return reg_read(device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK ? 0 : -ENODEV;
}

/* Tells the device where a queue lies. 0, or -ENODEV if it does not have it (any more). */
static long queue_announce(struct virtio_device *device, struct virtqueue *queue)
{
	reg_write(device, VIRTIO_MMIO_QUEUE_SEL, queue->index);
	if (reg_read(device, VIRTIO_MMIO_QUEUE_READY) || reg_read(device, VIRTIO_MMIO_QUEUE_NUM_MAX) < queue->size)
		return -ENODEV;
	reg_write(device, VIRTIO_MMIO_QUEUE_NUM, queue->size);
	reg_write_address(device, VIRTIO_MMIO_QUEUE_DESC_LOW, virtqueue_desc_phys(queue));
	reg_write_address(device, VIRTIO_MMIO_QUEUE_AVAIL_LOW, virtqueue_avail_phys(queue));
	reg_write_address(device, VIRTIO_MMIO_QUEUE_USED_LOW, virtqueue_used_phys(queue));
	if (device->completion_sgi >= 0)
		reg_write(device, LICHEN_MMIO_QUEUE_CPU, (u32)cpu_hardware_id(queue->cpu) & 0xffffff);
	reg_write(device, VIRTIO_MMIO_QUEUE_READY, 1);
	return 0;
}

ASYNC(virtio_restore, struct virtio_device *device; bool logged;)
{
	struct virtio_device *device = f->device;

	ASYNC_BEGIN;
	queues_stop(device);
	while (reg_read(f->device, VIRTIO_MMIO_DEVICE_ID) != f->device->id) {
		if (!f->logged)
			log_warn("virtio %s%u: the device is gone; its requests wait for it", f->device->driver->name, f->device->index);
		f->logged = true;
		AWAIT(sleep_until, .deadline = time_monotonic() + 10000000, .uninterruptible = true);
	}
	AWAIT(virtio_reset, .device = f->device);
	device = f->device;
	if (device->resets++ >= RESETS_MAX || negotiate(device, device->features)) {
		virtio_device_fail(device, device->resets > RESETS_MAX ? "keeps asking for a reset" : "came back without its features");
		ASYNC_RETURN(-EIO);
	}
	device->driver->restore(device, false);
	for (u32 i = 0; i < device->queue_count; i++) {
		struct virtqueue *queue = device->queues[i];
		unsigned long flags;

		if (!queue)
			continue;
		flags = spin_lock_irqsave(&queue->lock);
		virtqueue_reset(queue);
		spin_unlock_irqrestore(&queue->lock, flags);
		if (queue_announce(device, queue)) {
			virtio_device_fail(device, "came back without its queues");
			ASYNC_RETURN(-EIO);
		}
	}
	virtio_device_ready(device);
	log_info("virtio %s%u: restored after a reset", device->driver->name, device->index);
	device->driver->restore(device, true);
	ASYNC_END;
}
struct virtio_restore_args {
	struct virtio_device *device;
};

/* --- interrupts --- */

static void config_interrupt(struct virtio_device *device)
{
	u32 status = reg_read(device, VIRTIO_MMIO_STATUS), live = VIRTIO_LIVE;

	if (!(status & VIRTIO_CONFIG_S_NEEDS_RESET) && status) {
		if (atomic_load(&device->state) == VIRTIO_LIVE && device->driver->config_changed)
			device->driver->config_changed(device);
		return;
	}
	/* It asks for a reset, or is gone (Status 0): start again with what is outstanding. */
	if (!atomic_compare_exchange_strong(&device->state, &live, VIRTIO_RESETTING))
		return;
	log_warn("virtio %s%u: %s", device->driver->name, device->index, status ? "needs a reset" : "was taken away");
	if (!device->driver->restore ||
		!task_spawn("virtio-restore", &virtio_restore_fn, &(struct virtio_restore_args){device},
			sizeof(struct virtio_restore_args)))
		virtio_device_fail(device, "cannot be restored");
}

static inline void queue_interrupt(struct virtqueue *queue)
{
	if (*(const volatile __virtio16 *)&queue->used->idx != *(volatile u16 *)&queue->used_seen)
		queue->interrupt(queue);
}

static void line_interrupt(void *arg)
{
	struct virtio_device *device = arg;
	u32 pending = reg_read(device, VIRTIO_MMIO_INTERRUPT_STATUS);
	u32 state = atomic_load_explicit(&device->state, memory_order_acquire);

	trace_point(LICHEN_TRACE_INTERRUPT, LICHEN_TRACE_NO_KEY, NULL, device->slot);
	if (!device->hypervisor && pending)
		reg_write(device, VIRTIO_MMIO_INTERRUPT_ACK, pending);
	else if (pending & VIRTIO_MMIO_INT_CONFIG)
		reg_write(device, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	if (state == VIRTIO_LIVE)
		for (u32 i = 0; i < device->queue_count; i++)
			if (device->queues[i])
				queue_interrupt(device->queues[i]);
	if (pending & VIRTIO_MMIO_INT_CONFIG)
		config_interrupt(device);
}

static void completion_interrupt(void *arg __unused)
{
	struct virtqueue *queue = atomic_load_explicit(&completion_queues[cpu_id()], memory_order_acquire);

	trace_point(LICHEN_TRACE_INTERRUPT, LICHEN_TRACE_NO_KEY, NULL, LICHEN_TRACE_NO_KEY);
	for (; queue; queue = queue->cpu_next)
		if (atomic_load_explicit(&queue->device->state, memory_order_relaxed) == VIRTIO_LIVE)
			queue_interrupt(queue);
}

static long completion_add(struct virtio_device *device, struct virtqueue *queue)
{
	unsigned long flags;
	bool request;
	long error = 0;

	flags = spin_lock_irqsave(&completion_lock);
	queue->cpu_next = atomic_load(&completion_queues[queue->cpu]);
	atomic_store_explicit(&completion_queues[queue->cpu], queue, memory_order_release);
	request = !completion_requested;
	completion_requested = true;
	spin_unlock_irqrestore(&completion_lock, flags);
	if (request)
		error = irq_request_completion((u32)device->completion_sgi, completion_interrupt, NULL);
	return error;
}

/* --- probing --- */

long virtio_queue_setup(struct virtio_device *device, u32 index, u32 size, u32 indirect_size, u32 cpu,
	void (*interrupt)(struct virtqueue *queue))
{
	struct virtqueue *queue;
	u32 most;
	long error;

	if (index >= LICHEN_QUEUES)
		return -EINVAL;
	reg_write(device, VIRTIO_MMIO_QUEUE_SEL, index);
	most = reg_read(device, VIRTIO_MMIO_QUEUE_NUM_MAX);
	if (!most || most > 32768)
		return -ENODEV;
	/* A power of two: the largest that both allow. */
	while (size > most)
		size /= 2;
	if (!virtio_has(device, VIRTIO_RING_F_INDIRECT_DESC))
		indirect_size = 0;
	queue = virtqueue_create((u16)index, (u16)size, indirect_size, virtio_has(device, VIRTIO_RING_F_EVENT_IDX));
	if (!queue)
		return -ENOMEM;
	queue->device = device;
	queue->interrupt = interrupt;
	queue->notify = device->registers + VIRTIO_MMIO_QUEUE_NOTIFY;
	queue->cpu = cpu;
	queue->trace_key = LICHEN_TRACE_KEY(device->slot, index, LICHEN_TRACE_NO_HEAD);
	queue->stopped = true; /* until the device is ready */
	error = queue_announce(device, queue);
	if (error) {
		virtqueue_destroy(queue);
		return error;
	}
	/* From here on it stays: the device knows it. */
	device->queues[index] = queue;
	if (index >= device->queue_count)
		device->queue_count = index + 1;
	return device->completion_sgi >= 0 ? completion_add(device, queue) : 0;
}

void virtio_device_ready(struct virtio_device *device)
{
	atomic_store(&device->state, VIRTIO_LIVE);
	status_add(device, VIRTIO_CONFIG_S_DRIVER_OK);
	for (u32 i = 0; i < device->queue_count; i++) {
		struct virtqueue *queue = device->queues[i];
		unsigned long flags;

		if (!queue)
			continue;
		flags = spin_lock_irqsave(&queue->lock);
		queue->stopped = false;
		virtqueue_rearm(queue);
		spin_unlock_irqrestore(&queue->lock, flags);
	}
}

ASYNC(virtio_start, struct virtio_device *device; long error;)
{
	struct virtio_device *device = f->device;

	ASYNC_BEGIN;
	AWAIT(virtio_reset, .device = f->device);
	device = f->device;
	if (negotiate(device, 0)) {
		virtio_device_fail(device, "refuses our features");
		ASYNC_RETURN(-ENODEV);
	}
	f->error = irq_request(device->irq, device->edge, 0, line_interrupt, device, device->driver->name);
	if (!f->error) {
		AWAIT_OP(f->device->driver->probe, virtio_probe, .device = f->device);
		f->error = RESULT;
	}
	if (f->error) {
		char why[48];

		snprintf(why, sizeof(why), "cannot be used (error %ld)", -f->error);
		virtio_device_fail(f->device, why);
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
struct virtio_start_args {
	struct virtio_device *device;
};

/* reg[0] of a node. */
static long node_registers(const void *dt, int node, phys_addr_t *address, size_t *bytes)
{
	int parent = fdt_parent_offset(dt, node);
	int length, na = fdt_address_cells(dt, parent), ns = fdt_size_cells(dt, parent);
	const fdt32_t *reg = fdt_getprop(dt, node, "reg", &length);
	u64 value[2] = {0, 0};

	if (!reg || na < 1 || na > 2 || ns < 1 || ns > 2 || length < (na + ns) * 4)
		return -EINVAL;
	for (int i = 0; i < na + ns; i++)
		value[i >= na] = value[i >= na] << 32 | fdt32_to_cpu(reg[i]);
	*address = value[0];
	*bytes = value[1];
	return 0;
}

void virtio_for_each(void (*fn)(struct virtio_device *device, void *arg), void *arg)
{
	for (struct virtio_device *device = first_device; device; device = device->next)
		fn(device, arg);
}

static void read_words(struct virtio_device *device, u32 offset, void *to, size_t bytes)
{
	const volatile u32 *from = (const volatile u32 *)(device->registers + offset);

	for (size_t i = 0; i < bytes / sizeof(u32); i++)
		((u32 *)to)[i] = io_read32(&from[i]);
}

bool virtio_backend_counters(struct virtio_device *device, struct lichen_backend_counters *counters)
{
	if (!device->hypervisor)
		return false;
	read_words(device, LICHEN_MMIO_COUNTERS, counters, sizeof(*counters));
	return true;
}

bool virtio_backend_sample(struct virtio_device *device, struct lichen_sample *sample)
{
	u32 after;

	if (!device->hypervisor)
		return false;
	read_words(device, LICHEN_MMIO_SAMPLE, sample, sizeof(*sample)); /* its sequence is the first word */
	read_words(device, LICHEN_MMIO_SAMPLE, &after, sizeof(after));
	sample->sequence |= after != sample->sequence;
	return true;
}

static void mmio_probe(const void *dt, int node)
{
	struct virtio_device *device;
	phys_addr_t address;
	const fdt32_t *sgi;
	volatile char *registers;
	size_t bytes;
	u32 id, version;
	int length;

	if (node_registers(dt, node, &address, &bytes) || bytes < VIRTIO_MMIO_CONFIG) {
		log_err("virtio-mmio: a node of the device tree has no usable reg");
		return;
	}
	registers = io_map(address, bytes);
	if (!registers)
		return;
	version = io_read32(registers + VIRTIO_MMIO_VERSION);
	id = io_read32(registers + VIRTIO_MMIO_DEVICE_ID);
	if (io_read32(registers + VIRTIO_MMIO_MAGIC_VALUE) != MMIO_MAGIC || !id)
		return; /* an empty slot (4.2.2.2) */
	if (version != 2) {
		log_err("virtio-mmio at %#llx: version %u is not supported, only 2 (QEMU: -global virtio-mmio.force-legacy=false)",
			(unsigned long long)address, version);
		return;
	}
	for (u32 i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (drivers[i]->id != id)
			continue;
		device = kzalloc(sizeof(*device));
		if (!device)
			return;
		device->registers = registers;
		device->address = address;
		device->register_bytes = bytes;
		device->id = id;
		device->driver = drivers[i];
		device->index = driver_devices[i]++;
		device->hypervisor = bytes > LICHEN_MMIO_MAGIC &&
				     io_read32(registers + LICHEN_MMIO_MAGIC) == LICHEN_MMIO_MAGIC_VALUE;
		device->slot = device->hypervisor ? io_read32(registers + LICHEN_MMIO_SLOT) : device_count;
		device_count++;
		sgi = fdt_getprop(dt, node, "lichen,completion-sgi", &length);
		device->completion_sgi = device->hypervisor && sgi && length == 4 ? (s64)fdt32_to_cpu(*sgi) : -1;
		if (irq_of_node(node, 0, &device->irq, &device->edge) ||
			!task_spawn("virtio", &virtio_start_fn, &(struct virtio_start_args){device}, sizeof(struct virtio_start_args))) {
			log_err("virtio-mmio at %#llx: no interrupt, or no memory", (unsigned long long)address);
			kfree(device);
			return;
		}
		*last_device = device;
		last_device = &device->next;
		return;
	}
	log_info("virtio-mmio at %#llx: no driver for device %u", (unsigned long long)address, id);
}
DRIVER(virtio_mmio, "virtio,mmio", mmio_probe);
