// SPDX-License-Identifier: MIT OR GPL-2.0
/* The way of a request: from the ring to the device, and back. */
#define pr_fmt(format) "lichen: " format

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/kernel_stat.h>
#include <linux/slab.h>
#include <linux/virtio_byteorder.h>
#include "block.h"
#include "trace.h"

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

void request_end(struct block_request *request, u8 status)
{
	struct block_queue *queue = request->queue;
	struct block *block = queue->block;
	bool polled = request->polled;
	u32 written = status == VIRTIO_BLK_S_OK ? request->written : 1;
	u16 head = request->head;
	unsigned long flags;

	if (unlikely(request->bounce))
		request_unbounce(request, status);
	if (unlikely(request->segments)) {
		kfree(request->segments);
		request->segments = NULL;
	}
	*request->status = status;
	spin_lock_irqsave(&queue->lock, flags);
	/* The driver may use the head again as soon as the used index moves; nothing of the request is read from here on. */
	smp_store_release(&request->in_flight, false);
	vring_push(&queue->ring, head, written);
	slot_count(block->slot->index, requests, 1);
	if (vring_signal_needed(&queue->ring)) {
		slot_count(block->slot->index, signals, 1);
		request_trace(LICHEN_TRACE_SIGNAL, request, 0);
		queue_signal(block->slot->index, &queue->view);
	}
	/* Under the lock: whoever waits may free the block once it has had the lock itself. */
	if (!watch_completed(&queue->watch, polled) && unlikely(!READ_ONCE(queue->running)))
		wake_up(&block->drained);
	spin_unlock_irqrestore(&queue->lock, flags);
}

u8 status_of(blk_status_t status)
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

static void request_bio_end(struct bio *bio)
{
	struct block_request *request = container_of(bio, struct block_request, bio);

	request_trace(LICHEN_TRACE_BIO_END, request, bio->bi_status);
	if (!(bio->bi_opf & REQ_POLLED)) {
		interrupt_count(request->queue->block);
	} else if (unlikely(bio->bi_status == BLK_STS_NOTSUPP)) {
		/* The device has lost its queues without interrupts, and did not begin with this one: once more, as any other. */
		bio->bi_opf &= ~REQ_POLLED;
		bio->bi_status = BLK_STS_OK;
		submit_bio_noacct(bio);
		return;
	}
	request_end(request, status_of(bio->bi_status));
}

/* ---- asking the device ---- */

static bool request_reapable(const struct block_request *request)
{
	return READ_ONCE(request->in_flight) && request->polled && READ_ONCE(request->bio.bi_cookie) != BLK_QC_T_NONE;
}

/*
 * All of a queue's polled requests are made by one thread on one CPU, so that they lie in one queue of the device: any that it has
 * been given (it has a cookie then) stands for all. The last one made is nearly always the last to end; where it was not, one that
 * is still under way takes its place.
 */
static struct block_request *reapable(struct block_queue *queue)
{
	unsigned int i;

	if (likely(queue->polled_last && request_reapable(queue->polled_last)))
		return queue->polled_last;
	for (i = 0; i < queue->request_count; i++)
		if (request_reapable(&queue->requests[i])) {
			queue->polled_last = &queue->requests[i];
			return queue->polled_last;
		}
	return NULL;
}

bool block_reap(struct watch *watch)
{
	struct block_queue *queue = container_of(watch, struct block_queue, watch);
	struct block_request *request = reapable(queue);
	DEFINE_IO_COMP_BATCH(ended);
	u32 before = READ_ONCE(watch->polled_ended);

	if (!request)
		return false;
	bio_poll(&request->bio, &ended, BLK_POLL_ONESHOT); /* what it returns says nothing to a task that runs */
	if (!rq_list_empty(&ended.req_list))
		ended.complete(&ended);
	return READ_ONCE(watch->polled_ended) != before;
}

/* ---- taking a chain apart ---- */

void chain_read(const struct vring_chain *chain, u32 offset, void *to, u32 length)
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
		bvec_set_virt(&bio->bi_io_vec[bio->bi_vcnt++], data, n);
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
	if (request->polled)
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
	bio->bi_iter.bi_size = length;
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

/* In flight from now on; polled if it may be and the device is fast enough. */
static void request_begin(struct block_request *request, bool may_poll)
{
	struct block_queue *queue = request->queue;
	bool polled = may_poll && watch_reaps(&queue->watch, queue->block->poll == BACKEND_POLL_ALWAYS);

	request->polled = polled;
	if (polled)
		queue->polled_last = request;
	WRITE_ONCE(request->in_flight, true);
	watch_begin(&queue->watch, polled);
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
	case VIRTIO_BLK_T_OUT:
		request_read_write(request, chain, type == VIRTIO_BLK_T_IN ? REQ_OP_READ | REQ_SYNC : block->write,
			__virtio64_to_cpu(true, header.sector));
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

/* All that the ring has by now. NULL, or why it is broken. */
static __always_inline const char *requests_take(struct block_queue *queue)
{
	struct vring_device *ring = &queue->ring;
	struct blk_plug plug;
	u16 waiting = vring_waiting(ring);
	const char *why = NULL;

	if (!waiting)
		return NULL;
	watch_arrived(&queue->watch);
	/* One plug for a burst: its requests reach the device's queue together. One alone goes there faster without. */
	if (waiting > 1)
		blk_start_plug(&plug);
	do {
		why = vring_next(ring, &queue->chain) > 0 ? request_start(queue, &queue->chain) : ring->broken;
	} while (!why && vring_waiting(ring));
	if (waiting > 1)
		blk_finish_plug(&plug);
	return why;
}

void block_serve(struct watch *watch)
{
	struct block_queue *queue = container_of(watch, struct block_queue, watch);
	const char *why;

	do {
		why = requests_take(queue);
		if (unlikely(why)) {
			queue->running = false;
			watch_drop(watch);
			slot_broken(queue->block->slot, queue->index, why);
			return;
		}
	} while (watch_end(watch));
}
