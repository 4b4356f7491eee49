/* SPDX-License-Identifier: MIT */
/*
 * Split virtqueues, the driver's side (virtio 1.2, 2.7), with indirect descriptors and event indexes.
 *
 *     desc[]   what we offer: we alone write it, and never read it back
 *     avail    heads of chains that the device may take: we write
 *     used     heads that it has finished: it writes; each word is copied once, then checked
 *
 * The device is hostile: all that decides what the kernel does next (free list, chain lengths, tokens) lies in private
 * memory. A used entry that cannot be right (an index that runs away, a head that is not in flight, more bytes than the
 * buffer has) breaks the queue: it is never touched again, and its owner fails or resets the device.
 *
 * Every request has a token; the table of tokens is also the list of what must be offered again when the device restarts.
 */
#ifndef VIRTIO_VIRTQUEUE_H
#define VIRTIO_VIRTQUEUE_H

#include <lichen/lock.h>
#include <lichen/page.h>
#include <lichen/timer.h>
#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_ring.h>

struct block_request;

#define VIRTQUEUE_BATCH_DEPTH 8 /* requests in flight, from which on completions are reported in batches */
#define VIRTQUEUE_DIRECT_MAX 4 /* longer chains take an indirect table while there is one */

/* Private to the driver: one a descriptor, valid for the head of a chain in flight. */
struct virtqueue_slot {
	void *token;	/* NULL: this descriptor is no head in flight */
	u32 writable;	/* bytes that the device may write */
	u16 count;	/* descriptors of the ring that the chain holds */
	u16 last;	/* the last of them */
};

struct virtio_device;
struct task;

struct virtqueue {
	spinlock_t lock; /* guards all below; taken with interrupts masked */
	u16 index;	 /* of the device's queues */
	u16 size;	 /* a power of two */
	bool event_index;
	bool batched;	/* the device answers each request by itself, and soon: completions may be reported together (coalesce.c) */
	bool stopped;	/* nothing may be added: the device is being reset, or failed */
	const char *broken; /* why, once the device has lied */
	/* our own state */
	u16 free_head, free_count;
	u16 available; /* avail->idx */
	u16 kicked;    /* `available` at the last look at whether to notify */
	u16 used_seen;
	u16 in_flight; /* heads */
	u16 *next;     /* of each descriptor: the free list, and the links of a chain */
	struct virtqueue_slot *slots;
	/* the chain that is being written */
	struct vring_desc *put_table;
	u16 put_head, put_at, put_left, put_last;
	bool put_indirect;
	u32 put_writable;
	/* memory that the device sees */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_desc *indirect; /* `indirect_size` entries for each head, or NULL */
	u32 indirect_size;
	phys_addr_t indirect_phys;
	struct page *ring_page, *indirect_page;
	volatile void *notify; /* register */
	/* the driver's */
	struct virtio_device *device;
	void (*interrupt)(struct virtqueue *queue);
	void *private;
	u32 cpu; /* that takes its interrupts */
	/* of requests that were alone in the queue: when the last was made available, and how long they take (ticks, a mean) */
	u64 alone_since, latency;
	/*
	 * completions in batches (coalesce.c): `used_seen` when it was last rearmed; how many were in flight lately, 0: too few; how many
	 * an interrupt may wait for, now and at the device's pace, which is measured since when, with how many; when some were last taken
	 */
	u16 armed_at, batch_depth, batch_limit, batch_most;
	u32 batch_count;
	nsec_t batch_since, batch_taken;
	struct timer batch_timer;
	u32 trace_key; /* LICHEN_TRACE_KEY without a head */
	struct virtqueue *cpu_next; /* of that CPU: mmio.c */
};

/*
 * Makes a queue of `size` entries; with indirect_size (descriptors a request) > 0 each head gets an indirect table. NULL
 * without memory. No lock is needed until the device sees it.
 */
struct virtqueue *virtqueue_create(u16 index, u16 size, u32 indirect_size, bool event_index);
void virtqueue_destroy(struct virtqueue *queue);

/*
 * Begins a chain of n descriptors: its head (which will be in flight), -ENOSPC if the ring is full, -EAGAIN if the queue is
 * stopped, -EIO if broken, -EINVAL if it can never fit. Exactly n virtqueue_put() and a virtqueue_end() must follow.
 */
