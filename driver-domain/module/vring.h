/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7), with indirect descriptors and
 * EVENT_IDX.
 *
 * The driver at the other end is taken for hostile: it may write any of this memory at any time. So
 * each descriptor is copied once and the copy is checked; what leaves here (struct vring_chain)
 * lies in shared memory, is bounded, and can't change any more. A ring that breaks the rules gives
 * -EPROTO for good: the caller asks for DEVICE_NEEDS_RESET. The bytes that the segments point at
 * stay the driver's to change.
 *
 * Nothing here sleeps, allocates or takes a lock: a vring has one consumer (vring_next) and the
 * caller serialises the producers (vring_push). Compiled into the kernel module, the daemon and the
 * tests.
 */
#ifndef LICHEN_VRING_H
#define LICHEN_VRING_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif
#include <linux/virtio_ring.h>

/* Segments of a chain at most, however they are made up; longer ones break the ring. */
#define VRING_SEGMENTS 256

struct vring_segment {
	void *data; /* what the translation made of the address; valid for `length` bytes */
	uint32_t length;
	bool writable; /* by the device */
};

struct vring_chain {
	uint16_t head;	   /* hand it back to vring_push */
	uint16_t segments; /* readable ones first, as virtio 1.2, 2.7.4.2 demands */
	uint16_t readable; /* how many of them the device reads */
	uint32_t readable_bytes;
	uint32_t writable_bytes;
	struct vring_segment segment[VRING_SEGMENTS];
};

struct vring_device;

/*
 * Translates [address, address + length) to memory of ours, or NULL when any of it is not shared.
 * length is at least 1; address + length does not wrap.
 */
typedef void *(*vring_translate_fn)(void *context, uint64_t address, uint32_t length);

struct vring_device {
	uint16_t num;	    /* entries, a power of two */
	uint16_t next;	    /* index of the next available entry to take */
	uint16_t used_next; /* index of the next used entry to fill */
	uint16_t signalled; /* used_next when the driver was last asked about (EVENT_IDX) */
	bool event_index;
	bool indirect;
	const char *broken; /* why the ring is dead, or NULL */
	struct vring_desc *desc;
	struct vring_avail *available;
	struct vring_used *used;
	vring_translate_fn translate;
	void *context;
	/* Where most addresses lie: what vring_window says, and `translate` would. */
	uint64_t window, window_length;
	char *window_data;
};

/*
 * Start at index 0. The three areas are at physical addresses (virtio 1.2, 2.7: aligned to 16, 2,
 * 4). 0, -EINVAL for a bad size or alignment, -EFAULT for an area that is not shared.
 */
int vring_device_start(struct vring_device *ring, uint16_t num, uint64_t desc, uint64_t available,
	uint64_t used, uint64_t features, vring_translate_fn translate, void *context);

/* `length` bytes from address `start` on are at `data`, for as long as the ring runs: translated without a call. */
static inline void vring_window(struct vring_device *ring, uint64_t start, uint64_t length, void *data)
{
	ring->window = start;
	ring->window_length = length;
	ring->window_data = data;
}

/*
 * 1 and a chain, 0 when nothing is available, -EPROTO when the ring is broken (ring->broken says
 * why).
 */
int vring_next(struct vring_device *ring, struct vring_chain *chain);

/*
 * Ask the driver for a notification of the next chain. True when chains became available before it
 * could have known: the caller must look again.
 */
bool vring_notify_enable(struct vring_device *ring);
/* How many chains are available, or the index is a lie: vring_next tells. */
static inline uint16_t vring_waiting(const struct vring_device *ring)
{
	return __atomic_load_n(&ring->available->idx, __ATOMIC_RELAXED) - ring->next;
}
/* Tell the driver that none is wanted. A hint: it may come all the same. */
void vring_notify_disable(struct vring_device *ring);

/*
 * A word of two halves at any address: an indirect table may lie anywhere, and the used ring is aligned to 4 only.
 */
struct vring_word {
	uint64_t value;
} __attribute__((packed, may_alias));

static inline uint16_t vring_load16(const void *p)
{
	return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
}

/* Give a chain back with `written` bytes filled from its first writable byte. */
static inline void vring_push(struct vring_device *ring, uint16_t head, uint32_t written)
{
	struct vring_word *entry = (struct vring_word *)&ring->used->ring[ring->used_next & (ring->num - 1)];

	entry->value = head | (uint64_t)written << 32;
	ring->used_next++;
	/* Release: data and entry are there before the index says so. */
	__atomic_store_n((uint16_t *)&ring->used->idx, ring->used_next, __ATOMIC_RELEASE);
}

/* After pushes: whether the driver wants an interrupt for them (virtio 1.2, 2.7.7.2). */
static inline bool vring_signal_needed(struct vring_device *ring)
{
	uint16_t before = ring->signalled, now = ring->used_next, event;

	/* The index is published before the driver's wish is read: one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!ring->event_index)
		return !(vring_load16(&ring->available->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	/* The wish is behind the available ring (2.7.6). */
	event = vring_load16(&ring->available->ring[ring->num]);
	ring->signalled = now;
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

#endif
