// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The device's side of a split virtqueue. See vring.h for what it promises.
 *
 * Shared memory is read and written only through the load_ and store_ helpers below, each field
 * once.
 */
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/string.h>
#else
#include <errno.h>
#endif
#include <linux/virtio_config.h>
#include "vring.h"

#ifndef UINT32_MAX
#define UINT32_MAX U32_MAX
#endif
#ifndef BIT_ULL
#define BIT_ULL(n) (1ull << (n))
#endif

/*
 * The ring is little endian, as we are (the module's and the daemon's build refuse anything else).
 */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "big endian"
#endif

static inline uint16_t load16(const void *p)
{
	return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
}

static inline uint16_t load16_acquire(const void *p)
{
	return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
}

static inline void store16(void *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)p, v, __ATOMIC_RELAXED);
}

/* A descriptor's two words, each read once. The driver may be writing: any mixture must be safe. */
struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

/*
 * An indirect table may lie at any address, hence the alignment; volatile, so that no word is read
 * again.
 */
struct word {
	uint64_t value;
} __attribute__((packed, may_alias));

static inline void descriptor_load(struct descriptor *d, const struct vring_desc *from)
{
	const volatile struct word *words = (const volatile struct word *)from;
	uint64_t w = words[1].value;

	d->address = words[0].value;
	d->length = (uint32_t)w;
	d->flags = (uint16_t)(w >> 32);
	d->next = (uint16_t)(w >> 48);
}

/* EVENT_IDX words: behind the rings (virtio 1.2, 2.7.6 and 2.7.8). */
static inline uint16_t *used_event(struct vring_device *ring)
{
	return (uint16_t *)&ring->available->ring[ring->num];
}

static inline uint16_t *available_event(struct vring_device *ring)
{
	return (uint16_t *)&ring->used->ring[ring->num];
}

static int ring_broken(struct vring_device *ring, const char *why)
{
	ring->broken = why;
	return -EPROTO;
}

static void *area(struct vring_device *ring, uint64_t address, uint32_t length, uint32_t align)
{
	if (address % align || address + length < address)
		return NULL;
	return ring->translate(ring->context, address, length);
}

int vring_device_start(struct vring_device *ring, uint16_t num, uint64_t desc, uint64_t available,
	uint64_t used, uint64_t features, vring_translate_fn translate, void *context)
{
	if (!num || (num & (num - 1)) || num > 32768)
		return -EINVAL;
	*ring = (struct vring_device){
		.num = num,
		.event_index = features & BIT_ULL(VIRTIO_RING_F_EVENT_IDX),
		.indirect = features & BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC),
		.translate = translate,
		.context = context,
	};
	if (desc % 16 || available % 2 || used % 4)
		return -EINVAL;
	ring->desc = area(ring, desc, num * 16u, 16);
	ring->available = area(ring, available, 6 + 2u * num, 2);
	ring->used = area(ring, used, 6 + 8u * num, 4);
	return ring->desc && ring->available && ring->used ? 0 : -EFAULT;
}

/* A chain while it is read: in registers, where stores to the chain itself leave it alone. */
struct reading {
	struct vring_device *ring;
	struct vring_segment *segment; /* the next one */
	uint32_t left;		       /* how many more there may be */
	uint32_t readable;
	uint64_t readable_bytes, writable_bytes;
	uint64_t window, window_length;
	char *window_data;
};

/* What the window does not hold; NULL when nobody shares it with us. */
static __attribute__((__noinline__)) void *translate_elsewhere(
	struct vring_device *ring, uint64_t address, uint32_t length)
{
	return address + length < address ? NULL : ring->translate(ring->context, address, length);
}

static inline void *translate(const struct reading *r, uint64_t address, uint32_t length)
{
	uint64_t offset = address - r->window;

	if (offset < r->window_length && length <= r->window_length - offset)
		return r->window_data + offset;
	return translate_elsewhere(r->ring, address, length);
}

/* Add one segment to the chain; NULL or why the ring is broken. */
static inline const char *chain_add(struct reading *r, const struct descriptor *d)
{
	struct vring_segment *segment = r->segment;

	if (!r->left)
		return "a chain is too long, or a loop";
	if (!d->length)
		return "a descriptor of no bytes";
	segment->writable = d->flags & VRING_DESC_F_WRITE;
	if (segment->writable) {
		r->writable_bytes += d->length;
	} else {
		if (r->writable_bytes)
			return "a readable descriptor after a writable one";
		r->readable_bytes += d->length;
		r->readable++;
	}
	segment->length = d->length;
	segment->data = translate(r, d->address, d->length);
	if (!segment->data)
		return d->address + d->length < d->address ? "a descriptor's address wraps"
							    : "a buffer outside shared memory";
	r->segment++;
	r->left--;
	return NULL;
}

