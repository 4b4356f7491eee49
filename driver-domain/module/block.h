/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * virtio-blk (virtio 1.2, 5.2) on any block device of Linux: a chain of the ring becomes a bio on the very same pages, the bio's
 * end becomes a used entry. On the path of a read or a write of up to INLINE_SEGMENTS segments nothing is copied and nothing is
 * allocated: each head of a ring has its request, made when the ring starts.
 *
 *     channel's thread:   vring_next -> request -> submit_bio
 *     end of the bio (any context, mostly the device's interrupt, or the thread that asked it):
 *                         status byte, vring_push, signal
 *
 *     block.c          attach, start, reset
 *     block_request.c  the way of a request
 *     block_ranges.c   discard and write zeroes
 *     block_bounce.c   buffers that the device cannot take as they lie
 *
 * A queue has one consumer, the thread of its channel; its producers hold `lock`.
 */
#ifndef LICHEN_BLOCK_H
#define LICHEN_BLOCK_H

#include <linux/bio.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <uapi/linux/virtio_blk.h>
#include "lichen.h"
#include "vring.h"
#include "watch.h"

#define INLINE_SEGMENTS 4
/* Ranges of one discard or write-zeroes request. */
#define RANGES_MAX 16

struct block_queue;

struct block_request {
	struct bio bio; /* the common case; a request of ranges has bios of its own */
	struct block_queue *queue;
	u8 *status;
	u32 written; /* bytes of the used entry when all goes well */
	u16 head;
	bool in_flight; /* set by the consumer, cleared by the producer */
	bool polled;	/* the device has to be asked for its end; the consumer's */
	u16 bounced;	/* segments that `bounce` stands for */
	struct bio_vec *segments; /* allocated: more than there are inline */
	void *bounce;		  /* the device's memory instead of the segments' */
	struct bio_vec bounce_segment;
	struct bio_vec inline_segments[INLINE_SEGMENTS];
};

struct block_queue {
	struct block *block;
	unsigned int index;
	bool running; /* chains may be taken; written with the channels quiet */
	struct lichen_queue_view view;
	struct vring_device ring;
	spinlock_t lock; /* producers of the ring, and what has ended */
	struct block_request *requests; /* one a head; they stay from reset to reset */
	unsigned int request_count;
	struct block_request *polled_last; /* one that stands for those to be asked for; the consumer's, as `chain` */
	struct watch watch;
	struct vring_chain chain;
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

/* ---- block_request.c ---- */

/* Take what the ring has, in the channel's thread: watch->serve and watch->reap of a queue. */
void block_serve(struct watch *watch);
bool block_reap(struct watch *watch);
/* The request is over, with VIRTIO_BLK_S_*. Any context. */
void request_end(struct block_request *request, u8 status);
u8 status_of(blk_status_t status);
/* Copy `length` bytes at `offset` of the readable part. The caller has checked the length. */
void chain_read(const struct vring_chain *chain, u32 offset, void *to, u32 length);

/* ---- block_ranges.c ---- */

/* Discard or write zeroes (virtio 1.2, 5.2.6): a list of ranges. May sleep for memory. */
void request_ranges(struct block_request *request, const struct vring_chain *chain, u32 type);

/* ---- block_bounce.c ---- */

/* Let memory of ours stand for the segments of the request's bio, `length` bytes in all. False: there is none. */
bool request_bounce(struct block_request *request, u32 length);
/* At its end. */
void request_unbounce(struct block_request *request, u8 status);

#endif
