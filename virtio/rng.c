// SPDX-License-Identifier: MIT
/* virtio-rng (virtio 1.2, 5.4): asks the device for bytes at its start and seldom afterwards, and gives them to the kernel's pool. */
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/task.h>
#include <lichen/timer.h>
#include <lichen/wait.h>
#include <asm/errno.h>
#include <virtio/device.h>

#define RNG_BYTES  64u
#define RNG_PERIOD (600 * NSEC_PER_SEC)

struct rng {
	struct virtio_device *device;
	struct virtqueue *queue;
	struct page *page;
	struct wait_queue wait;
	u32 bytes; /* of the answer; guarded by the queue's lock */
	bool asked;
};

static void rng_interrupt(struct virtqueue *queue)
{
	struct rng *rng = queue->private;
	unsigned long flags = spin_lock_irqsave(&queue->lock);
	const char *broken;
	u32 head, bytes;

	while (virtqueue_take(queue, &head, &bytes)) {
		rng->bytes = bytes;
		rng->asked = false;
	}
	virtqueue_rearm(queue);
	broken = queue->broken;
	spin_unlock_irqrestore(&queue->lock, flags);
	if (broken)
		virtio_device_fail(queue->device, broken);
	wait_wake_all(&rng->wait);
}

static void rng_ask(struct rng *rng)
{
	unsigned long flags = spin_lock_irqsave(&rng->queue->lock);

	if (!rng->asked && virtqueue_begin(rng->queue, 1) >= 0) {
		virtqueue_put(rng->queue, page_phys(rng->page), RNG_BYTES, true);
		virtqueue_end(rng->queue, rng);
		rng->asked = true;
		rng->bytes = 0;
		virtqueue_kick(rng->queue);
	}
	spin_unlock_irqrestore(&rng->queue->lock, flags);
}

/* The bytes that came, once; 0: none yet. */
static u32 rng_answer(struct rng *rng)
{
	unsigned long flags = spin_lock_irqsave(&rng->queue->lock);
	u32 bytes = rng->bytes;

	rng->bytes = 0;
	spin_unlock_irqrestore(&rng->queue->lock, flags);
	return bytes;
}

ASYNC(rng_probe, VIRTIO_PROBE_ARGS struct rng *rng; u32 ticket;)
{
	u32 bytes;
	long error;

	ASYNC_BEGIN;
	f->rng = kzalloc(sizeof(*f->rng));
	if (!f->rng)
		ASYNC_RETURN(-ENOMEM);
	wait_queue_init(&f->rng->wait);
	f->rng->device = f->device;
	f->rng->page = page_alloc(0, ALLOC_POOL | ALLOC_ZERO);
	if (!f->rng->page)
		ASYNC_RETURN(-ENOMEM);
	f->device->private = f->rng;
	error = virtio_queue_setup(f->device, 0, 8, 0, 0, rng_interrupt);
	if (error)
		ASYNC_RETURN(error);
	f->rng->queue = f->device->queues[0];
	f->rng->queue->private = f->rng;
	virtio_device_ready(f->device);
	/* The device's task stays: it is the one that asks. */
	while (atomic_load(&f->device->state) != VIRTIO_FAILED) {
		rng_ask(f->rng);
		for (;;) {
			f->ticket = wait_ticket(&f->rng->wait);
			bytes = rng_answer(f->rng);
			if (bytes || atomic_load(&f->device->state) == VIRTIO_FAILED)
				break;
			AWAIT(wait_on, .queue = &f->rng->wait, .ticket = f->ticket, .uninterruptible = true);
		}
		random_add(page_address(f->rng->page), bytes, bytes * 8);
		AWAIT(sleep_until, .deadline = time_monotonic() + RNG_PERIOD, .uninterruptible = true);
	}
	ASYNC_END;
}

static void rng_failed(struct virtio_device *device)
{
	struct rng *rng = device->private;

	if (rng)
		wait_wake_all(&rng->wait);
}

static void rng_restore(struct virtio_device *device, bool offer)
{
	struct rng *rng = device->private;
	unsigned long flags;

	if (offer) {
		rng_ask(rng);
		return;
	}
	flags = spin_lock_irqsave(&rng->queue->lock);
	virtqueue_detach(rng->queue);
	rng->asked = false;
	spin_unlock_irqrestore(&rng->queue->lock, flags);
}

const struct virtio_driver virtio_rng_driver = {
	.id = VIRTIO_ID_RNG,
	.name = "rng",
	.probe = &rng_probe_fn,
	.failed = rng_failed,
	.restore = rng_restore,
};
