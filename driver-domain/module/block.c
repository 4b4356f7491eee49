// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * virtio-blk (virtio 1.2, 5.2) on any block device of Linux: a chain of the ring becomes a bio on
 * the very same pages, the bio's end becomes a used entry. On the path of a read or a write of up
 * to INLINE_SEGMENTS segments nothing is copied and nothing is allocated: each head of a ring has
 * its request, made when the ring starts.
 *
 *     channel's thread:   vring_next -> request -> submit_bio
 *     end of the bio (any context, mostly the device's interrupt):  status byte, vring_push, signal
 *
 * A queue has one consumer, the thread of its channel; its producers hold `lock`.
 *
 * Reset: the queues stop taking chains, the bios in flight end, and only then do we say that we are
 * done: after that no byte of the frontend's memory is touched on behalf of the old driver.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/file.h>
#include <linux/kernel_stat.h>
#include <linux/slab.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_byteorder.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include "lichen.h"
#include "trace.h"
#include "vring.h"

#define QUEUE_MAX	256
#define INLINE_SEGMENTS 4
/* Data segments that we offer; a chain has a header and a status besides. */
#define SEGMENTS_MAX (VRING_SEGMENTS - 2)
/* Ranges of one discard or write-zeroes request. */
#define RANGES_MAX 16
/* What a request may copy whose buffers the device cannot take as they lie. */
#define BOUNCE_MAX  (1u << 20)
#define SECTORS_MAX (UINT_MAX >> SECTOR_SHIFT)

struct block_queue;

struct block_request {
	struct bio bio; /* the common case; a request of ranges has bios of its own */
	struct block_queue *queue;
	u8 *status;
	struct list_head polled; /* the queue's; empty: the device tells of its end */
	u32 written;		 /* bytes of the used entry when all goes well */
	u16 head;
	bool in_flight;
	u16 bounced;		  /* segments that `bounce` stands for */
	struct bio_vec *segments; /* allocated: more than there are inline */
	void *bounce;		  /* the device's memory instead of the segments' */
	struct bio_vec bounce_segment;
	struct bio_vec inline_segments[INLINE_SEGMENTS];
};

struct block_queue {
	struct block *block;
	unsigned int index;
	bool running; /* chains may be taken; written with the channels quiet */
	unsigned int in_flight;
	unsigned int polled; /* of them, as the device is asked for them */
	struct list_head polled_requests;
	struct lichen_queue_view view;
	struct vring_device ring;
	spinlock_t lock; /* producers of the ring; what is in flight, and polled */
	struct block_request *requests; /* one a head; they stay from reset to reset */
	unsigned int request_count;
	struct watch watch;
	struct vring_chain chain; /* the consumer's */
};

struct block {
	struct slot *slot;
	struct file *file;
	struct block_device *bdev;
	u64 features;
	u64 driver_features;
	blk_opf_t write; /* a write's operation: write-through when the driver cannot flush */
	u32 block_mask;	 /* of bytes: logical block size - 1 */
	u32 dma_mask;	 /* of a buffer's address: what the device does not take */
	u32 generation;
	bool started;
	bool read_only;
	enum backend_poll poll; /* NEVER, too, when the device has no queues without interrupts */
	char id[VIRTIO_BLK_ID_BYTES];
	wait_queue_head_t drained;
	unsigned int queue_count;
	struct block_queue queues[];
};

/* ---- buffers that the device cannot take as they lie ---- */

/*
 * virtio lets a driver cut its data anywhere. A disk's controller wants aligned addresses, and pieces of whole blocks: what
 * does not fit goes through memory of ours.
 */
static bool request_bounce(struct block_request *request, u32 length)
{
	struct bio *bio = &request->bio;
	struct block *block = request->queue->block;
	blk_opf_t opf = bio->bi_opf;
	sector_t sector = bio->bi_iter.bi_sector;
	bio_end_io_t *end = bio->bi_end_io;
	void *to;

	slot_count(block->slot->index, allocations, 1);
	if (length <= BOUNCE_MAX)
		request->bounce = alloc_pages_exact(length, GFP_NOIO | __GFP_NOWARN);
	if (!request->bounce)
		return false;
	to = request->bounce;
	for (unsigned int i = 0; op_is_write(opf) && i < bio->bi_vcnt; i++) {
		memcpy_from_bvec(to, &bio->bi_io_vec[i]);
		to += bio->bi_io_vec[i].bv_len;
	}
	request->bounced = bio->bi_vcnt;
	bio_init(bio, block->bdev, &request->bounce_segment, 1, opf);
	bio->bi_iter.bi_sector = sector;
	bio->bi_end_io = end;
	__bio_add_page(bio, virt_to_page(request->bounce), length, 0);
	slot_count(block->slot->index, bytes_copied, length);
	return true;
}

static void request_unbounce(struct block_request *request, u8 status)
{
	struct bio_vec *to = request->segments ?: request->inline_segments;
	void *from = request->bounce;

	if (!op_is_write(request->bio.bi_opf) && status == VIRTIO_BLK_S_OK)
		for (unsigned int i = 0; i < request->bounced; i++) {
			memcpy_to_bvec(&to[i], from);
			from += to[i].bv_len;
		}
	free_pages_exact(request->bounce, request->bounce_segment.bv_len);
	request->bounce = NULL;
}

/* A record, apart: the point costs those who pass it no register. */
static __cold noinline void request_record(
	u32 stage, const struct block_request *request, u64 value)
{
	trace_put(stage,
		LICHEN_TRACE_KEY(
			request->queue->block->slot->index, request->queue->index, request->head),
		value);
}

static __always_inline void request_trace(u32 stage, const struct block_request *request, u64 value)
{
	if (trace_enabled())
		request_record(stage, request, value);
}

/* ---- the end of a request ---- */

/* The device is not to be asked for it any more. The queue's lock is held. */
static void request_forget_poll(struct block_request *request)
{
	list_del_init(&request->polled);
	request->queue->polled--;
}

static void request_end(struct block_request *request, u8 status)
{
	struct block_queue *queue = request->queue;
	struct block *block = queue->block;
	unsigned long flags;

	if (unlikely(request->bounce))
		request_unbounce(request, status);
	if (unlikely(request->segments)) {
		kfree(request->segments);
		request->segments = NULL;
	}
	*request->status = status;
	spin_lock_irqsave(&queue->lock, flags);
	if (!list_empty(&request->polled))
		request_forget_poll(request);
	/* The driver may use the head again as soon as the used index moves. */
	WRITE_ONCE(request->in_flight, false);
	vring_push(&queue->ring, request->head, status == VIRTIO_BLK_S_OK ? request->written : 1);
	slot_count(block->slot->index, requests, 1);
	if (vring_signal_needed(&queue->ring)) {
		slot_count(block->slot->index, signals, 1);
		request_trace(LICHEN_TRACE_SIGNAL, request, 0);
		queue_signal(block->slot->index, &queue->view);
	}
	watch_completed(&queue->watch, queue->in_flight == 1);
	/* Under the lock: whoever waits may free the block once it has had the lock itself. */
	if (!--queue->in_flight && unlikely(!READ_ONCE(queue->running)))
		wake_up(&block->drained);
	spin_unlock_irqrestore(&queue->lock, flags);
}

static u8 status_of(blk_status_t status)
{
	switch (status) {
	case BLK_STS_OK:
		return VIRTIO_BLK_S_OK;
	case BLK_STS_NOTSUPP:
		return VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_IOERR;
	}
}

/* How many interrupts completed something on this CPU: those since whose last completion there were others. */
static DEFINE_PER_CPU(unsigned long, interrupts_seen);

static void interrupt_count(const struct block *block)
{
	unsigned long now = kstat_cpu_irqs_sum(smp_processor_id());

	if (now == __this_cpu_read(interrupts_seen))
		return;
	__this_cpu_write(interrupts_seen, now);
	slot_count(block->slot->index, interrupts, 1);
}

/* The device has lost its queues without interrupts, and did not begin with this one: once more, as any other. */
static void request_poll_not(struct block_request *request)
{
	struct bio *bio = &request->bio;
	unsigned long flags;

	spin_lock_irqsave(&request->queue->lock, flags);
	request_forget_poll(request);
	spin_unlock_irqrestore(&request->queue->lock, flags);
	bio->bi_opf &= ~REQ_POLLED;
	bio->bi_status = BLK_STS_OK;
	submit_bio_noacct(bio);
}

static void request_bio_end(struct bio *bio)
{
	struct block_request *request = container_of(bio, struct block_request, bio);

	request_trace(LICHEN_TRACE_BIO_END, request, bio->bi_status);
	if (!(bio->bi_opf & REQ_POLLED))
		interrupt_count(request->queue->block);
	if (unlikely(bio->bi_status == BLK_STS_NOTSUPP && bio->bi_opf & REQ_POLLED)) {
		request_poll_not(request);
		return;
	}
	request_end(request, status_of(bio->bi_status));
}

/*
 * Ask the device. All of a queue's polled requests are made by one thread on one CPU, so that they lie in one queue of the
 * device: any that it has been given (it has a cookie then) stands for all.
 */
static bool block_reap(struct watch *watch)
{
	struct block_queue *queue = container_of(watch, struct block_queue, watch);
	struct block_request *request;
	struct bio *bio = NULL;
	DEFINE_IO_COMP_BATCH(ended);
	unsigned int before;

	spin_lock_irq(&queue->lock);
	before = queue->polled;
	list_for_each_entry(request, &queue->polled_requests, polled)
		if (READ_ONCE(request->bio.bi_cookie) != BLK_QC_T_NONE) {
			bio = &request->bio;
			break;
		}
	spin_unlock_irq(&queue->lock);
	if (!bio)
		return false;
	bio_poll(bio, &ended, BLK_POLL_ONESHOT); /* what it returns says nothing to a task that runs */
	if (!rq_list_empty(&ended.req_list))
		ended.complete(&ended);
	return READ_ONCE(queue->polled) != before;
}

/* The last bio of a chain of our own allocation. */
static void request_ranges_end(struct bio *bio)
{
	struct block_request *request = bio->bi_private;
	u8 status = status_of(bio->bi_status);

	bio_put(bio);
	request_end(request, status);
}

/* ---- taking a chain apart ---- */

/* Copy `length` bytes at `offset` of the readable part. The caller has checked the length. */
static void chain_read(const struct vring_chain *chain, u32 offset, void *to, u32 length)
{
	unsigned int i;

	for (i = 0; i < chain->readable && length; i++) {
		const struct vring_segment *segment = &chain->segment[i];
		u32 n;

		if (offset >= segment->length) {
			offset -= segment->length;
			continue;
		}
		n = min(length, segment->length - offset);
		memcpy(to, segment->data + offset, n);
		to += n;
		length -= n;
		offset = 0;
	}
}

/* Copy to the beginning of the writable part. */
static void chain_write(const struct vring_chain *chain, const void *from, u32 length)
{
	unsigned int i;

	for (i = chain->readable; i < chain->segments && length; i++) {
		u32 n = min(length, chain->segment[i].length);

		memcpy(chain->segment[i].data, from, n);
		from += n;
		length -= n;
	}
}

/*
 * Add `length` bytes at `offset` of the segments from `first` on to the bio. Physically contiguous
 * memory is contiguous in the page array, so a segment of any length is one bio_vec. True if the device takes them all.
 */
static bool bio_add_chain(const struct block *block, struct bio *bio,
	const struct vring_chain *chain, unsigned int first, u32 offset, u32 length)
{
	unsigned int i;
	u32 odd = 0;

	for (i = first; length; i++) {
		const struct vring_segment *segment = &chain->segment[i];
		void *data;
		u32 n;

		if (offset >= segment->length) {
			offset -= segment->length;
			continue;
		}
		data = segment->data + offset;
		n = min(length, segment->length - offset);
		__bio_add_page(bio, virt_to_page(data), n, offset_in_page(data));
		odd |= (offset_in_page(data) & block->dma_mask) | (n & block->block_mask);
		length -= n;
		offset = 0;
	}
	return likely(!odd);
}

static void request_read_write(
	struct block_request *request, const struct vring_chain *chain, blk_opf_t opf, u64 sector)
{
	struct block *block = request->queue->block;
	bool write = op_is_write(opf);
	unsigned int first = write ? 0 : chain->readable;
	unsigned int count = write ? chain->readable : chain->segments - chain->readable;
	u32 offset = write ? sizeof(struct virtio_blk_outhdr) : 0;
	u32 length = write ? chain->readable_bytes - sizeof(struct virtio_blk_outhdr)
			   : chain->writable_bytes - 1;
	struct bio_vec *segments = request->inline_segments;
	struct bio *bio = &request->bio;

	/* Each that is polled has a cookie of its own, which what is merged has not. */
	if (!list_empty(&request->polled))
		opf |= REQ_POLLED | REQ_NOMERGE;
	/* Nobody below checks that a request is one of whole blocks. */
	if (!length || (length | (u32)sector << SECTOR_SHIFT) & block->block_mask ||
		sector > (U64_MAX >> SECTOR_SHIFT) || (write && block->read_only)) {
		request_end(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	/*
	 * The header or the status byte may stand alone in their segment; room for them does no
	 * harm.
	 */
	if (unlikely(count > INLINE_SEGMENTS)) {
		slot_count(block->slot->index, allocations, 1);
		segments = request->segments =
			kmalloc_array(count, sizeof(*segments), GFP_NOIO | __GFP_NOFAIL);
	}
	bio_init(
		bio, block->bdev, segments, count > INLINE_SEGMENTS ? count : INLINE_SEGMENTS, opf);
	bio->bi_iter.bi_sector = sector;
	bio->bi_end_io = request_bio_end;
	if (!bio_add_chain(block, bio, chain, first, offset, length) &&
		!request_bounce(request, length)) {
		request_end(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (!write)
		request->written = length + 1;
	request_trace(LICHEN_TRACE_BIO_SUBMIT, request, sector);
	submit_bio_noacct(bio);
}

static void request_flush(struct block_request *request)
{
	struct bio *bio = &request->bio;

	bio_init(bio, request->queue->block->bdev, NULL, 0, REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC);
	bio->bi_end_io = request_bio_end;
	submit_bio(bio);
}

/* Discard and write zeroes (virtio 1.2, 5.2.6): a list of ranges. May sleep for memory. */
static void request_ranges(struct block_request *request, const struct vring_chain *chain, u32 type)
{
	struct block *block = request->queue->block;
	struct virtio_blk_discard_write_zeroes ranges[RANGES_MAX];
	u32 length = chain->readable_bytes - sizeof(struct virtio_blk_outhdr);
	u64 capacity = bdev_nr_sectors(block->bdev);
	struct bio *last = NULL;
	unsigned int i, count;
	u8 status = VIRTIO_BLK_S_OK;

	if (!length || length % sizeof(ranges[0]) || length > sizeof(ranges)) {
		request_end(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	count = length / sizeof(ranges[0]);
	chain_read(chain, sizeof(struct virtio_blk_outhdr), ranges, length);
	slot_count(block->slot->index, bytes_copied, length);
	for (i = 0; i < count; i++) {
		u64 sector = le64_to_cpu(ranges[i].sector), n = le32_to_cpu(ranges[i].num_sectors);
		u32 flags = le32_to_cpu(ranges[i].flags);

		if (flags & ~(type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
								: 0))
			status = VIRTIO_BLK_S_UNSUPP;
		else if (sector > capacity || n > capacity - sector ||
			 (sector | n) & block->block_mask >> SECTOR_SHIFT)
			status = VIRTIO_BLK_S_IOERR;
	}
	for (i = 0; i < count && status == VIRTIO_BLK_S_OK; i++) {
		u64 sector = le64_to_cpu(ranges[i].sector), n = le32_to_cpu(ranges[i].num_sectors);
		int error;

		if (!n)
			continue;
		slot_count(block->slot->index, allocations, 1);
		if (type == VIRTIO_BLK_T_DISCARD)
			error = __blkdev_issue_discard(block->bdev, sector, n, GFP_NOIO, &last);
		else
			error = __blkdev_issue_zeroout(block->bdev, sector, n, GFP_NOIO, &last,
				le32_to_cpu(ranges[i].flags) ? 0 : BLKDEV_ZERO_NOUNMAP);
		if (error)
			status = error == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	}
	if (!last) {
		request_end(request, status);
		return;
	}
	/* What went out before one failed ends with it; the first error stays. */
	if (status != VIRTIO_BLK_S_OK)
		last->bi_status = BLK_STS_IOERR;
	/* Zeroes are data: in write-through they are on the disk when they are acknowledged. */
	if (type == VIRTIO_BLK_T_WRITE_ZEROES && block->write & REQ_FUA) {
		status = status_of(errno_to_blk_status(submit_bio_wait(last)));
		bio_put(last);
		if (status == VIRTIO_BLK_S_OK)
			status = status_of(errno_to_blk_status(blkdev_issue_flush(block->bdev)));
		request_end(request, status);
		return;
	}
	last->bi_private = request;
	last->bi_end_io = request_ranges_end;
	submit_bio(last);
}

/* In flight from now on; polled if it may be and the device is fast enough. */
static void request_begin(struct block_request *request, bool may_poll)
{
	struct block_queue *queue = request->queue;
	bool poll = may_poll && watch_reaps(&queue->watch, queue->block->poll == BACKEND_POLL_ALWAYS);

	spin_lock_irq(&queue->lock);
	request->in_flight = true;
	queue->in_flight++;
	if (poll) {
		list_add_tail(&request->polled, &queue->polled_requests);
		queue->polled++;
	}
	spin_unlock_irq(&queue->lock);
	if (poll)
		watch_reaping(&queue->watch);
}

/* One chain. NULL, or why it is no request at all and the ring is not to be trusted further. */
static const char *request_start(struct block_queue *queue, const struct vring_chain *chain)
{
	struct block *block = queue->block;
	struct block_request *request = &queue->requests[chain->head];
	const struct vring_segment *last = &chain->segment[chain->segments - 1];
	struct virtio_blk_outhdr header;
	u32 type;

	request_trace(LICHEN_TRACE_TAKE, request, 0);
	if (chain->readable_bytes < sizeof(header))
		return "a request without a header";
	if (!chain->writable_bytes)
		return "a request without a status";
	if (READ_ONCE(request->in_flight))
		return "a head that is in flight already";
	if (likely(chain->segment[0].length >= sizeof(header)))
		memcpy(&header, chain->segment[0].data, sizeof(header));
	else
		chain_read(chain, 0, &header, sizeof(header));

	request->status = last->data + last->length - 1;
	request->written = 1;
	type = __virtio32_to_cpu(true, header.type);
	request_begin(request, block->poll != BACKEND_POLL_NEVER && type <= VIRTIO_BLK_T_OUT);
	switch (type) {
	case VIRTIO_BLK_T_IN:
		request_read_write(request, chain, REQ_OP_READ | REQ_SYNC,
			__virtio64_to_cpu(true, header.sector));
		break;
	case VIRTIO_BLK_T_OUT:
		request_read_write(
			request, chain, block->write, __virtio64_to_cpu(true, header.sector));
		break;
	case VIRTIO_BLK_T_FLUSH:
		request_flush(request);
		break;
	case VIRTIO_BLK_T_GET_ID:
		request->written = min_t(u32, sizeof(block->id) + 1, chain->writable_bytes);
		chain_write(chain, block->id, request->written - 1);
		slot_count(block->slot->index, bytes_copied, request->written - 1);
		request_end(request, VIRTIO_BLK_S_OK);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		if (block->driver_features &
			BIT_ULL(type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_F_DISCARD
							     : VIRTIO_BLK_F_WRITE_ZEROES)) {
			request_ranges(request, chain, type);
			break;
		}
		fallthrough;
	default:
		request_end(request, VIRTIO_BLK_S_UNSUPP);
	}
	return NULL;
}

static void block_queue_serve(struct block_queue *queue)
{
	struct blk_plug plug;
	const char *why = NULL;
	bool any = false;
	int more;

	/* One plug for all: requests of a burst reach the device's queue together. */
	blk_start_plug(&plug);
	do {
		while ((more = vring_next(&queue->ring, &queue->chain)) > 0) {
			if (!any)
				watch_arrived(&queue->watch);
			any = true;
			why = request_start(queue, &queue->chain);
			if (unlikely(why))
				goto broken;
		}
		if (unlikely(more < 0)) {
			why = queue->ring.broken;
			goto broken;
		}
		any = false;
	} while (watch_end(&queue->watch));
	blk_finish_plug(&plug);
	return;
broken:
	blk_finish_plug(&plug);
	queue->running = false;
	watch_drop(&queue->watch);
	slot_broken(queue->block->slot, queue->index, why);
}

static void block_kick(struct slot *slot, u64 queues)
{
	struct block *block = slot->owner;

	for (; queues; queues &= queues - 1) {
		unsigned int q = __ffs64(queues);

		if (q < block->queue_count && block->queues[q].running)
			block_queue_serve(&block->queues[q]);
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
			INIT_LIST_HEAD(&queue->requests[i].polled);
		}
		queue->request_count = view->num;
	}
	error = vring_device_start(&queue->ring, view->num, view->desc, view->driver, view->device,
		block->driver_features, pool_translate, NULL);
	if (error)
		return error;
	pool_window(&queue->ring);
	watch_init(&queue->watch, &queue->ring, block->slot->index, queue->index, view->channel,
		&queue->in_flight);
	queue->watch.reap = block_reap;
	queue->watch.polled = &queue->polled;
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
		in_flight += block->queues[q].in_flight;
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
		INIT_LIST_HEAD(&block->queues[q].polled_requests);
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
