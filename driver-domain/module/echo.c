// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The echo device (lichen/abi.h): gives every chain back as it is, from the channel's thread. What a
 * round trip through it costs is what the transport costs, below any real device.
 *
 * A queue's ring is touched by the thread of its channel alone, so there is no lock.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/slab.h>
#include <linux/virtio_config.h>
#include "lichen.h"
#include "trace.h"
#include "vring.h"
#include "watch.h"

#define QUEUE_MAX 256

struct echo_queue {
	bool running; /* written with the channels quiet */
	struct lichen_queue_view view;
	struct vring_device ring;
	struct watch watch;
	struct vring_chain chain;
};

struct echo {
	struct slot *slot;
	u32 generation;
	bool started;
	unsigned int queue_count;
	struct echo_queue queues[];
};

/* A record, apart: the point costs those who pass it no register. */
static __cold noinline void echo_record(u32 stage, const struct watch *watch, u16 head)
{
	trace_put(stage, LICHEN_TRACE_KEY(watch->slot, watch->queue, head), 0);
}

static void echo_serve(struct watch *watch)
{
	struct echo_queue *queue = container_of(watch, struct echo_queue, watch);
	unsigned int slot = watch->slot;
	int more;

	do {
		unsigned int served = 0;

		while ((more = vring_next(&queue->ring, &queue->chain)) > 0) {
			if (!served++)
				watch_arrived(watch);
			if (trace_enabled())
				echo_record(LICHEN_TRACE_TAKE, watch, queue->chain.head);
			vring_push(&queue->ring, queue->chain.head, 0);
		}
		if (served) {
			slot_count(slot, requests, served);
			if (vring_signal_needed(&queue->ring)) {
				slot_count(slot, signals, 1);
				/* Of the last: its head stays there until the next is taken. */
				if (trace_enabled())
					echo_record(LICHEN_TRACE_SIGNAL, watch, queue->chain.head);
				queue_signal(slot, &queue->view);
			}
		}
		if (unlikely(more < 0)) {
			queue->running = false;
			watch_drop(watch);
			slot_broken(slot_get(slot), watch->queue, queue->ring.broken);
			return;
		}
	} while (watch_end(watch));
}

static void echo_kick(struct slot *slot, u64 queues)
{
	struct echo *echo = slot->owner;

	for (; queues; queues &= queues - 1) {
		unsigned int q = __ffs64(queues);

		if (q < echo->queue_count && echo->queues[q].running)
			echo_serve(&echo->queues[q].watch);
	}
}

/* ---- start and reset ---- */

static int echo_queue_start(struct echo *echo, unsigned int index, u64 features)
{
	struct echo_queue *queue = &echo->queues[index];
	struct lichen_queue_view *view = &queue->view;
	int error;

	view_read_queue(echo->slot->index, index, view);
	if (!view->ready)
		return 0;
	if (!view->num || view->num > QUEUE_MAX)
		return -EINVAL;
	error = vring_device_start(&queue->ring, view->num, view->desc, view->driver, view->device,
		features, pool_translate, NULL);
	if (error)
		return error;
	pool_window(&queue->ring);
	watch_init(&queue->watch, &queue->ring, echo_serve, echo->slot->index, index, view->channel);
	smp_store_release(&queue->running, true);
	/* Whatever was made available before we looked, and kicked in vain. */
	channel_kick(view->channel, echo->slot->index, BIT_ULL(index));
	return 0;
}

static void echo_start(struct echo *echo, u64 features)
{
	unsigned int q;

	echo->started = true;
	for (q = 0; q < echo->queue_count; q++) {
		int error = echo_queue_start(echo, q, features);

		if (error) {
			slot_warn(echo->slot, "queue %u does not start: error %d\n", q, error);
			slot_broken(echo->slot, q, "its rings are not usable");
			return;
		}
	}
}

/* After this nothing of ours touches the rings. */
static void echo_stop(struct echo *echo)
{
	unsigned int q;

	for (q = 0; q < echo->queue_count; q++)
		WRITE_ONCE(echo->queues[q].running, false);
	channels_quiesce();
	echo->started = false;
}

static void echo_change(struct slot *slot, const struct view *view)
{
	struct echo *echo = slot->owner;

	if (view->generation != echo->generation) {
		echo_stop(echo);
		echo->generation = view->generation;
		hypercall(LICHEN_HVC_RESET_DONE, slot->index, view->generation, 0, 0, 0);
	}
	/* Never set while a reset waits for us. */
	if (!echo->started && view->status & VIRTIO_CONFIG_S_DRIVER_OK)
		echo_start(echo, view->driver_features);
}

static void echo_release(struct slot *slot)
{
	struct echo *echo = slot->owner;

	echo_stop(echo);
	kvfree(echo);
}

static const struct slot_operations echo_operations = {
	.kick = echo_kick,
	.change = echo_change,
	.release = echo_release,
};

int echo_attach(const struct backend_echo *what)
{
	struct slot *slot = slot_get(what->slot);
	struct lichen_echo_config config = {};
	unsigned int queues = what->queues;
	struct echo *echo;
	struct view view;
	int error;

	if (!slot || queues > LICHEN_QUEUES)
		return -EINVAL;
	if (!queues)
		queues = clamp(lichen_window.control->frontend_cpus, 1u, (u32)LICHEN_QUEUES);
	echo = kvzalloc(struct_size(echo, queues, queues), GFP_KERNEL);
	if (!echo)
		return -ENOMEM;
	echo->slot = slot;
	echo->queue_count = queues;
	view_read(what->slot, &view);
	echo->generation = view.generation;
	config.queues = queues;

	error = slot_attach(&(struct slot_attach){
		.slot = what->slot,
		.device_id = LICHEN_VIRTIO_ID_ECHO,
		.queues = queues,
		.queue_max = QUEUE_MAX,
		.features = BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |
			    BIT_ULL(VIRTIO_RING_F_EVENT_IDX),
		.config = &config,
		.config_length = sizeof(config),
		.operations = &echo_operations,
		.owner = echo,
	});
	if (error)
		kvfree(echo);
	return error;
}
