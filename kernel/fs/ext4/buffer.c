// SPDX-License-Identifier: MIT
/* The cache of metadata blocks, and the commit: see buffer.h. A block is in the cache at most once. */
#include <lichen/mm.h>
#include <lichen/task.h>
#include "ext4.h"

#define REQUESTS	  16u /* of a commit, in flight */
#define REQUEST_SEGMENTS  32u
#define BUFFERS_MIN	  256u
#define MEMORY_SHARE	  32u /* one part in so many of memory for unused buffers */

struct buffer_request {
	struct block_request request;
	struct block_segment segments[REQUEST_SEGMENTS];
	struct list buffers; /* struct buffer.dirty_node */
	bool used;
};

long buffers_init(struct ext4 *fs)
{
	struct buffer_cache *cache = &fs->buffers;
	struct memory_info info;

	memory_info(&info);
	cache->limit = (u32)max(min(info.total / MEMORY_SHARE, (u64)1 << 20), (u64)BUFFERS_MIN);
	cache->hash_mask = 1023;
	while (cache->hash_mask < cache->limit / 2)
		cache->hash_mask = cache->hash_mask * 2 + 1;
	cache->hash = kmalloc(sizeof(*cache->hash) * (cache->hash_mask + 1));
	cache->requests = kzalloc(sizeof(*cache->requests) * REQUESTS);
	if (!cache->hash || !cache->requests) {
		kfree(cache->hash);
		kfree(cache->requests);
		return -ENOMEM;
	}
	for (u32 i = 0; i <= cache->hash_mask; i++)
		list_init(&cache->hash[i]);
	spin_init(&cache->lock);
	list_init(&cache->lru);
	list_init(&cache->dirty);
	wait_queue_init(&cache->wait);
	wait_queue_init(&cache->ordered_wait);
	rwlock_init(&cache->operations);
	mutex_init(&cache->commit_mutex);
	return 0;
}

static struct list *bucket(struct buffer_cache *cache, u64 block)
{
	return &cache->hash[(block * 0x9e3779b97f4a7c15ull >> 32) & cache->hash_mask];
}

/* Out of every list; nobody has it. */
static void buffer_free(struct buffer *buffer)
{
	page_put(buffer->page);
	kfree(buffer);
}

void buffers_destroy(struct ext4 *fs)
{
	struct buffer_cache *cache = &fs->buffers;
	struct buffer *buffer, *next;

	for (u32 i = 0; i <= cache->hash_mask; i++)
		list_for_each_safe(buffer, next, &cache->hash[i], hash_node) {
			list_remove(&buffer->hash_node);
			buffer_free(buffer);
		}
	kfree(cache->hash);
	kfree(cache->requests);
	cache->hash = NULL;
}

static struct buffer *lookup(struct buffer_cache *cache, u64 block) REQUIRES(cache->lock)
{
	struct buffer *buffer;

	list_for_each(buffer, bucket(cache, block), hash_node)
		if (buffer->block == block)
			return buffer;
	return NULL;
}

static void take(struct buffer *buffer)
{
	if (!buffer->refcount++)
		list_remove(&buffer->lru_node);
}

struct buffer *buffer_find(struct ext4 *fs, u64 block)
{
	struct buffer_cache *cache = &fs->buffers;
	struct buffer *buffer;

	spin_lock(&cache->lock);
	buffer = lookup(cache, block);
	if (buffer && (atomic_load(&buffer->state) & BUFFER_UPTODATE))
		take(buffer);
	else
		buffer = NULL;
	spin_unlock(&cache->lock);
	return buffer;
}

/* Unused buffers beyond the limit go, oldest first. */
static void shrink(struct buffer_cache *cache) REQUIRES(cache->lock)
{
	while (cache->count > cache->limit && !list_empty(&cache->lru)) {
		struct buffer *buffer = list_first(&cache->lru, struct buffer, lru_node);

		list_remove(&buffer->lru_node);
		list_remove(&buffer->hash_node);
		cache->count--;
		buffer_free(buffer);
	}
}

/* Without a block yet. The oldest unused one, if there is no memory, then the reserve: operations that have begun need it. */
static struct buffer *buffer_make(struct buffer_cache *cache)
{
	struct buffer *buffer = kzalloc(sizeof(*buffer));
	struct page *page = buffer ? page_alloc(0, ALLOC_POOL) : NULL;

