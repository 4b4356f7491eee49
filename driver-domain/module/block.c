// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A block device as a virtio disk (block.h): attach, start, reset.
 *
 * Reset: the queues stop taking chains, the bios in flight end, and only then do we say that we are
 * done: after that no byte of the frontend's memory is touched on behalf of the old driver.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/file.h>
#include <linux/slab.h>
#include <linux/virtio_byteorder.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include "block.h"

#define QUEUE_MAX 256
/* Data segments that we offer; a chain has a header and a status besides. */
#define SEGMENTS_MAX (VRING_SEGMENTS - 2)
#define SECTORS_MAX  (UINT_MAX >> SECTOR_SHIFT)

static void block_kick(struct slot *slot, u64 queues)
{
	struct block *block = slot->owner;

	for (; queues; queues &= queues - 1) {
		unsigned int q = __ffs64(queues);

		if (q < block->queue_count && block->queues[q].running)
			block_serve(&block->queues[q].watch);
	}
}

/* ---- start and reset ---- */

static int block_queue_start(struct block *block, struct block_queue *queue)
{
	struct lichen_queue_view *view = &queue->view;
	unsigned int i;
	int error;

	view_read_queue(block->slot->index, queue->index, view);
	if (!view->ready)
		return 0;
	if (!view->num || view->num > QUEUE_MAX)
		return -EINVAL;
	if (queue->request_count < view->num) {
		kvfree(queue->requests);
		queue->request_count = 0;
		queue->requests = kvcalloc(view->num, sizeof(*queue->requests), GFP_KERNEL);
		if (!queue->requests)
			return -ENOMEM;
		for (i = 0; i < view->num; i++) {
			queue->requests[i].queue = queue;
			queue->requests[i].head = i;
		}
		queue->request_count = view->num;
	}
	error = vring_device_start(&queue->ring, view->num, view->desc, view->driver, view->device,
		block->driver_features, pool_translate, NULL);
	if (error)
		return error;
	pool_window(&queue->ring);
	watch_init(&queue->watch, &queue->ring, block_serve, block->slot->index, queue->index, view->channel);
	queue->watch.reap = block_reap;
	queue->polled_last = NULL;
	smp_store_release(&queue->running, true);
	/* Whatever was made available before we looked, and kicked in vain. */
	channel_kick(view->channel, block->slot->index, BIT_ULL(queue->index));
	return 0;
}

static void block_start(struct block *block, u64 features)
{
	unsigned int q;

	block->driver_features = features;
	/* virtio 1.2, 5.2.6.2: a driver that cannot flush sees no volatile write. */
	block->write = REQ_OP_WRITE | REQ_SYNC | REQ_IDLE;
	if (!(features & BIT_ULL(VIRTIO_BLK_F_FLUSH)) && bdev_write_cache(block->bdev))
		block->write |= REQ_FUA;
	block->started = true;
	for (q = 0; q < block->queue_count; q++) {
		int error = block_queue_start(block, &block->queues[q]);

		if (error) {
			slot_warn(block->slot, "queue %u does not start: error %d\n", q, error);
			slot_broken(block->slot, q, "its rings are not usable");
			return;
		}
	}
}

static bool block_drained(struct block *block)
{
	unsigned int q, in_flight = 0;

	for (q = 0; q < block->queue_count; q++) {
		spin_lock_irq(&block->queues[q].lock);
		in_flight += watch_in_flight(&block->queues[q].watch);
		spin_unlock_irq(&block->queues[q].lock);
	}
	return !in_flight;
}

/* After this nothing of ours touches the rings or the buffers. */
static void block_stop(struct block *block)
{
	unsigned int q;

	for (q = 0; q < block->queue_count; q++)
		WRITE_ONCE(block->queues[q].running, false);
	channels_quiesce();
	wait_event(block->drained, block_drained(block));
	channels_quiesce();
	block->started = false;
}

static void block_change(struct slot *slot, const struct view *view)
{
	struct block *block = slot->owner;

	/*
	 * A reset that was never live needs no acknowledgement, and gets one all the same: a stale
	 * one is ignored.
	 */
	if (view->generation != block->generation) {
		block_stop(block);
		block->generation = view->generation;
		hypercall(LICHEN_HVC_RESET_DONE, slot->index, view->generation, 0, 0, 0);
	}
	/* Never set while a reset waits for us. */
	if (!block->started && view->status & VIRTIO_CONFIG_S_DRIVER_OK)
		block_start(block, view->driver_features);
}

static void block_free(struct block *block)
{
	unsigned int q;

	for (q = 0; q < block->queue_count; q++)
		kvfree(block->queues[q].requests);
	fput(block->file);
	kvfree(block);
}

static void block_release(struct slot *slot)
{
	struct block *block = slot->owner;

	block_stop(block);
	block_free(block);
}

/*
 * The frontend can read the same while it runs. The headers (16 bytes a request) are not data; what
 * is counted is data that went through other memory.
 */
static void block_report(struct slot *slot)
{
	const struct block *block = slot->owner;
	const struct lichen_backend_counters *counters = &slot_counters[slot->index];

	slot_info(slot, "%pg served %llu requests, %llu allocations, %llu bytes copied\n",
		block->bdev, READ_ONCE(counters->requests), READ_ONCE(counters->allocations),
		READ_ONCE(counters->bytes_copied));
}

