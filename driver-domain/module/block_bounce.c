// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * virtio lets a driver cut its data anywhere. A disk's controller wants aligned addresses, and pieces of whole blocks: what does not
 * fit goes through memory of ours.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/blkdev.h>
#include <linux/gfp.h>
#include "block.h"

/* What a request may copy at most. */
#define BOUNCE_MAX (1u << 20)

bool request_bounce(struct block_request *request, u32 length)
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

void request_unbounce(struct block_request *request, u8 status)
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
