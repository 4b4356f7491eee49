// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Discard and write zeroes (virtio 1.2, 5.2.6): one request is a list of ranges, which Linux makes bios of as the device likes
 * them. The request ends with the last of these.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/blkdev.h>
#include <linux/virtio_byteorder.h>
#include "block.h"

/* The last bio of a chain of our own allocation. */
static void request_ranges_end(struct bio *bio)
{
	struct block_request *request = bio->bi_private;
	u8 status = status_of(bio->bi_status);

	bio_put(bio);
	request_end(request, status);
}

void request_ranges(struct block_request *request, const struct vring_chain *chain, u32 type)
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