/* The table of an indirect descriptor: a chain of its own (virtio 1.2, 2.7.5.3). */
static inline const char *chain_indirect(struct reading *r, const struct descriptor *outer)
{
	const struct vring_desc *table;
	struct descriptor d;
	uint32_t entries = outer->length / sizeof(*table), i = 0;
	const char *why;

	if (!r->ring->indirect)
		return "an indirect descriptor that was not negotiated";
	if (outer->flags & VRING_DESC_F_NEXT)
		return "an indirect descriptor with a next";
	if (!outer->length || outer->length % sizeof(*table) || entries > 65536)
		return "an indirect table of a bad size";
	table = translate(r, outer->address, outer->length);
	if (!table && outer->address + outer->length >= outer->address)
		return "an indirect table outside shared memory";
	if (!table)
		return "an indirect table's address wraps";
	/* Each turn adds a segment, and there is an end to these. */
	for (;;) {
		descriptor_load(&d, &table[i]);
		if (d.flags & VRING_DESC_F_INDIRECT)
			return "an indirect descriptor in an indirect table";
		why = chain_add(r, &d);
		if (why)
			return why;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return NULL;
		if (d.next >= entries)
			return "a next index outside its indirect table";
		i = d.next;
	}
}

/* From descriptor `index` of the ring on. */
static inline const char *chain_read_all(struct reading *r, uint32_t index)
{
	struct descriptor d;
	const char *why;

	for (;;) {
		descriptor_load(&d, &r->ring->desc[index]);
		if (d.flags & VRING_DESC_F_INDIRECT)
			return chain_indirect(r, &d);
		why = chain_add(r, &d);
		if (why || !(d.flags & VRING_DESC_F_NEXT))
			return why;
		if (d.next >= r->ring->num)
			return "a next index outside the ring";
		index = d.next;
	}
}

int vring_next(struct vring_device *ring, struct vring_chain *chain)
{
	struct reading r = {
		.ring = ring,
		.segment = chain->segment,
		.left = VRING_SEGMENTS,
		.window = ring->window,
		.window_length = ring->window_length,
		.window_data = ring->window_data,
	};
	const char *why;
	uint16_t head, waiting;

	if (ring->broken)
		return -EPROTO;
	/* Acquire: the entries and descriptors that the index announces are read after it. */
	waiting = load16_acquire(&ring->available->idx) - ring->next;
	if (!waiting)
		return 0;
	if (waiting > ring->num)
		return ring_broken(ring, "the available index jumped");
	head = load16(&ring->available->ring[ring->next & (ring->num - 1)]);
	if (head >= ring->num)
		return ring_broken(ring, "a head outside the ring");
	why = chain_read_all(&r, head);
	if (why)
		return ring_broken(ring, why);
	if (r.readable_bytes > UINT32_MAX || r.writable_bytes > UINT32_MAX)
		return ring_broken(ring, "a chain of 4 GiB and more");
	chain->head = head;
	chain->segments = VRING_SEGMENTS - r.left;
	chain->readable = r.readable;
	chain->readable_bytes = r.readable_bytes;
	chain->writable_bytes = r.writable_bytes;
	ring->next++;
	return 1;
}

bool vring_notify_enable(struct vring_device *ring)
{
	if (ring->event_index)
		store16(available_event(ring), ring->next);
	else
		store16(&ring->used->flags, 0);
	/* The request for a notification before the look at the index: one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(&ring->available->idx) != ring->next;
}

void vring_notify_disable(struct vring_device *ring)
{
	/* With EVENT_IDX: the event that is asked for lies behind all that can still come. */
	if (ring->event_index)
		store16(available_event(ring), ring->next - 1);
	else
		store16(&ring->used->flags, VRING_USED_F_NO_NOTIFY);
}

void vring_push(struct vring_device *ring, uint16_t head, uint32_t written)
{
	/* The used ring is aligned to 4 only. */
	struct word *entry = (struct word *)&ring->used->ring[ring->used_next & (ring->num - 1)];

	entry->value = head | (uint64_t)written << 32;
	ring->used_next++;
	/* Release: data and entry are there before the index says so. */
	__atomic_store_n((uint16_t *)&ring->used->idx, ring->used_next, __ATOMIC_RELEASE);
}

bool vring_signal_needed(struct vring_device *ring)
{
	uint16_t before = ring->signalled, now = ring->used_next, event;

	/* The index is published before the driver's wish is read: one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!ring->event_index)
		return !(load16(&ring->available->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	event = load16(used_event(ring));
	ring->signalled = now;
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}