static const struct slot_operations block_operations = {
	.kick = block_kick,
	.change = block_change,
	.report = block_report,
	.release = block_release,
};

/* ---- attach ---- */

static void block_config_ranges(struct block *block, struct virtio_blk_config *config)
{
	struct block_device *bdev = block->bdev;

	if (bdev_max_discard_sectors(bdev)) {
		block->features |= BIT_ULL(VIRTIO_BLK_F_DISCARD);
		config->max_discard_sectors = __cpu_to_virtio32(true, SECTORS_MAX);
		config->max_discard_seg = __cpu_to_virtio32(true, RANGES_MAX);
		config->discard_sector_alignment =
			__cpu_to_virtio32(true, bdev_discard_granularity(bdev) >> SECTOR_SHIFT);
	}
	/* Linux writes zeroes itself for a device that has no command for it. */
	block->features |= BIT_ULL(VIRTIO_BLK_F_WRITE_ZEROES);
	config->max_write_zeroes_sectors = __cpu_to_virtio32(true, SECTORS_MAX);
	config->max_write_zeroes_seg = __cpu_to_virtio32(true, RANGES_MAX);
	config->write_zeroes_may_unmap = 1;
}

static void block_config(struct block *block, u64 without, struct virtio_blk_config *config)
{
	struct block_device *bdev = block->bdev;
	unsigned int physical = bdev_physical_block_size(bdev),
		     logical = bdev_logical_block_size(bdev);

	block->features = BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |
			  BIT_ULL(VIRTIO_RING_F_EVENT_IDX) | BIT_ULL(VIRTIO_BLK_F_SEG_MAX) |
			  BIT_ULL(VIRTIO_BLK_F_BLK_SIZE) | BIT_ULL(VIRTIO_BLK_F_TOPOLOGY) |
			  BIT_ULL(VIRTIO_BLK_F_MQ);
	config->capacity = __cpu_to_virtio64(true, bdev_nr_sectors(bdev));
	config->seg_max = __cpu_to_virtio32(true, SEGMENTS_MAX);
	config->blk_size = __cpu_to_virtio32(true, logical);
	config->physical_block_exp = ilog2(physical / logical);
	config->min_io_size = __cpu_to_virtio16(true, bdev_io_min(bdev) / logical);
	config->opt_io_size = __cpu_to_virtio32(true, bdev_io_opt(bdev) / logical);
	config->num_queues = __cpu_to_virtio16(true, block->queue_count);
	if (bdev_write_cache(bdev))
		block->features |= BIT_ULL(VIRTIO_BLK_F_FLUSH);
	if (block->read_only)
		block->features |= BIT_ULL(VIRTIO_BLK_F_RO);
	else
		block_config_ranges(block, config);
	block->features &= ~without;
}

int block_attach(const struct backend_block *what, struct file *file)
{
	struct slot *slot = slot_get(what->slot);
	struct virtio_blk_config config = {};
	struct view view;
	struct block *block;
	unsigned int q, queues = what->queues;
	int error;

	if (!slot || queues > LICHEN_QUEUES)
		return -EINVAL;
	if (!S_ISBLK(file_inode(file)->i_mode))
		return -ENOTBLK;
	if (what->without & ~BACKEND_BLOCK_WITHOUT || what->poll > BACKEND_POLL_NEVER)
		return -EINVAL;
	if (what->without & BIT_ULL(VIRTIO_BLK_F_MQ))
		queues = 1;
	if (!queues)
		queues = clamp(lichen_window.control->frontend_cpus, 1u, (u32)LICHEN_QUEUES);
	block = kvzalloc(struct_size(block, queues, queues), GFP_KERNEL);
	if (!block)
		return -ENOMEM;
	block->slot = slot;
	block->file = get_file(file);
	block->bdev = I_BDEV(file->f_mapping->host);
	block->queue_count = queues;
	memcpy(block->id, what->id, sizeof(block->id));
	init_waitqueue_head(&block->drained);
	for (q = 0; q < queues; q++) {
		block->queues[q].block = block;
		block->queues[q].index = q;
		spin_lock_init(&block->queues[q].lock);
	}
	view_read(what->slot, &view);
	block->generation = view.generation;
	block->read_only =
		what->read_only || !(file->f_mode & FMODE_WRITE) || bdev_read_only(block->bdev);
	block->block_mask = bdev_logical_block_size(block->bdev) - 1;
	block->dma_mask = bdev_dma_alignment(block->bdev);
	block->poll = BACKEND_POLL_NEVER;
	if (queue_is_mq(bdev_get_queue(block->bdev)) &&
		bdev_get_queue(block->bdev)->limits.features & BLK_FEAT_POLL)
		block->poll = what->poll;
	block_config(block, what->without, &config);

	error = slot_attach(&(struct slot_attach){
		.slot = what->slot,
		.device_id = VIRTIO_ID_BLOCK,
		.queues = queues,
		.queue_max = QUEUE_MAX,
		.features = block->features,
		.config = &config,
		.config_length = sizeof(config),
		.operations = &block_operations,
		.owner = block,
	});
	if (error) {
		block_free(block);
		return error;
	}
	slot_info(slot, "%pg, %llu MiB%s, %u queues\n", block->bdev,
		(u64)bdev_nr_sectors(block->bdev) >> 11, block->read_only ? ", read-only" : "",
		queues);
	return 0;
}
