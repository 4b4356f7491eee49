// SPDX-License-Identifier: MIT
/*
 * The split virtqueue (virtio 1.2, 2.7): see virtqueue.h for what is trusted and what is not. This file reads two things
 * that the device writes, the used ring and its event index, and believes neither.
 */
#include <lichen/irq.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/tracing.h>
#include <asm/errno.h>
#include <arch/clock.h>
#include <virtio/virtqueue.h>

#define LATENCY_MAX (1u << 16) /* ticks: what is slower does not count more */
#define USED_ALIGN  64 /* own cache lines for what the other side writes */

static unsigned order_of(size_t bytes)
{
	unsigned order = 0;

	while ((PAGE_SIZE << order) < bytes)
		order++;
	return order;
}

static size_t used_offset(u16 size)
{
	size_t avail = sizeof(struct vring_desc) * size + sizeof(struct vring_avail) +
		       sizeof(__virtio16) * (size + 1u);

	return align_up(avail, USED_ALIGN);
}

static size_t ring_bytes(u16 size)
{
	return used_offset(size) + sizeof(struct vring_used) + sizeof(vring_used_elem_t) * size +
	       sizeof(__virtio16);
}

static _Atomic u16 *avail_event(struct virtqueue *queue)
{
	return (_Atomic u16 *)&queue->used->ring[queue->size];
}

static _Atomic u16 *used_event(struct virtqueue *queue)
{
	return (_Atomic u16 *)&queue->avail->ring[queue->size];
}

void virtqueue_reset(struct virtqueue *queue)
{
	memset(queue->desc, 0, ring_bytes(queue->size));
	for (u32 i = 0; i < queue->size; i++) {
		queue->slots[i] = (struct virtqueue_slot){0};
		queue->next[i] = (u16)(i + 1);
	}
	queue->free_head = 0;
	queue->free_count = queue->size;
	queue->available = queue->kicked = queue->used_seen = queue->in_flight = 0;
	queue->put_left = 0;
	queue->armed_at = 0;
	queue->batch_since = 0;
	queue->batch_depth = 0;
	queue->batch_limit = queue->batch_most = 1;
	queue->latency = LATENCY_MAX;
	queue->broken = NULL;
}

struct virtqueue *virtqueue_create(u16 index, u16 size, u32 indirect_size, bool event_index)
{
	struct virtqueue *queue = kzalloc(sizeof(*queue));
	char *ring;

	if (!queue)
		return NULL;
	spin_init(&queue->lock);
	timer_init(&queue->batch_timer, virtqueue_batch_timer);
	queue->index = index;
	queue->size = size;
	queue->event_index = event_index;
	queue->slots = kzalloc(sizeof(*queue->slots) * size);
	queue->next = kzalloc(sizeof(*queue->next) * size);
	queue->ring_page = page_alloc(order_of(ring_bytes(size)), ALLOC_POOL | ALLOC_ZERO);
	if (indirect_size) {
		size_t bytes = sizeof(struct vring_desc) * indirect_size * size;

		queue->indirect_page = page_alloc(order_of(bytes), ALLOC_POOL | ALLOC_ZERO);
		queue->indirect_size = indirect_size;
	}
	if (!queue->slots || !queue->next || !queue->ring_page || (indirect_size && !queue->indirect_page)) {
		virtqueue_destroy(queue);
		return NULL;
	}
	if (indirect_size) {
		queue->indirect = page_address(queue->indirect_page);
		queue->indirect_phys = page_phys(queue->indirect_page);
	}
	ring = page_address(queue->ring_page);
	queue->desc = (struct vring_desc *)ring;
	queue->avail = (struct vring_avail *)(ring + sizeof(struct vring_desc) * size);
	queue->used = (struct vring_used *)(ring + used_offset(size));
	spin_lock(&queue->lock); /* nobody else knows it yet */
	virtqueue_reset(queue);
	spin_unlock(&queue->lock);
	return queue;
}

void virtqueue_destroy(struct virtqueue *queue)
{
	unsigned long flags = spin_lock_irqsave(&queue->lock);

	/* The timer, if it runs just now, does not start itself again. */
	queue->batched = false;
	queue->batch_depth = 0;
	spin_unlock_irqrestore(&queue->lock, flags);
	timer_cancel(&queue->batch_timer);
	if (queue->ring_page)
		page_put(queue->ring_page);
	if (queue->indirect_page)
		page_put(queue->indirect_page);
	kfree(queue->slots);
	kfree(queue->next);
	kfree(queue);
}

long virtqueue_begin(struct virtqueue *queue, u32 n)
{
	bool indirect;
	u32 direct = n;

	if (unlikely(queue->stopped))
		return -EAGAIN;
	if (unlikely(queue->broken))
		return -EIO;
	/* Small requests go into the ring itself, which saves the device a read, as long as it has room to spare. */
	indirect = queue->indirect && n <= queue->indirect_size &&
		   (n > VIRTQUEUE_DIRECT_MAX || queue->free_count < queue->size / 2);
	if (indirect)
		direct = 1;
	if (unlikely(!n || direct > queue->size))
		return -EINVAL;
	if (unlikely(direct > queue->free_count))
		return -ENOSPC;
	queue->put_head = queue->free_head;
	queue->put_left = (u16)n;
	queue->put_writable = 0;
	queue->put_indirect = indirect;
	queue->slots[queue->put_head].count = (u16)direct;
	if (indirect) {
		queue->put_table = queue->indirect + (size_t)queue->put_head * queue->indirect_size;
		queue->put_at = 0;
	} else {
		queue->put_table = queue->desc;
		queue->put_at = queue->put_head;
	}
	return queue->put_head;
}