	if (unlikely(!page)) {
		kfree(buffer);
		buffer = NULL;
		spin_lock(&cache->lock);
		if (!list_empty(&cache->lru)) {
			buffer = list_first(&cache->lru, struct buffer, lru_node);
			list_remove(&buffer->lru_node);
			list_remove(&buffer->hash_node);
			cache->count--;
		}
		spin_unlock(&cache->lock);
		if (!buffer)
			buffer = kmalloc_reserve(sizeof(*buffer));
		else
			page = buffer->page;
		if (buffer && !page)
			page = page_alloc(0, ALLOC_POOL | ALLOC_NOFAIL_RESERVE);
		if (!page) {
			kfree(buffer);
			return NULL;
		}
		memset(buffer, 0, sizeof(*buffer));
	}
	buffer->page = page;
	buffer->data = page_address(page);
	buffer->refcount = 1;
	atomic_init(&buffer->state, BUFFER_READING);
	list_init(&buffer->hash_node);
	list_init(&buffer->lru_node);
	list_init(&buffer->dirty_node);
	return buffer;
}

/* A referenced buffer of the block; *fresh: it was made now, and is READING until the caller says otherwise. NULL without memory. */
static struct buffer *find_or_make(struct ext4 *fs, u64 block, bool *fresh)
{
	struct buffer_cache *cache = &fs->buffers;
	struct buffer *buffer, *made = NULL;

	*fresh = false;
	for (;;) {
		spin_lock(&cache->lock);
		buffer = lookup(cache, block);
		if (!buffer && made) {
			list_add(bucket(cache, block), &made->hash_node);
			cache->count++;
			shrink(cache);
			buffer = made;
			made = NULL;
			*fresh = true;
		} else if (buffer) {
			take(buffer);
		}
		spin_unlock(&cache->lock);
		if (buffer)
			break;
		made = buffer_make(cache);
		if (!made)
			return NULL;
		made->block = block;
	}
	if (made)
		buffer_free(made);
	return buffer;
}

/* Nobody uses it any more: under cache->lock. True: it must be freed. */
static bool release(struct buffer_cache *cache, struct buffer *buffer) REQUIRES(cache->lock)
{
	u32 state = atomic_load(&buffer->state);

	if (state & BUFFER_GONE)
		return true;
	if (!(state & BUFFER_UPTODATE)) {
		list_remove(&buffer->hash_node);
		cache->count--;
		return true;
	}
	list_add_tail(&cache->lru, &buffer->lru_node);
	return false;
}

void buffer_put(struct ext4 *fs, struct buffer *buffer)
{
	struct buffer_cache *cache = &fs->buffers;
	bool gone = false;

	spin_lock(&cache->lock);
	if (!--buffer->refcount)
		gone = release(cache, buffer);
	spin_unlock(&cache->lock);
	if (gone)
		buffer_free(buffer);
}

/* READING is over. */
static void read_done(struct ext4 *fs, struct buffer *buffer, long error)
{
	buffer->error = error;
	if (!error)
		atomic_fetch_or(&buffer->state, BUFFER_UPTODATE);
	atomic_fetch_and(&buffer->state, ~BUFFER_READING);
	wait_wake_all(&fs->buffers.wait);
}

/* An operation cannot stop half-way for want of memory: it waits. */
ASYNC(wait_for_buffers, u32 unused;)
{
	ASYNC_BEGIN;
	AWAIT(page_alloc_wait, .flags = ALLOC_POOL, .must = true);
	page_put((struct page *)RESULT);
	AWAIT(memory_wait);
	ASYNC_END;
}

