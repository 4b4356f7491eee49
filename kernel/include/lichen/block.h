/* SPDX-License-Identifier: MIT */
/*
 * Block devices: what a driver (virtio/blk.c) gives and file systems use. Memory named in a request lies in the pool.
 * No request is copied and none allocates on the way: it lies in the caller's frame.
 *
 * A request is done in three steps: status, the wake, BLOCK_DONE. Only then is it the submitter's again, so that the
 * interrupt handler never touches a request (or wakes a task) that is gone.
 */
#ifndef LICHEN_BLOCK_H
#define LICHEN_BLOCK_H

#include <lichen/async.h>
#include <lichen/wait.h>
#include <lichen/page.h>

struct inode;
struct file;
struct kiov;

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES, BLOCK_GET_ID };
#define BLOCK_ID_BYTES 20
#define BLOCK_SECTOR   512u

struct block_segment {
	phys_addr_t address;
	u32 bytes; /* whole sectors */
};

enum block_state { BLOCK_PENDING, BLOCK_WAKING, BLOCK_DONE };

struct block_request {
	enum block_op op;
	u32 segment_count;
	u64 sector;  /* of 512 bytes */
	u64 sectors; /* of discard and write zeroes; of reads and writes the segments' sum, set by block_submit */
	const struct block_segment *segments; /* until it is done */
	_Atomic u32 state; /* enum block_state */
	s32 status;	   /* once done: 0 or -errno */
	/* Interrupt context, locks held: may wake, not submit. Last touch of the request, BLOCK_DONE is set before. NULL: wakes `task`. */
	void (*done)(struct block_request *request);
	struct task *task; /* who waits by block_wait; may be set to NULL with done */
	struct list node;  /* the driver's, when the ring is full */
	/*
	 * Set by the driver if it can look for completions itself: does so for a while if that is likely to be shorter than an
	 * interrupt, or if `hipri`, and no other task wants the CPU. See block_poll.
	 */
	void (*poll)(struct block_request *request, struct task *self);
	void *queue; /* the driver's, for poll */
	bool hipri;  /* RWF_HIPRI: the submitter would rather spin than sleep */
};

struct block_device {
	char name[32]; /* "vda", "vda1" */
	dev_t dev;
	u64 sectors;
	u64 first_sector; /* in `whole` */
	struct block_device *whole; /* of a partition; itself else */
	u32 logical_block, physical_block; /* bytes */
	u32 optimal_bytes; /* of a request, or 0 */
	u32 max_segments;
	u32 max_segment_bytes;
	u64 max_sectors, max_discard_sectors, max_zeroes_sectors;
	u32 discard_align; /* sectors */
	bool read_only, has_flush, has_discard, has_write_zeroes;
	char serial[BLOCK_ID_BYTES + 1];
	const struct block_ops *ops;
	void *driver;
	struct inode *inode; /* its page cache, for /dev/NAME; file systems keep their metadata in buffers of their own */
	_Atomic u32 openers;
	void *_Atomic exclusive; /* who has it for himself: a mounted superblock, a file opened with O_EXCL; or NULL */
	_Atomic u64 reads, writes, sectors_read, sectors_written;
	u8 partition_uuid[16]; /* GPT, as on the disk */
	char label[36];
	u32 partition; /* its number, 0: the whole */
	struct list node; /* in the list of all devices */
};

struct block_ops {
	/* Takes the request; never blocks; calls block_request_done() exactly once, possibly before it returns. Any context. */
	void (*submit)(struct block_device *device, struct block_request *request);
};

/* --- for drivers --- */
/* A whole device, fields above set by the driver: reads the partition table (GPT, MBR), makes /dev/NAME and /dev/NAMEn. 0 or -errno. */
ASYNC_DECLARE(block_register, struct block_device *device;);
/* Interrupt context: the size changed. */
void block_resize(struct block_device *device, u64 sectors);
/* Ends a request. Any context. */
void block_request_done(struct block_request *request, long status);

/* --- for users --- */
struct block_device *block_find(const char *name); /* "/dev/vda1", "vda1"; NULL */
struct block_device *block_find_dev(dev_t dev);
/* Calls fn for each device (and partition): /proc/partitions, /proc/diskstats. No lock is held; devices never go. */
void block_for_each(void (*fn)(struct block_device *device, void *arg), void *arg);
extern struct wait_queue block_devices_changed; /* woken whenever one was registered */
/* Reserves a device for `owner` (a superblock, a file): 0, or -EBUSY. */
long block_claim(struct block_device *device, void *owner);
void block_release(struct block_device *device, void *owner);

/*
 * Sends a request whose op, sector, sectors, segments, segment_count, done and task are set; checks it against the device
 * (-EIO beyond the end, -EROFS, -EINVAL, -EOPNOTSUPP come as its status). Never blocks. Any context.
 */
void block_submit(struct block_device *device, struct block_request *request);
/* Until a request with task = self is done: its status. Uninterruptible. */
ASYNC_DECLARE(block_wait, struct block_request *request;);
/* The same without waiting, or for a short while if that is likely to be enough: true when it is done, with its status. */
static inline bool block_poll(struct block_request *request, struct task *self)
{
	if (likely(request->poll))
		request->poll(request, self);
	return atomic_load_explicit(&request->state, memory_order_acquire) == BLOCK_DONE;
}

/* One request from start to end: 0 or -errno. Uninterruptible. The caller obeys the device's limits. */
ASYNC_DECLARE(block_io, struct block_device *device; enum block_op op; u32 segment_count; u64 sector; u64 sectors;
	const struct block_segment *segments; struct block_request request;);
/*
 * Bytes of pages (contiguous in memory or not) to or from a run of sectors, in as few requests as the device allows: `bytes` from `offset`
 * in the first page on, both multiples of a sector. 0 or -errno.
 */
ASYNC_DECLARE(block_io_pages, struct block_device *device; enum block_op op; u32 offset; u64 sector; struct page **pages; u64 bytes;
	u64 done; u64 taken; u32 room; struct block_segment *segments; struct block_segment own_segments[2]; long error;
	struct block_request request;);
/* Makes all completed writes durable; a device without a volatile cache has nothing to do. */
ASYNC_DECLARE(block_flush, struct block_device *device;);
/* Discards, or zeroes, any number of sectors: 0, -EOPNOTSUPP (discard only: zeroes are written where the device can't). */
ASYNC_DECLARE(block_clear, struct block_device *device; enum block_op op; u64 sector; u64 sectors; u64 n; struct page *page;
	struct block_segment segment;);

/*
 * O_DIRECT: up to kiov->left bytes between user memory and sectors, no copy; address and length must be multiples of the
 * logical block (-EINVAL). Bytes moved, or -errno if none. `sector` and the length were checked against the file's extent.
 */
ASYNC_DECLARE(block_direct, struct block_device *device; enum block_op op; bool hipri; struct kiov *iov; u64 sector; size_t bytes;
	size_t done; size_t taken; u32 room; u32 pinned; struct block_segment *segments; struct page **pages; struct page *page;
	struct block_segment own_segments[2]; struct page *own_pages[2]; long error; struct block_request request;);

#endif