long virtqueue_begin(struct virtqueue *queue, u32 n) REQUIRES(queue->lock);

/* The next buffer of the chain: those that the device reads come first. */
static inline void virtqueue_put(struct virtqueue *queue, phys_addr_t address, u32 bytes, bool device_writes)
{
	u16 at = queue->put_at;
	u16 flags = device_writes ? VRING_DESC_F_WRITE : 0;
	u16 next = queue->put_indirect ? (u16)(at + 1) : queue->next[at];
	struct vring_desc *desc = &queue->put_table[at];

	if (--queue->put_left)
		flags |= VRING_DESC_F_NEXT;
	if (device_writes)
		queue->put_writable += bytes;
	desc->addr = address;
	desc->len = bytes;
	desc->flags = flags;
	desc->next = next;
	queue->put_last = at;
	queue->put_at = next;
}

/* Makes the chain available to the device; `token` must not be NULL. */
void virtqueue_end(struct virtqueue *queue, void *token) REQUIRES(queue->lock);
/* Notifies the device if it wants that: one register store. */
void virtqueue_kick(struct virtqueue *queue) REQUIRES(queue->lock);

/*
 * Takes the next request that the device has finished: its token, its head and the bytes that it wrote. NULL: none, or
 * the queue is broken (queue->broken tells why, and stays).
 */
void *virtqueue_take(struct virtqueue *queue, u32 *head, u32 *bytes) REQUIRES(queue->lock);
/*
 * Asks for an interrupt: at the next completion, or with many in flight a few of them later, within a bounded time (coalesce.c). True:
 * there is a completion already, go on taking.
 */
bool virtqueue_rearm(struct virtqueue *queue) REQUIRES(queue->lock);

/*
 * How many completions the next interrupt is to wait for, when one more request was made, or `taken` were taken: none of them is held
 * back for longer than 400 us. And the timer's end, which may call queue->interrupt.
 */
u16 virtqueue_batch(struct virtqueue *queue) REQUIRES(queue->lock);
u16 virtqueue_batch_next(struct virtqueue *queue, u32 taken) REQUIRES(queue->lock);
void virtqueue_batch_timer(struct timer *timer);

/* Asks for no interrupt until virtqueue_rearm; one may come all the same. Only with event indexes; needs no lock. */
void virtqueue_disarm(struct virtqueue *queue);

/* trace.c: the points of a queue. Apart, with what the caller has in registers anyway, so that to be there costs it little. */
__cold void virtqueue_trace_submit(const struct virtqueue *queue, u32 head, struct block_request *request);
__cold void virtqueue_trace_complete(const struct virtqueue *queue, u32 head, const struct block_request *request);
/* Notifies the device, too. */
__cold void virtqueue_trace_notify(const struct virtqueue *queue);

/*
 * Looks for completions here instead of waiting for an interrupt, until *state is not `pending`: poll.c. For requests that the
 * queue answers soon enough, or if `hipri` in any case; never longer than is good for others.
 */
void virtqueue_poll(struct virtqueue *queue, const _Atomic u32 *state, u32 pending, struct task *self, bool hipri);

/* The device was reset: takes what was in flight out, one token a call, in no order; NULL when none is left. */
void *virtqueue_detach(struct virtqueue *queue) REQUIRES(queue->lock);
/* Empties the rings, as after creation; nothing may be in flight, and the device must not look. */
void virtqueue_reset(struct virtqueue *queue) REQUIRES(queue->lock);

static inline phys_addr_t virtqueue_desc_phys(const struct virtqueue *queue)
{
	return page_phys(queue->ring_page);
}
static inline phys_addr_t virtqueue_avail_phys(const struct virtqueue *queue)
{
	return page_phys(queue->ring_page) + (phys_addr_t)((char *)queue->avail - (char *)queue->desc);
}
static inline phys_addr_t virtqueue_used_phys(const struct virtqueue *queue)
{
	return page_phys(queue->ring_page) + (phys_addr_t)((char *)queue->used - (char *)queue->desc);
}

#endif