ASYNC_DEFINE(buffer_get)
{
	u32 state;
	bool fresh;

	ASYNC_BEGIN;
	if (unlikely(f->block >= f->fs->blocks))
		ASYNC_RETURN(ext4_corrupt(f->fs, "block %llu lies beyond the end", (unsigned long long)f->block));
	while (unlikely(!(f->buffer = find_or_make(f->fs, f->block, &fresh))))
		AWAIT(wait_for_buffers);
	if (likely(atomic_load(&f->buffer->state) & BUFFER_UPTODATE))
		ASYNC_RETURN((long)f->buffer);
	for (;;) {
		if (fresh) {
			f->segment = (struct block_segment){page_phys(f->buffer->page), f->fs->block_size};
			AWAIT(block_io, .device = f->fs->device, .op = BLOCK_READ, .sector = f->block * f->fs->sectors_per_block,
				.segments = &f->segment, .segment_count = 1);
			read_done(f->fs, f->buffer, RESULT);
		}
		f->ticket = wait_ticket(&f->fs->buffers.wait);
		state = atomic_load(&f->buffer->state);
		if (state & BUFFER_UPTODATE)
			ASYNC_RETURN((long)f->buffer);
		if (!(state & BUFFER_READING)) {
			long error = f->buffer->error;

			buffer_put(f->fs, f->buffer);
			ASYNC_RETURN(error ? error : -EIO);
		}
		AWAIT(wait_on, .queue = &f->fs->buffers.wait, .ticket = f->ticket, .uninterruptible = true);
		fresh = false;
	}
	ASYNC_END;
}

ASYNC_DEFINE(buffer_new)
{
	bool fresh;

	ASYNC_BEGIN;
	while (unlikely(!(f->buffer = find_or_make(f->fs, f->block, &fresh))))
		AWAIT(wait_for_buffers);
	for (;;) {
		/* Left over from an earlier use of the block: somebody may still read or write it. */
		f->ticket = wait_ticket(&f->fs->buffers.wait);
		if (fresh || !(atomic_load(&f->buffer->state) & (BUFFER_READING | BUFFER_WRITING)))
			break;
		AWAIT(wait_on, .queue = &f->fs->buffers.wait, .ticket = f->ticket, .uninterruptible = true);
		fresh = false;
	}
	memset(f->buffer->data, 0, f->fs->block_size);
	f->buffer->kind = KIND_NONE;
	f->buffer->error = 0;
	atomic_fetch_or(&f->buffer->state, BUFFER_UPTODATE);
	atomic_fetch_and(&f->buffer->state, ~(BUFFER_READING | BUFFER_UNSEALED));
	wait_wake_all(&f->fs->buffers.wait);
	ASYNC_RETURN((long)f->buffer);
	ASYNC_END;
}

ASYNC_DEFINE_SHALLOW(buffer_access, sizeof(struct wait_on_frame))
{
	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&f->fs->buffers.wait);
		if (!(atomic_load(&f->buffer->state) & BUFFER_WRITING))
			ASYNC_RETURN(0);
		AWAIT(wait_on, .queue = &f->fs->buffers.wait, .ticket = f->ticket, .uninterruptible = true);
	}
	ASYNC_END;
}

void buffer_dirty(struct ext4 *fs, struct buffer *buffer)
{
	struct buffer_cache *cache = &fs->buffers;

	bool first = false;

	if (atomic_load_explicit(&buffer->state, memory_order_relaxed) & (BUFFER_DIRTY | BUFFER_GONE))
		return;
	spin_lock(&cache->lock);
	if (atomic_load(&buffer->state) & BUFFER_WRITING) {
		atomic_fetch_or(&buffer->state, BUFFER_AGAIN);
	} else if (!(atomic_fetch_or(&buffer->state, BUFFER_DIRTY) & BUFFER_DIRTY)) {
		buffer->refcount++;
		list_add_tail(&cache->dirty, &buffer->dirty_node);
		first = !cache->dirty_count++;
	}
	spin_unlock(&cache->lock);
	if (first)
		wait_wake_all(&fs->flusher_wait);
}

/* Takes the block's buffer out of the cache, unless it is being read or written: then it is returned, with a reference. */
static struct buffer *forget(struct ext4 *fs, u64 block)
{
	struct buffer_cache *cache = &fs->buffers;
	struct buffer *buffer, *gone = NULL;

	spin_lock(&cache->lock);
	buffer = lookup(cache, block);
	if (buffer) {
		take(buffer);
		if (!(atomic_load(&buffer->state) & (BUFFER_READING | BUFFER_WRITING))) {
			if (atomic_fetch_and(&buffer->state, ~BUFFER_DIRTY) & BUFFER_DIRTY) {
				list_remove(&buffer->dirty_node);
				cache->dirty_count--;
				buffer->refcount--;
			}
			atomic_fetch_or(&buffer->state, BUFFER_GONE);
			list_remove(&buffer->hash_node);
			cache->count--;
			if (!--buffer->refcount)
				gone = buffer;
			buffer = NULL;
		}
	}
	spin_unlock(&cache->lock);
	if (gone)
		buffer_free(gone);
	return buffer;
}

