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
#ifndef __always_inline
#define __always_inline inline __attribute__((__always_inline__))
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

static inline void descriptor_load(struct descriptor *d, const struct vring_desc *from)
{
	const volatile struct vring_word *words = (const volatile struct vring_word *)from;
	uint64_t w = words[1].value;

	d->address = words[0].value;
	d->length = (uint32_t)w;
	d->flags = (uint16_t)(w >> 32);
	d->next = (uint16_t)(w >> 48);
}

/* The driver's EVENT_IDX word is behind the used ring (virtio 1.2, 2.7.8). */
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
};

/*
 * A chain is read by one of two copies of the same code. The first has only what nearly every chain is made of (`direct`:
 * descriptors of the ring, buffers in the window), calls nothing and so needs no stack. At anything else it gives up with this for
 * a reason, and the second reads the chain from its beginning.
 */
static const char not_direct[] = "";

static __always_inline void *translate(
	const struct vring_device *ring, uint64_t address, uint32_t length, bool direct)
{
	uint64_t offset = address - ring->window;

	if (offset < ring->window_length && length <= ring->window_length - offset)
		return ring->window_data + offset;
	return direct || address + length < address ? NULL : ring->translate(ring->context, address, length);
}

/* Add one segment to the chain; NULL or why the ring is broken. */
static __always_inline const char *chain_add(struct reading *r, const struct descriptor *d, bool direct)
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
	segment->data = translate(r->ring, d->address, d->length, direct);
	if (!segment->data && direct)
		return not_direct;
	if (!segment->data)
		return d->address + d->length < d->address ? "a descriptor's address wraps"
							    : "a buffer outside shared memory";
	r->segment++;
	r->left--;
	return NULL;
}

/* The table of an indirect descriptor: a chain of its own (virtio 1.2, 2.7.5.3). */
static const char *chain_indirect(struct reading *r, const struct descriptor *outer)
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
	table = translate(r->ring, outer->address, outer->length, false);
	if (!table && outer->address + outer->length >= outer->address)
		return "an indirect table outside shared memory";
	if (!table)
		return "an indirect table's address wraps";
	/* Each turn adds a segment, and there is an end to these. */
	for (;;) {
		descriptor_load(&d, &table[i]);
		if (d.flags & VRING_DESC_F_INDIRECT)
			return "an indirect descriptor in an indirect table";
		why = chain_add(r, &d, false);
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
static __always_inline const char *chain_descriptors(struct reading *r, uint32_t index, bool direct)
{
	struct descriptor d;
	const char *why;

	for (;;) {
		descriptor_load(&d, &r->ring->desc[index]);
		if (d.flags & VRING_DESC_F_INDIRECT)
			return direct ? not_direct : chain_indirect(r, &d);
		why = chain_add(r, &d, direct);
		if (why || !(d.flags & VRING_DESC_F_NEXT))
			return why;
		if (d.next >= r->ring->num)
			return "a next index outside the ring";
		index = d.next;
	}
}

/* All of a chain; NULL or why the ring is broken. */
static __always_inline const char *chain_read(
	struct vring_device *ring, struct vring_chain *chain, uint16_t head, bool direct)
{
	struct reading r = {.ring = ring, .segment = chain->segment, .left = VRING_SEGMENTS};
	const char *why = chain_descriptors(&r, head, direct);

	if (why)
		return why;
	if ((r.readable_bytes | r.writable_bytes) > UINT32_MAX)
		return "a chain of 4 GiB and more";
	chain->head = head;
	chain->segments = VRING_SEGMENTS - r.left;
	chain->readable = r.readable;
	chain->readable_bytes = r.readable_bytes;
	chain->writable_bytes = r.writable_bytes;
	ring->next++;
	return NULL;
}

static __attribute__((__noinline__)) int chain_read_any(
	struct vring_device *ring, struct vring_chain *chain, uint16_t head)
{
	const char *why = chain_read(ring, chain, head, false);

	return why ? ring_broken(ring, why) : 1;
}

int vring_next(struct vring_device *ring, struct vring_chain *chain)
{
	uint16_t head, waiting;

	if (ring->broken)
		return -EPROTO;
	/* Acquire: the entries and descriptors that the index announces are read after it. */
	waiting = load16_acquire(&ring->available->idx) - ring->next;
	if (!waiting)
		return 0;
	if (waiting > ring->num)
		return ring_broken(ring, "the available index jumped");
	head = vring_load16(&ring->available->ring[ring->next & (ring->num - 1)]);
	if (head >= ring->num)
		return ring_broken(ring, "a head outside the ring");
	return chain_read(ring, chain, head, true) ? chain_read_any(ring, chain, head) : 1;
}

bool vring_notify_enable(struct vring_device *ring)
{
	if (ring->event_index)
		store16(available_event(ring), ring->next);
	else
		store16(&ring->used->flags, 0);
	/* The request for a notification before the look at the index: one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vring_load16(&ring->available->idx) != ring->next;
}

void vring_notify_disable(struct vring_device *ring)
{
	/* With EVENT_IDX: the event that is asked for lies behind all that can still come. */
	if (ring->event_index)
		store16(available_event(ring), ring->next - 1);
	else
		store16(&ring->used->flags, VRING_USED_F_NO_NOTIFY);
}