void virtqueue_end(struct virtqueue *queue, void *token)
{
	u16 head = queue->put_head;
	struct virtqueue_slot *slot = &queue->slots[head];

	if (queue->put_indirect) {
		struct vring_desc *desc = &queue->desc[head];

		desc->addr = queue->indirect_phys + (u64)head * queue->indirect_size * sizeof(*desc);
		desc->len = (u32)((queue->put_last + 1u) * sizeof(*desc));
		desc->flags = VRING_DESC_F_INDIRECT;
		desc->next = 0;
		slot->last = head;
	} else {
		slot->last = queue->put_last;
	}
	queue->free_head = queue->next[slot->last];
	queue->free_count -= slot->count;
	slot->token = token;
	slot->writable = queue->put_writable;
	if (!queue->in_flight++)
		queue->alone_since = clock_ticks();
	else
		queue->alone_since = 0;
	queue->avail->ring[queue->available & (queue->size - 1)] = head;
	queue->available++;
	atomic_store_explicit((_Atomic u16 *)&queue->avail->idx, queue->available, memory_order_release);
}

void virtqueue_kick(struct virtqueue *queue)
{
	u16 old = queue->kicked;
	bool wanted;

	if (unlikely(queue->batch_depth))
		atomic_store_explicit(used_event(queue), (u16)(queue->used_seen + virtqueue_batch(queue) - 1), memory_order_relaxed);
	/* The new index must be seen before the wish not to be notified is read (2.7.13.4.1). */
	atomic_thread_fence(memory_order_seq_cst);
	queue->kicked = queue->available;
	if (queue->event_index)
		wanted = vring_need_event(atomic_load_explicit(avail_event(queue), memory_order_relaxed), queue->available, old);
	else
		wanted = !(*(volatile __virtio16 *)&queue->used->flags & VRING_USED_F_NO_NOTIFY);
	if (wanted && likely(!queue->broken && !queue->stopped)) {
		if (trace_enabled())
			return virtqueue_trace_notify(queue);
		io_write32(queue->notify, queue->index);
	}
}

/* Gives the descriptors of a chain back. */
static void chain_free(struct virtqueue *queue, u16 head)
{
	struct virtqueue_slot *slot = &queue->slots[head];

	queue->next[slot->last] = queue->free_head;
	queue->free_head = head;
	queue->free_count += slot->count;
	slot->token = NULL;
	queue->in_flight--;
}

void *virtqueue_take(struct virtqueue *queue, u32 *head, u32 *bytes)
{
	u16 done = atomic_load_explicit((_Atomic u16 *)&queue->used->idx, memory_order_acquire);
	const volatile struct vring_used_elem *entry;
	u32 id, length;
	void *token;

	if (done == queue->used_seen || unlikely(queue->broken))
		return NULL;
	if (unlikely((u16)(done - queue->used_seen) > queue->in_flight)) {
		queue->broken = "used index beyond what is in flight";
		return NULL;
	}
	entry = &queue->used->ring[queue->used_seen & (queue->size - 1)];
	id = entry->id;
	length = entry->len;
	if (unlikely(id >= queue->size || !queue->slots[id].token)) {
		queue->broken = "used entry of a request that is not in flight";
		return NULL;
	}
	if (unlikely(length > queue->slots[id].writable)) {
		queue->broken = "used entry longer than its buffers";
		return NULL;
	}
	token = queue->slots[id].token;
	chain_free(queue, (u16)id);
	queue->used_seen++;
	/* A mean over the last eight, of requests that had the queue for themselves. */
	if (!queue->in_flight && queue->alone_since)
		queue->latency += ((s64)min(clock_ticks() - queue->alone_since, (u64)LATENCY_MAX) - (s64)queue->latency) / 8;
	*head = id;
	*bytes = length;
	return token;
}

bool virtqueue_rearm(struct virtqueue *queue)
{
	if (unlikely(queue->broken))
		return false;
	if (queue->event_index) {
		u32 seen = queue->used_seen, depth = queue->in_flight + (u16)(seen - queue->armed_at), event = seen;

		if (unlikely((depth | queue->batch_depth) >= VIRTQUEUE_BATCH_DEPTH))
			event += virtqueue_batch_next(queue, depth - queue->in_flight) - 1u;
		queue->armed_at = (u16)seen;
		atomic_store_explicit(used_event(queue), (u16)event, memory_order_relaxed);
	}
	/* Either the device sees the wish, or we see its entry. */
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit((_Atomic u16 *)&queue->used->idx, memory_order_relaxed) != queue->used_seen;
}

void virtqueue_disarm(struct virtqueue *queue)
{
	/* The event that is asked for lies behind all that can still come. */
	if (queue->event_index)
		atomic_store_explicit(used_event(queue), (u16)(*(volatile u16 *)&queue->used_seen - 1), memory_order_relaxed);
}

void *virtqueue_detach(struct virtqueue *queue)
{
	void *token;

	for (u32 i = 0; queue->in_flight && i < queue->size; i++) {
		token = queue->slots[i].token;
		if (token) {
			chain_free(queue, (u16)i);
			return token;
		}
	}
	return NULL;
}