ASYNC_DEFINE(buffer_forget)
{
	ASYNC_BEGIN;
	while (f->count) {
		f->ticket = wait_ticket(&f->fs->buffers.wait);
		f->buffer = forget(f->fs, f->block);
		if (f->buffer) {
			if (atomic_load(&f->buffer->state) & (BUFFER_READING | BUFFER_WRITING))
				AWAIT(wait_on, .queue = &f->fs->buffers.wait, .ticket = f->ticket, .uninterruptible = true);
			buffer_put(f->fs, f->buffer);
			continue;
		}
		f->block++;
		f->count--;
	}
	ASYNC_END;
}

/* --- operations --- */

ASYNC_DEFINE(ext4_begin)
{
	ASYNC_BEGIN;
	if (!rwlock_try_read(&f->fs->buffers.operations))
		AWAIT(rwlock_read, .lock = &f->fs->buffers.operations);
	if (likely(!f->fs->read_only && !f->fs->failed))
		ASYNC_RETURN(0);
	rwlock_read_unlock(&f->fs->buffers.operations);
	ASYNC_RETURN(-EROFS);
	ASYNC_END;
}

void ext4_end(struct ext4 *fs)
{
	rwlock_read_unlock(&fs->buffers.operations);
	if (unlikely(fs->buffers.dirty_count > fs->buffers.limit / 2))
		wait_wake_all(&fs->flusher_wait);
}

u64 ext4_ordered_begin(struct ext4 *fs)
{
	u64 epoch = atomic_load(&fs->buffers.epoch);

	atomic_fetch_add(&fs->buffers.ordered[epoch & 1], 1);
	return epoch;
}

void ext4_ordered_end(struct ext4 *fs, u64 epoch)
{
	if (atomic_fetch_sub(&fs->buffers.ordered[epoch & 1], 1) == 1)
		wait_wake_all(&fs->buffers.ordered_wait);
}

/* --- the commit --- */

/* Merges two lists that are sorted by block. */
static void merge(struct list *to, struct list *other)
{
	struct list *at = to->next;

	while (!list_empty(other)) {
		struct buffer *b = list_first(other, struct buffer, dirty_node);

		while (at != to && list_entry(at, struct buffer, dirty_node)->block < b->block)
			at = at->next;
		if (at == to) {
			list_splice_tail(to, other);
			return;
		}
		list_remove(&b->dirty_node);
		list_insert_between(&b->dirty_node, at->prev, at);
	}
}

/* Merge sort: run i holds 2^i buffers. */
static void sort_by_block(struct list *all)
{
	struct list runs[24], one;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(runs); i++)
		list_init(&runs[i]);
	while (!list_empty(all)) {
		struct list *node = all->next;

		list_remove(node);
		list_init(&one);
		list_add(&one, node);
		for (i = 0; i < ARRAY_SIZE(runs) - 1 && !list_empty(&runs[i]); i++) {
			merge(&runs[i], &one);
			list_splice_tail(&one, &runs[i]);
		}
		merge(&runs[i], &one);
	}
	for (i = 0; i < ARRAY_SIZE(runs); i++)
		merge(all, &runs[i]);
}

/* No operation runs: seals what was changed and takes it over for writing. */
static void take_dirty(struct ext4 *fs, struct list *writing)
{
	struct buffer_cache *cache = &fs->buffers;
	struct buffer *buffer;

	groups_seal(fs);
	super_seal(fs);
	list_init(writing);
	spin_lock(&cache->lock);
	list_splice_tail(writing, &cache->dirty);
	cache->dirty_count = 0;
	spin_unlock(&cache->lock);
	list_for_each(buffer, writing, dirty_node) {
		if (atomic_fetch_and(&buffer->state, ~BUFFER_UNSEALED) & BUFFER_UNSEALED)
			buffer_seal(fs, buffer);
		atomic_fetch_or(&buffer->state, BUFFER_WRITING);
		atomic_fetch_and(&buffer->state, ~BUFFER_DIRTY);
	}
}

