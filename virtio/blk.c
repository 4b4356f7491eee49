// SPDX-License-Identifier: MIT
/*
 * virtio-blk (virtio 1.2, 5.2): block requests to virtqueue chains and back. One queue a CPU where the device offers them:
 * a request goes in and comes back on the CPU that submitted it.
 *
 *     header (device reads) | data segments, straight from the request | status (device writes)
 *
 * Header and status of the request whose chain begins at descriptor n lie in slot n, made at probe: nothing is allocated
 * or copied on the way. A request that finds the ring full, or the device in a reset, waits in `pending`.
 */
#include <lichen/block.h>
#include <lichen/list.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/task.h>
#include <lichen/tracing.h>
#include <asm/errno.h>
#define VIRTIO_BLK_NO_LEGACY
#include <linux/virtio_blk.h>
#include <virtio/device.h>

#define F_FLUSH	    9 /* VIRTIO_BLK_F_FLUSH: the uapi header counts it among the legacy bits */
#define QUEUE_SIZE  128u
#define SEGMENTS_MAX 126u /* with header and status: a table of 2 KiB */
#define CAPACITY_MAX (1ull << 54) /* sectors: byte offsets fit s64 */
#define BLK_MAJOR   254
#define BLK_MINORS  16 /* a disk */

/* What the device sees of a request, besides its data. */
struct blk_slot {
	struct virtio_blk_outhdr header;
	struct virtio_blk_discard_write_zeroes range;
	u8 status;
} __aligned(64);

struct blk_queue {
	struct virtqueue *queue; /* its lock guards this too */
	struct list pending;	 /* struct block_request.node */
	struct page *slot_page;
	struct blk_slot *slots;
	phys_addr_t slots_phys;
};

struct blk {
	struct block_device block;
	struct virtio_device *device;
	u32 count;
	struct blk_queue queues[];
};

static const u8 blk_type[] = {
	[BLOCK_READ] = VIRTIO_BLK_T_IN,
	[BLOCK_WRITE] = VIRTIO_BLK_T_OUT,
	[BLOCK_FLUSH] = VIRTIO_BLK_T_FLUSH,
	[BLOCK_DISCARD] = VIRTIO_BLK_T_DISCARD,
	[BLOCK_WRITE_ZEROES] = VIRTIO_BLK_T_WRITE_ZEROES,
	[BLOCK_GET_ID] = VIRTIO_BLK_T_GET_ID,
};

/* Puts a request into the ring: 0, or virtqueue_begin's error. */
static long blk_offer(struct virtqueue *queue, struct block_request *request) REQUIRES(queue->lock)
{
	struct blk_queue *q = queue->private;
	bool range = request->op == BLOCK_DISCARD || request->op == BLOCK_WRITE_ZEROES;
	bool in = request->op == BLOCK_READ || request->op == BLOCK_GET_ID;
	long head = virtqueue_begin(queue, 2 + request->segment_count + range);
	struct blk_slot *slot;
	phys_addr_t phys;

	if (unlikely(head < 0))
		return head;
	slot = &q->slots[head];
	phys = q->slots_phys + (u64)head * sizeof(*slot);
	slot->header.type = blk_type[request->op];
	slot->header.ioprio = 0;
	slot->header.sector = in || request->op == BLOCK_WRITE ? request->sector : 0;
	slot->status = 0xff;
	virtqueue_put(queue, phys, sizeof(slot->header), false);
	if (range) {
		slot->range.sector = request->sector;
		slot->range.num_sectors = (u32)request->sectors;
		slot->range.flags = 0;
		virtqueue_put(queue, phys + offsetof(struct blk_slot, range), sizeof(slot->range), false);
	}
	for (u32 i = 0; i < request->segment_count; i++)
		virtqueue_put(queue, request->segments[i].address, request->segments[i].bytes, in);
	virtqueue_put(queue, phys + offsetof(struct blk_slot, status), 1, true);
	if (trace_enabled())
		virtqueue_trace_submit(queue, (u32)head, request);
	virtqueue_end(queue, request);
	return 0;
}

static void blk_poll(struct block_request *request, struct task *self)
{
	virtqueue_poll(request->queue, &request->state, BLOCK_PENDING, self, request->hipri);
}

