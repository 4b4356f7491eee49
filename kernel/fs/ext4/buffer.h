/* SPDX-License-Identifier: MIT */
/*
 * Metadata blocks in memory, and how they reach the disk. A file system has a cache of buffers of its own, not the page cache of
 * its device: it must know which blocks belong to one operation, so that what is written is always the state between two
 * operations (and so that a journal can be put under it later).
 *
 *     ext4_begin()  buffer_get(), buffer_access(), change, buffer_dirty() ...  ext4_end()      many at a time
 *     ext4_commit(): shuts new operations out, waits for those that run, takes all dirty buffers (WRITING), lets operations in
 *                    again; then waits for the data that these blocks speak of, writes them in order, flushes the device
 *
 * A buffer that is WRITING is not changed: buffer_access() waits. Between ext4_begin and ext4_end nobody may wait for a page
 * of the page cache: its writeback begins operations.
 */
#ifndef EXT4_BUFFER_H
#define EXT4_BUFFER_H

#include <lichen/block.h>
#include <lichen/list.h>
#include <lichen/wait.h>

struct ext4;

enum buffer_state {
	BUFFER_UPTODATE = 1,
	BUFFER_READING = 2,
	BUFFER_DIRTY = 4,
	BUFFER_WRITING = 8,
	BUFFER_GONE = 16, /* forgotten: out of the hash */
	BUFFER_AGAIN = 64, /* dirtied while WRITING: group descriptors and the superblock, which change when they are sealed */
	BUFFER_UNSEALED = 32, /* its checksum is computed when it is committed */
};

/* What a buffer was found (or made) to be: checked once, not at every use. */
enum buffer_kind {
	KIND_NONE,
	KIND_EXTENTS,
	KIND_DIRECTORY, /* a leaf: entries, and a tail with a checksum */
	KIND_DX_ROOT,
	KIND_DX_NODE,
	KIND_XATTR,
	KIND_BITMAP,
};

struct buffer {
	struct list hash_node, lru_node, dirty_node;
	u64 block;
	char *data;
	struct page *page;
	_Atomic u32 state;
	u32 refcount; /* fs->buffers_lock */
	u8 kind;
	u32 seed; /* of its checksum */
	long error; /* of the read */
};

struct buffer_request; /* buffer.c */

struct buffer_cache {
	spinlock_t lock;
	struct list *hash;
	u32 hash_mask;
	struct list lru;   /* unused and clean, oldest first */
	struct list dirty;
	u32 count, limit;
	u32 dirty_count;
	struct wait_queue wait; /* read, written */
	/* operations and commits */
	struct rwlock operations; /* read: an operation runs; write: a commit takes the dirty buffers */
	struct mutex commit_mutex;
	_Atomic u64 commits_begun, commits_done;
	_Atomic s64 ordered[2];	/* data writes in flight, by parity of the epoch */
	_Atomic u64 epoch;
	struct wait_queue ordered_wait;
	struct buffer_request *requests;
	long commit_error;
};

long buffers_init(struct ext4 *fs);
/* All buffers are unused. */
void buffers_destroy(struct ext4 *fs);

/* The block's buffer with a reference, or NULL if that needs I/O or a wait. */
struct buffer *buffer_find(struct ext4 *fs, u64 block);
/* The same, read: a struct buffer * (as long), or -EIO; -EUCLEAN for a block beyond the file system. Waits for memory. */
ASYNC_DECLARE(buffer_get, struct ext4 *fs; u64 block; struct buffer *buffer; u32 ticket; struct block_segment segment;);
/* A block that was just allocated: zeroes, not read. Waits for memory. */
ASYNC_DECLARE(buffer_new, struct ext4 *fs; u64 block; struct buffer *buffer; u32 ticket;);
void buffer_put(struct ext4 *fs, struct buffer *buffer);
/* Starts reading a block that will be wanted soon; no error, no wait. */

/* Until it may be changed, in an operation: 0. */
ASYNC_DECLARE(buffer_access, struct ext4 *fs; struct buffer *buffer; u32 ticket;);
#define BUFFER_ACCESS(filesystem, b)                                                               \
	do {                                                                                       \
		if (unlikely(atomic_load(&(b)->state) & BUFFER_WRITING))                            \
			AWAIT(buffer_access, .fs = (filesystem), .buffer = (b));                   \
	} while (0)
/* It was changed, in an operation. */
void buffer_dirty(struct ext4 *fs, struct buffer *buffer);
/* The same, and its kind's checksum is to be computed at the commit. */
static inline void buffer_dirty_unsealed(struct ext4 *fs, struct buffer *buffer)
{
	atomic_fetch_or(&buffer->state, BUFFER_UNSEALED);
	buffer_dirty(fs, buffer);
}
/* Blocks are being freed: their buffers will not be written any more. Waits for writes in flight. 0. */
ASYNC_DECLARE(buffer_forget, struct ext4 *fs; u64 block; u64 count; struct buffer *buffer; u32 ticket;);

/* An operation: what it changes reaches the disk together. 0, or -EROFS. */
ASYNC_DECLARE(ext4_begin, struct ext4 *fs;);
void ext4_end(struct ext4 *fs);
/* Data of blocks allocated in this operation is on its way: commits of that epoch wait for it. */
u64 ext4_ordered_begin(struct ext4 *fs);
void ext4_ordered_end(struct ext4 *fs, u64 epoch);
/* All operations ended before are on the disk: 0 or the first error. */
ASYNC_DECLARE(ext4_commit, struct ext4 *fs; bool no_flush; u64 wanted; struct list writing; u64 epoch; u32 ticket; u32 n; u32 i;
	struct buffer *buffer; long error;);

#endif