/* Fills a request with the next run of consecutive blocks. */
static void next_run(struct ext4 *fs, struct list *writing, struct buffer_request *r, struct task *self)
{
	u32 n = 0, room = min(REQUEST_SEGMENTS, fs->device->max_segments);
	u64 first = 0;

	list_init(&r->buffers);
	while (n < room && !list_empty(writing)) {
		struct buffer *buffer = list_first(writing, struct buffer, dirty_node);

		if (n && buffer->block != first + n)
			break;
		if (!n)
			first = buffer->block;
		list_remove(&buffer->dirty_node);
		list_add_tail(&r->buffers, &buffer->dirty_node);
		r->segments[n++] = (struct block_segment){page_phys(buffer->page), fs->block_size};
	}
	r->request = (struct block_request){
		.op = BLOCK_WRITE,
		.sector = first * fs->sectors_per_block,
		.segments = r->segments,
		.segment_count = n,
		.task = self,
	};
	r->used = true;
}

static void run_done(struct ext4 *fs, struct buffer_request *r)
{
	bool again;

	r->used = false;
	while (!list_empty(&r->buffers)) {
		struct buffer *buffer = list_first(&r->buffers, struct buffer, dirty_node);

		list_remove(&buffer->dirty_node);
		spin_lock(&fs->buffers.lock);
		again = atomic_fetch_and(&buffer->state, ~(BUFFER_WRITING | BUFFER_AGAIN)) & BUFFER_AGAIN;
		spin_unlock(&fs->buffers.lock);
		if (again)
			buffer_dirty(fs, buffer);
		buffer_put(fs, buffer);
	}
	wait_wake_all(&fs->buffers.wait);
}

/*
 * A commit that began after the caller's last operation had ended serves him as well as one of his own: of many that fsync
 * at the same time two commits are made, not as many as they are.
 */
ASYNC_DEFINE(ext4_commit)
{
	struct buffer_cache *cache = &f->fs->buffers;

	ASYNC_BEGIN;
	f->wanted = atomic_load(&cache->commits_begun) + 1;
	AWAIT(mutex_lock, .mutex = &f->fs->buffers.commit_mutex);
	cache = &f->fs->buffers;
	if (atomic_load(&cache->commits_done) >= f->wanted) {
		f->error = cache->commit_error;
		mutex_unlock(&cache->commit_mutex);
		ASYNC_RETURN(f->error);
	}
	if (f->fs->failed) {
		mutex_unlock(&cache->commit_mutex);
		ASYNC_RETURN(-EIO);
	}
	AWAIT(rwlock_write, .lock = &f->fs->buffers.operations);
	cache = &f->fs->buffers;
	f->wanted = atomic_fetch_add(&cache->commits_begun, 1) + 1;
	f->epoch = atomic_fetch_add(&cache->epoch, 1);
	take_dirty(f->fs, &f->writing);
	rwlock_write_unlock(&cache->operations);
	/* The data that these blocks speak of goes first. */
	for (;;) {
		cache = &f->fs->buffers;
		f->ticket = wait_ticket(&cache->ordered_wait);
		if (!atomic_load(&cache->ordered[f->epoch & 1]))
			break;
		AWAIT(wait_on, .queue = &f->fs->buffers.ordered_wait, .ticket = f->ticket, .uninterruptible = true);
	}
	sort_by_block(&f->writing);
	while (!list_empty(&f->writing)) {
		for (f->n = 0; f->n < REQUESTS && !list_empty(&f->writing); f->n++) {
			next_run(f->fs, &f->writing, &f->fs->buffers.requests[f->n], self);
			block_submit(f->fs->device, &f->fs->buffers.requests[f->n].request);
		}
		for (f->i = 0; f->i < f->n; f->i++) {
			AWAIT(block_wait, .request = &f->fs->buffers.requests[f->i].request);
			if (RESULT < 0)
				f->error = RESULT;
			run_done(f->fs, &f->fs->buffers.requests[f->i]);
		}
	}
	if (!f->error) {
		AWAIT(block_flush, .device = f->fs->device);
		f->error = RESULT;
	}
	if (f->error)
		ext4_write_failed(f->fs, "metadata");
	cache = &f->fs->buffers;
	cache->commit_error = f->error;
	atomic_store(&cache->commits_done, f->wanted);
	mutex_unlock(&cache->commit_mutex);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