static void blk_submit(struct block_device *device, struct block_request *request)
{
	struct blk *blk = device->driver;
	struct blk_queue *q = &blk->queues[blk->count == 1 ? 0 : cpu_id() % blk->count];
	struct virtqueue *queue = q->queue;
	unsigned long flags = spin_lock_irqsave(&queue->lock);
	long error = -ENOSPC;

	request->queue = queue;
	request->poll = blk_poll;
	if (likely(list_empty(&q->pending)))
		error = blk_offer(queue, request);
	if (likely(!error)) {
		virtqueue_kick(queue);
	} else if (error == -ENOSPC || (error == -EAGAIN && atomic_load(&blk->device->state) != VIRTIO_FAILED)) {
		list_add_tail(&q->pending, &request->node);
		error = 0;
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	if (unlikely(error))
		block_request_done(request, error == -EAGAIN ? -EIO : error);
}

static long blk_result(struct blk_queue *q, struct block_request *request, u32 head, u32 bytes)
{
	u8 status = *(volatile u8 *)&q->slots[head].status;

	if (likely(status == VIRTIO_BLK_S_OK)) {
		/* Success, but not all was written: what is in the buffers is not the disk's. */
		if (unlikely(request->op == BLOCK_READ && bytes <= request->sectors * BLOCK_SECTOR))
			return -EIO;
		return 0;
	}
	return status == VIRTIO_BLK_S_UNSUPP ? -EOPNOTSUPP : -EIO;
}

static void pending_offer(struct virtqueue *queue) REQUIRES(queue->lock)
{
	struct blk_queue *q = queue->private;
	bool any = false;

	while (!list_empty(&q->pending)) {
		struct block_request *request = list_first(&q->pending, struct block_request, node);

		if (blk_offer(queue, request))
			break;
		list_remove(&request->node);
		any = true;
	}
	if (any)
		virtqueue_kick(queue);
}

static void blk_interrupt(struct virtqueue *queue)
{
	struct blk_queue *q = queue->private;
	struct block_request *request;
	unsigned long flags = spin_lock_irqsave(&queue->lock);
	const char *broken;
	bool any = false; /* who polls may have found nothing */
	u32 head, bytes;

	do {
		while ((request = virtqueue_take(queue, &head, &bytes))) {
			if (trace_enabled())
				virtqueue_trace_complete(queue, head, request);
			block_request_done(request, blk_result(q, request, head, bytes));
			any = true;
		}
	} while (virtqueue_rearm(queue));
	if (unlikely(!list_empty(&q->pending)))
		pending_offer(queue);
	broken = queue->broken;
	if (likely(any))
		queue->device->resets = 0;
	spin_unlock_irqrestore(&queue->lock, flags);
	if (unlikely(broken))
		virtio_device_fail(queue->device, broken);
}

static void blk_failed(struct virtio_device *device)
{
	struct blk *blk = device->private;
	struct block_request *request;

	for (u32 i = 0; blk && i < blk->count; i++) {
		struct blk_queue *q = &blk->queues[i];
		unsigned long flags;

		if (!q->queue)
			continue;
		flags = spin_lock_irqsave(&q->queue->lock);
		while ((request = virtqueue_detach(q->queue)))
			block_request_done(request, -EIO);
		while (!list_empty(&q->pending)) {
			request = list_first(&q->pending, struct block_request, node);
			list_remove(&request->node);
			block_request_done(request, -EIO);
		}
		spin_unlock_irqrestore(&q->queue->lock, flags);
	}
}

/* Everything that was not completed goes in again: virtio-blk promises no order among requests in flight. */
static void blk_restore(struct virtio_device *device, bool offer)
{
	struct blk *blk = device->private;
	struct block_request *request;

	for (u32 i = 0; i < blk->count; i++) {
		struct blk_queue *q = &blk->queues[i];
		unsigned long flags = spin_lock_irqsave(&q->queue->lock);

		if (offer)
			pending_offer(q->queue);
		else
			while ((request = virtqueue_detach(q->queue)))
				list_add(&q->pending, &request->node);
		spin_unlock_irqrestore(&q->queue->lock, flags);
	}
}

static void blk_config_changed(struct virtio_device *device)
{
	struct blk *blk = device->private;
	struct virtio_blk_config config;

	virtio_config_read(device, 0, &config, offsetof(struct virtio_blk_config, size_max));
	if (config.capacity <= CAPACITY_MAX && config.capacity != blk->block.sectors)
		block_resize(&blk->block, config.capacity);
}

static void blk_name(char *name, size_t bytes, u32 index)
{
	if (index < 26)
		snprintf(name, bytes, "vd%c", 'a' + index);
	else
		snprintf(name, bytes, "vd%c%c", 'a' + index / 26 - 1, 'a' + index % 26);
}

static bool block_size_ok(u32 bytes)
{
	return bytes >= BLOCK_SECTOR && bytes <= PAGE_SIZE && !(bytes & (bytes - 1));
}

/* The device's limits, each made sane: 0, or -EINVAL for one that cannot be served. */
static long blk_configure(struct virtio_device *device, struct block_device *block, u32 *queues)
{
	struct virtio_blk_config config = {0};

	virtio_config_read(device, 0, &config, min(sizeof(config), device->register_bytes - 0x100));
	*queues = virtio_has(device, VIRTIO_BLK_F_MQ) ? min(max((u32)config.num_queues, 1u), min(cpu_count(), (u32)LICHEN_QUEUES)) : 1;
	if (config.capacity > CAPACITY_MAX)
		return -EINVAL;
	block->sectors = config.capacity;
	block->logical_block = virtio_has(device, VIRTIO_BLK_F_BLK_SIZE) ? config.blk_size : BLOCK_SECTOR;
	if (!block_size_ok(block->logical_block))
		return -EINVAL;
	block->physical_block = block->logical_block;
	if (virtio_has(device, VIRTIO_BLK_F_TOPOLOGY) && config.physical_block_exp < 8) {
		block->physical_block = block->logical_block << config.physical_block_exp;
		block->optimal_bytes = config.opt_io_size < (1u << 16) ? config.opt_io_size * block->logical_block : 0;
	}
	block->max_segments = SEGMENTS_MAX;
	if (virtio_has(device, VIRTIO_BLK_F_SEG_MAX))
		block->max_segments = min(max(config.seg_max, 1u), SEGMENTS_MAX);
	block->max_segment_bytes = 1u << 30;
	if (virtio_has(device, VIRTIO_BLK_F_SIZE_MAX)) {
		if (config.size_max < PAGE_SIZE)
			return -EINVAL;
		block->max_segment_bytes = min(block->max_segment_bytes, align_down(config.size_max, (u32)PAGE_SIZE));
	}
	block->max_sectors = 0xffffffffu / BLOCK_SECTOR;
	block->read_only = virtio_has(device, VIRTIO_BLK_F_RO);
	block->has_flush = virtio_has(device, F_FLUSH);
	block->has_discard = virtio_has(device, VIRTIO_BLK_F_DISCARD) && config.max_discard_sectors;
	block->max_discard_sectors = config.max_discard_sectors;
	block->discard_align = config.discard_sector_alignment;
	block->has_write_zeroes = virtio_has(device, VIRTIO_BLK_F_WRITE_ZEROES) && config.max_write_zeroes_sectors;
	block->max_zeroes_sectors = config.max_write_zeroes_sectors;
	return 0;
}

static const struct block_ops blk_ops = {.submit = blk_submit};

static long blk_queue_init(struct blk *blk, u32 i)
{
	struct blk_queue *q = &blk->queues[i];
	unsigned order = 0;
	long error;

	list_init(&q->pending);
	error = virtio_queue_setup(blk->device, i, QUEUE_SIZE, blk->block.max_segments + 2, i, blk_interrupt);
	if (error)
		return error;
	q->queue = blk->device->queues[i];
	q->queue->private = q;
	q->queue->batched = q->queue->event_index;
	while ((PAGE_SIZE << order) < sizeof(struct blk_slot) * q->queue->size)
		order++;
	q->slot_page = page_alloc(order, ALLOC_POOL | ALLOC_ZERO);
	if (!q->slot_page)
		return -ENOMEM;
	q->slots = page_address(q->slot_page);
	q->slots_phys = page_phys(q->slot_page);
	/* Without indirect tables a chain must fit into the ring. */
	if (!q->queue->indirect)
		blk->block.max_segments = min(blk->block.max_segments, q->queue->size > 3 ? q->queue->size - 3u : 1u);
	return 0;
}

static struct blk *blk_create(struct virtio_device *device)
{
	struct block_device limits = {0};
	struct blk *blk;
	u32 count;
	long error = blk_configure(device, &limits, &count);

	if (error)
		return ERR_PTR(error);
	blk = kzalloc(sizeof(*blk) + sizeof(blk->queues[0]) * count);
	if (!blk)
		return ERR_PTR(-ENOMEM);
	blk->block = limits;
	blk->device = device;
	blk->block.driver = blk;
	blk->block.ops = &blk_ops;
	blk->block.whole = &blk->block;
	blk->block.dev = (u64)BLK_MAJOR << 20 | (device->index * BLK_MINORS);
	blk_name(blk->block.name, sizeof(blk->block.name), device->index);
	device->private = blk;
	/* Fewer queues than offered will do, none won't. */
	for (blk->count = 0; blk->count < count; blk->count++) {
		error = blk_queue_init(blk, blk->count);
		if (error)
			break;
	}
	return blk->count ? blk : ERR_PTR(error);
}

ASYNC(blk_probe, VIRTIO_PROBE_ARGS struct blk *blk; struct page *page; struct block_segment segment;)
{
	ASYNC_BEGIN;
	f->blk = blk_create(f->device);
	if (IS_ERR(f->blk))
		ASYNC_RETURN(PTR_ERR(f->blk));
	virtio_device_ready(f->device);
	f->page = page_alloc(0, ALLOC_POOL | ALLOC_ZERO);
	if (!f->page)
		ASYNC_RETURN(-ENOMEM);
	/* The buffer is exactly the length of an identifier: not whole sectors, so it bypasses block_submit's checks. */
	f->segment = (struct block_segment){page_phys(f->page), BLOCK_ID_BYTES};
	AWAIT(block_io, .device = &f->blk->block, .op = BLOCK_GET_ID, .segments = &f->segment, .segment_count = 1);
	if (!RESULT)
		memcpy(f->blk->block.serial, page_address(f->page), BLOCK_ID_BYTES);
	page_put(f->page);
	AWAIT(block_register, .device = &f->blk->block);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

const struct virtio_driver virtio_blk_driver = {
	.id = VIRTIO_ID_BLOCK,
	.name = "blk",
	.features = BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_RO) |
		    BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_MQ) | BIT(F_FLUSH) |
		    BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES),
	.probe = &blk_probe_fn,
	.config_changed = blk_config_changed,
	.failed = blk_failed,
	.restore = blk_restore,
};
