// SPDX-License-Identifier: MIT
/*
 * The list of block devices. Devices and partitions come and never go: one that dies answers -EIO. Its lock is taken for
 * changes alone; the list only grows at its end, so that readers need none.
 */
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <asm/errno.h>
#include "block.h"

static struct block_device *_Atomic devices[256]; /* in the order of registration */
static _Atomic u32 device_count;
static spinlock_t devices_lock = SPINLOCK_INIT;
static _Atomic u32 extended_minors;
struct wait_queue block_devices_changed = WAIT_QUEUE_INIT(block_devices_changed);

static long devices_add(struct block_device *device)
{
	unsigned long flags = spin_lock_irqsave(&devices_lock);
	u32 n = atomic_load(&device_count);
	long error = n < ARRAY_SIZE(devices) ? 0 : -ENOSPC;

	if (!error) {
		atomic_store(&devices[n], device);
		atomic_store_explicit(&device_count, n + 1, memory_order_release);
	}
	spin_unlock_irqrestore(&devices_lock, flags);
	return error;
}

void block_for_each(void (*fn)(struct block_device *device, void *arg), void *arg)
{
	u32 n = atomic_load_explicit(&device_count, memory_order_acquire);

	for (u32 i = 0; i < n; i++)
		fn(atomic_load(&devices[i]), arg);
}

struct block_device *block_find(const char *name)
{
	u32 n = atomic_load_explicit(&device_count, memory_order_acquire);

	if (!strncmp(name, "/dev/", 5))
		name += 5;
	for (u32 i = 0; i < n; i++)
		if (!strcmp(atomic_load(&devices[i])->name, name))
			return atomic_load(&devices[i]);
	return NULL;
}

struct block_device *block_find_dev(dev_t dev)
{
	u32 n = atomic_load_explicit(&device_count, memory_order_acquire);

	for (u32 i = 0; i < n; i++)
		if (atomic_load(&devices[i])->dev == dev)
			return atomic_load(&devices[i]);
	return NULL;
}

long block_claim(struct block_device *device, void *owner)
{
	void *nobody = NULL;

	return atomic_compare_exchange_strong(&device->exclusive, &nobody, owner) ? 0 : -EBUSY;
}

void block_release(struct block_device *device, void *owner)
{
	atomic_compare_exchange_strong(&device->exclusive, &owner, NULL);
}

void block_resize(struct block_device *device, u64 sectors)
{
	log_info("%s: size changed from %llu to %llu sectors", device->name, (unsigned long long)device->sectors,
		(unsigned long long)sectors);
	device->sectors = sectors;
	if (device->inode)
		device->inode->size = sectors * BLOCK_SECTOR;
}

struct block_device *partition_add(struct block_device *whole, u32 number, u64 first, u64 sectors)
{
	size_t n = strlen(whole->name);
	struct block_device *device;

	if (!sectors || first >= whole->sectors || sectors > whole->sectors - first) {
		log_warn("%s: partition %u lies outside of the disk, left out", whole->name, number);
		return ERR_PTR(-EINVAL);
	}
	device = kzalloc(sizeof(*device));
	if (!device)
		return ERR_PTR(-ENOMEM);
	/* All limits are the disk's. */
	*device = *whole;
	snprintf(device->name, sizeof(device->name), "%s%s%u", whole->name,
		whole->name[n - 1] >= '0' && whole->name[n - 1] <= '9' ? "p" : "", number);
	device->dev = number < BLOCK_MINORS ? whole->dev + number
					    : MAKE_DEV(BLOCK_EXTENDED_MAJOR, atomic_fetch_add(&extended_minors, 1));
	device->whole = whole;
	device->first_sector = first;
	device->sectors = sectors;
	device->partition = number;
	device->inode = NULL;
	atomic_init(&device->openers, 0);
	atomic_init(&device->exclusive, NULL);
	atomic_init(&device->reads, 0);
	atomic_init(&device->writes, 0);
	atomic_init(&device->sectors_read, 0);
	atomic_init(&device->sectors_written, 0);
	if (block_node_make(device) || devices_add(device) || block_node_register(device)) {
		log_err("%s: cannot be registered", device->name);
		return ERR_PTR(-ENOMEM);
	}
	return device;
}

ASYNC_DEFINE(block_register)
{
	struct block_device *device = f->device;
	long error;

	ASYNC_BEGIN;
	device->whole = device;
	device->first_sector = 0;
	error = block_node_make(device);
	if (!error)
		error = devices_add(device);
	if (!error)
		error = block_node_register(device);
	if (error)
		ASYNC_RETURN(error);
	log_info("%s: %llu MiB, blocks of %u bytes%s%s%s%s%s", device->name,
		(unsigned long long)(device->sectors >> 11), device->logical_block,
		device->read_only ? ", read-only" : "", device->has_flush ? ", flush" : "",
		device->has_discard ? ", discard" : "", device->serial[0] ? ", serial " : "", device->serial);
	AWAIT(partitions_scan, .device = f->device);
	error = RESULT;
	if (error)
		log_err("%s: the partition table cannot be read (error %ld)", f->device->name, -error);
	wait_wake_all(&block_devices_changed);
	ASYNC_RETURN(0);
	ASYNC_END;
}
