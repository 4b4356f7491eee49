// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Slots: who serves which device. A slot is free or attached; attaching and detaching are
 * serialised by a mutex, and the channels read `operations` without one: detaching clears it and
 * then waits until no channel is serving.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/slab.h>
#include "lichen.h"

struct lichen_backend_counters slot_counters[LICHEN_SLOTS];
static struct slot *slots;
static DEFINE_MUTEX(slots_lock);
/* Changes wait for block I/O in flight to end: ordinary work must not stand behind them. */
static struct workqueue_struct *changes;

struct slot *slot_get(unsigned int index)
{
	return index < lichen_window.slots ? &slots[index] : NULL;
}

void slot_kicked(unsigned int index, u64 queues)
{
	struct slot *slot = &slots[index];
	/* Acquire: what the owner prepared before it attached is seen with the pointer. */
	const struct slot_operations *operations = smp_load_acquire(&slot->operations);

	if (operations)
		operations->kick(slot, queues);
}

void slot_changed(unsigned int index)
{
	if (index < lichen_window.slots)
		queue_work(changes, &slots[index].change);
}

static void slot_change(struct work_struct *work)
{
	struct slot *slot = container_of(work, struct slot, change);
	const struct slot_operations *operations = smp_load_acquire(&slot->operations);
	struct view view;

	if (!operations)
		return;
	view_read(slot->index, &view);
	operations->change(slot, &view);
}

void slot_broken(struct slot *slot, unsigned int queue, const char *why)
{
	if (why)
		slot_warn(slot, "queue %u: %s: the device needs a reset\n", queue, why);
	hypercall(LICHEN_HVC_NEEDS_RESET, slot->index, 0, 0, 0, 0);
}

int slot_attach(const struct slot_attach *what)
{
	struct slot *slot = slot_get(what->slot);
	long error;
	u32 q;

	if (!slot || what->config_length > BACKEND_CONFIG_BYTES || !what->queues ||
		what->queues > LICHEN_QUEUES)
		return -EINVAL;
	mutex_lock(&slots_lock);
	if (slot->operations) {
		mutex_unlock(&slots_lock);
		return -EBUSY;
	}
	config_write(what->slot, 0, what->config, what->config_length);
	slot_counters[what->slot] = (struct lichen_backend_counters){};
	memset(window_registers(what->slot) + LICHEN_MMIO_COUNTERS, 0,
		sizeof(struct lichen_backend_counters));
	slot->owner = what->owner;
	smp_store_release(&slot->operations, what->operations);
	/* Spread the queues before anyone can kick them. */
	for (q = 0; q < what->queues; q++)
		hypercall(
			LICHEN_HVC_QUEUE_CHANNEL, what->slot, q, q % lichen_window.channels, 0, 0);
	error = hypercall(LICHEN_HVC_DEVICE_ATTACH, what->slot, what->device_id, what->queues,
		what->queue_max, what->features);
	if (error) {
		slot_warn(slot, "the hypervisor does not attach the device: error %ld\n", error);
		WRITE_ONCE(slot->operations, NULL);
		mutex_unlock(&slots_lock);
		channels_quiesce();
		cancel_work_sync(&slot->change);
		return error;
	}
	mutex_unlock(&slots_lock);
	return 0;
}

void slot_detach(unsigned int index)
{
	struct slot *slot = slot_get(index);
	const struct slot_operations *operations;

	if (!slot)
		return;
	mutex_lock(&slots_lock);
	operations = slot->operations;
	if (operations) {
		hypercall(LICHEN_HVC_DEVICE_DETACH, index, 0, 0, 0, 0);
		WRITE_ONCE(slot->operations, NULL);
		channels_quiesce();
		cancel_work_sync(&slot->change);
		operations->release(slot);
	}
	mutex_unlock(&slots_lock);
}

void slots_report(void)
{
	unsigned int i;

	mutex_lock(&slots_lock);
	for (i = 0; i < lichen_window.slots; i++)
		if (slots[i].operations && slots[i].operations->report)
			slots[i].operations->report(&slots[i]);
	mutex_unlock(&slots_lock);
}

int slots_start(void)
{
	unsigned int i;

	changes = alloc_workqueue("lichen", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	slots = kcalloc(lichen_window.slots, sizeof(*slots), GFP_KERNEL);
	if (!changes || !slots) {
		slots_stop();
		return -ENOMEM;
	}
	for (i = 0; i < lichen_window.slots; i++) {
		slots[i].index = i;
		INIT_WORK(&slots[i].change, slot_change);
		ratelimit_state_init(&slots[i].complaints, 5 * HZ, 40);
	}
	return 0;
}

void slots_stop(void)
{
	unsigned int i;

	for (i = 0; slots && i < lichen_window.slots; i++)
		slot_detach(i);
	if (changes)
		destroy_workqueue(changes);
	changes = NULL;
	kfree(slots);
	slots = NULL;
}
