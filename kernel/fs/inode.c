// SPDX-License-Identifier: MIT
/*
 * Inodes in memory: who is found by number, which are dirty, which are unused but kept, and how the last one goes.
 *
 *     used <---> unused (on the LRU list, hashed, nlink > 0) ---> DYING: written, pages dropped, evicted, freed
 *       |                                                         ^
 *       +---- nlink 0, not hashed, FS_NO_CACHE, or unmounted -----+
 *
 * Like that of dentries the LRU list is lazy: it may hold inodes that are in use again.
 *
 * A DYING inode stays in the hash until its file system has done with it, so that a lookup of the same number waits
 * instead of reading what is not yet written.
 */
#include "internal.h"
#include <linux/time.h>

#define HASH_BITS 12
#define LRU_LIMIT 16384 /* unused inodes; each may hold pages, which reclaim takes by itself */
#define WRITE_DELAY (5 * NSEC_PER_SEC)

static spinlock_t inode_lock = SPINLOCK_INIT; /* guards the hash, the LRU list, sb->inodes, dirty lists, and refcount 1 -> 0 */
static struct list buckets[1 << HASH_BITS];
static struct list lru = LIST_INIT(lru);
static u64 lru_count, inode_count;
static struct list dirty = LIST_INIT(dirty);
static struct wait_queue dirtied = WAIT_QUEUE_INIT(dirtied);
static struct wait_queue evicted = WAIT_QUEUE_INIT(evicted);

static struct list *bucket_of(const struct superblock *sb, ino_t number)
{
	u64 key = ((uintptr_t)sb >> 6) + number;
	struct list *bucket = &buckets[key * 0x9e3779b97f4a7c15ull >> (64 - HASH_BITS)];

	return bucket;
}

struct timespec64_ time_now(void)
{
	nsec_t now = time_realtime();

	return (struct timespec64_){now / NSEC_PER_SEC, now % NSEC_PER_SEC};
}

static const struct inode_ops no_ops;
static const struct file_ops no_file_ops;

void inode_init(struct inode *inode, struct superblock *sb, ino_t number)
{
	memset(inode, 0, sizeof(*inode));
	atomic_init(&inode->refcount, 1);
	inode->sb = sb;
	inode->number = number;
	inode->ops = &no_ops;
	inode->file_ops = &no_file_ops;
	inode->nlink = 1;
	inode->atime = inode->mtime = inode->ctime = inode->btime = time_now();
	rwlock_init(&inode->lock);
	page_cache_init(&inode->cache, inode, NULL);
	list_init(&inode->hash_node);
	list_init(&inode->dirty_node);
	list_init(&inode->lru_node);
	spin_lock(&inode_lock);
	list_add_tail(&sb->inodes, &inode->sb_node);
	inode_count++;
	spin_unlock(&inode_lock);
}

void inode_init_owner(struct inode *inode, const struct inode *dir, mode_t mode)
{
	const struct cred *cred = current_thread()->cred;

	inode->uid = cred->fsuid;
	inode->gid = cred->fsgid;
	if (dir && (dir->mode & S_ISGID)) {
		inode->gid = dir->gid;
		if (S_ISDIR(mode))
			mode |= S_ISGID;
		else if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
			!cred_in_group(cred, dir->gid) && !capable(CAP_FSETID))
			mode &= ~S_ISGID;
	}
	inode->mode = mode;
}

void inode_get(struct inode *inode)
{
	atomic_fetch_add_explicit(&inode->refcount, 1, memory_order_relaxed);
}

bool inode_get_live(struct inode *inode)
{
	bool live;

	spin_lock(&inode_lock);
	live = !(inode->state & INODE_DYING);
	if (live)
		inode_get(inode);
	spin_unlock(&inode_lock);
	return live;
}

static struct inode *inode_find_hashed(struct superblock *sb, ino_t number) REQUIRES(inode_lock)
{
	struct list *bucket = bucket_of(sb, number);
	struct inode *inode;

	if (!bucket->next)
		return NULL; /* never used */
	list_for_each(inode, bucket, hash_node)
		if (inode->number == number && inode->sb == sb)
			return inode;
	return NULL;
}

ASYNC_DEFINE(inode_find)
{
	bool dying;

	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&evicted);
		spin_lock(&inode_lock);
		f->inode = inode_find_hashed(f->sb, f->number);
		dying = f->inode && (f->inode->state & INODE_DYING);
		if (f->inode && !dying) {
			inode_get(f->inode);
			if (!list_empty(&f->inode->lru_node)) {
				list_remove(&f->inode->lru_node);
				lru_count--;
			}
		}
		spin_unlock(&inode_lock);
		if (!dying)
			ASYNC_RETURN((long)f->inode);
		AWAIT(wait_on, .queue = &evicted, .ticket = f->ticket, .uninterruptible = true);
	}
	ASYNC_END;
}

long inode_hash(struct inode *inode)
{
	struct list *bucket = bucket_of(inode->sb, inode->number);
	long error = 0;

	spin_lock(&inode_lock);
	if (!bucket->next)
		list_init(bucket);
	if (inode_find_hashed(inode->sb, inode->number)) {
		error = -EEXIST;
	} else {
		list_add(bucket, &inode->hash_node);
		atomic_fetch_or(&inode->state, INODE_HASHED);
	}
	spin_unlock(&inode_lock);
	return error;
}

/*
 * From here on nobody takes a reference: not by a lookup, not from the list of unused ones, and not from that of dirty ones, whose
 * writer would put its reference back and so make a freed inode an unused one. Who marks it evicts it.
 */
static void mark_dying(struct inode *inode) REQUIRES(inode_lock)
{
	atomic_fetch_or(&inode->state, INODE_DYING);
	list_remove(&inode->dirty_node);
	if (!list_empty(&inode->lru_node)) {
		list_remove(&inode->lru_node);
		lru_count--;
	}
}

/* Writes what is dirty of one inode. The caller has a reference, or has marked it as dying. */
ASYNC_DEFINE(inode_sync)
{
	struct inode *inode = f->inode;

	ASYNC_BEGIN;
	if (f->pages && f->inode->cache.ops && f->inode->cache.ops->write) {
		AWAIT(page_cache_sync, .cache = &f->inode->cache, .start = 0, .end = ~0ull);
		f->error = RESULT;
	}
	spin_lock(&inode_lock);
	if (!(atomic_fetch_and(&inode->state, ~INODE_DIRTY) & INODE_DIRTY))
		inode = NULL;
	else
		list_remove(&inode->dirty_node);
	spin_unlock(&inode_lock);
	if (inode && inode->sb->fs->write_inode) {
		AWAIT_OP(inode->sb->fs->write_inode, fs_inode, .inode = f->inode);
		if (RESULT < 0 && !f->error)
			f->error = RESULT;
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* The next inode of a file system that has something to write, with a reference; `after` (or NULL) stays the caller's. */
static struct inode *next_to_sync(struct superblock *sb, struct inode *after)
{
	struct list *node;
	struct inode *inode = NULL;

	spin_lock(&inode_lock);
	node = after ? after->sb_node.next : sb->inodes.next;
	for (; node != &sb->inodes; node = node->next) {
		inode = list_entry(node, struct inode, sb_node);
		if (!(inode->state & INODE_DYING) && ((inode->state & INODE_DIRTY) || inode->cache.dirty)) {
			inode_get(inode);
			break;
		}
	}
	spin_unlock(&inode_lock);
	return node == &sb->inodes ? NULL : inode;
}

ASYNC_DEFINE(inode_sync_all)
{
	struct inode *next;

	ASYNC_BEGIN;
	for (;;) {
		next = next_to_sync(f->sb, f->inode);
		f->last = f->inode;
		f->inode = next;
		if (f->last && !inode_put_fast(f->last))
			AWAIT(inode_put, .inode = f->last);
		if (!f->inode)
			ASYNC_RETURN(f->error);
		AWAIT(inode_sync, .inode = f->inode, .pages = true);
		if (RESULT < 0 && !f->error)
			f->error = RESULT;
	}
	ASYNC_END;
}

/* Attributes that changed are written after a while: one task for all file systems. */
ASYNC(inode_writeback, struct inode *inode; u32 ticket; nsec_t until;)
{
	bool empty;

	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&dirtied);
		spin_lock(&inode_lock);
		empty = list_empty(&dirty);
		spin_unlock(&inode_lock);
		if (empty) {
			AWAIT(wait_on, .queue = &dirtied, .ticket = f->ticket, .uninterruptible = true);
			continue;
		}
		AWAIT(sleep_until, .deadline = time_monotonic() + WRITE_DELAY, .uninterruptible = true);
		for (;;) {
			f->inode = NULL;
			spin_lock(&inode_lock);
			if (!list_empty(&dirty)) {
				f->inode = list_first(&dirty, struct inode, dirty_node);
				inode_get(f->inode);
			}
			spin_unlock(&inode_lock);
			if (!f->inode)
				break;
			AWAIT(inode_sync, .inode = f->inode);
			AWAIT(inode_put, .inode = f->inode);
		}
	}
	ASYNC_END;
}

void inode_dirty(struct inode *inode)
{
	static bool started;
	bool first = false, start = false;

	if ((inode->state & INODE_DIRTY) || !inode->sb->fs->write_inode)
		return;
	spin_lock(&inode_lock);
	if (!(atomic_fetch_or(&inode->state, INODE_DIRTY) & INODE_DIRTY)) {
		first = list_empty(&dirty);
		start = !started;
		started = true;
		/* A dying one is written by who evicts it. */
		if (!(inode->state & INODE_DYING))
			list_add_tail(&dirty, &inode->dirty_node);
	}
	spin_unlock(&inode_lock);
	if (start && !task_spawn("inode-writeback", &inode_writeback_fn, NULL, 0))
		started = false; /* the next one tries again; sync(2) writes meanwhile */
	if (first)
		wait_wake_all(&dirtied);
}

void inode_touch(struct inode *inode, u32 attr_times)
{
	struct timespec64_ now = time_now();

	if (attr_times & ATTR_ATIME)
		inode->atime = now;
	if (attr_times & ATTR_MTIME)
		inode->mtime = now;
	if (attr_times & ATTR_CTIME)
		inode->ctime = now;
	inode_dirty(inode);
}

/* Whoever set INODE_DYING calls it: nobody has a reference, nobody gets one. */
ASYNC(inode_evict, struct inode *inode;)
{
	struct inode *inode = f->inode;
	const struct filesystem *fs = inode->sb->fs;

	ASYNC_BEGIN;
	if (inode->nlink && !(inode->state & INODE_BAD)) {
		do {
			/* For want of memory nothing is lost. */
			AWAIT(inode_sync, .inode = f->inode, .pages = true);
		} while (RESULT == -ENOMEM);
		if (RESULT < 0)
			log_ratelimited(LOG_ERR, "inode %llu of %s could not be written: error %ld",
				(unsigned long long)inode->number, fs->name, -RESULT);
	}
	/* Even one without pages may be on the list of those to be written. */
	if (inode->cache.ops)
		AWAIT(page_cache_destroy, .cache = &f->inode->cache);
	if (fs->evict_inode)
		AWAIT_OP(fs->evict_inode, fs_inode, .inode = f->inode);
	locks_free(inode);
	notify_free(inode);
	spin_lock(&inode_lock);
	list_remove(&inode->hash_node);
	list_remove(&inode->sb_node);
	list_remove(&inode->dirty_node);
	inode_count--;
	spin_unlock(&inode_lock);
	wait_wake_all(&evicted);
	fs->free_inode(inode);
	ASYNC_END;
}

/* Drops a reference if that needs no waiting. */
bool inode_put_fast(struct inode *inode)
{
	u32 n = atomic_load_explicit(&inode->refcount, memory_order_relaxed);

	while (n > 1)
		if (atomic_compare_exchange_weak_explicit(&inode->refcount, &n, n - 1,
			    memory_order_acq_rel, memory_order_relaxed))
			return true;
	return false;
}

void inode_discard(struct inode *inode)
{
	spin_lock(&inode_lock);
	list_remove(&inode->sb_node);
	list_remove(&inode->dirty_node);
	inode_count--;
	spin_unlock(&inode_lock);
	inode->sb->fs->free_inode(inode);
}

ASYNC_DEFINE(inode_put)
{
	struct inode *inode = f->inode;
	bool keep = true;

	ASYNC_BEGIN;
	if (inode_put_fast(inode))
		ASYNC_RETURN(0);
	f->fs = inode->sb->fs;
	spin_lock(&inode_lock);
	if (atomic_fetch_sub_explicit(&inode->refcount, 1, memory_order_acq_rel) == 1) {
		keep = inode->nlink && !(f->fs->flags & FS_NO_CACHE) && atomic_load(&inode->sb->mounts) &&
			(inode->state & (INODE_HASHED | INODE_BAD)) == INODE_HASHED;
		if (keep && list_empty(&inode->lru_node)) {
			list_add_tail(&lru, &inode->lru_node);
			lru_count++;
		} else if (!keep) {
			mark_dying(inode);
		}
	}
	spin_unlock(&inode_lock);
	if (!keep)
		AWAIT(inode_evict, .inode = f->inode);
	else if (unlikely(lru_count > LRU_LIMIT))
		AWAIT(inode_shrink, .n = 64);
	ASYNC_END;
}

/* The oldest unused inode (of sb, if given), marked DYING, or NULL. */
static struct inode *take_unused(struct superblock *sb)
{
	struct inode *inode, *next, *found = NULL;

	spin_lock(&inode_lock);
	list_for_each_safe(inode, next, &lru, lru_node) {
		if (sb && inode->sb != sb)
			continue;
		if (!atomic_load(&inode->refcount)) {
			found = inode;
			break;
		}
		/* One that is in use for a moment (it is being written) comes back when that is over. */
		list_remove(&inode->lru_node);
		lru_count--;
	}
	if (found)
		mark_dying(found);
	spin_unlock(&inode_lock);
	return found;
}

ASYNC_DEFINE(inode_shrink)
{
	ASYNC_BEGIN;
	for (; f->n; f->n--) {
		f->inode = take_unused(NULL);
		if (!f->inode)
			break;
		AWAIT(inode_evict, .inode = f->inode);
	}
	ASYNC_END;
}

/* A file system without cache lets go of its inodes itself, when it is unmounted. */
static bool has_inodes(struct superblock *sb)
{
	bool has;

	spin_lock(&inode_lock);
	has = !list_empty(&sb->inodes);
	spin_unlock(&inode_lock);
	return has;
}

ASYNC_DEFINE(inode_evict_all)
{
	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&evicted);
		f->inode = take_unused(f->sb);
		if (f->inode)
			AWAIT(inode_evict, .inode = f->inode);
		else if (!(f->sb->fs->flags & FS_NO_CACHE) && has_inodes(f->sb))
			AWAIT(wait_on, .queue = &evicted, .ticket = f->ticket, .uninterruptible = true);
		else
			break;
	}
	ASYNC_END;
}

void inode_stats(u64 *inodes, u64 *unused)
{
	spin_lock(&inode_lock);
	*inodes = inode_count;
	*unused = lru_count;
	spin_unlock(&inode_lock);
}

/* Attributes change by the file system's own operation, or in the inode alone. The inode is locked for writing. */
ASYNC_DEFINE(inode_setattr)
{
	const struct attributes *a = f->attributes;
	struct inode *inode = f->inode;

	ASYNC_BEGIN;
	if (inode->ops->setattr) {
		AWAIT_OP(inode->ops->setattr, inode_setattr, .inode = f->inode, .attributes = f->attributes);
		ASYNC_RETURN(RESULT);
	}
	if (a->valid & ATTR_MODE)
		inode->mode = (inode->mode & S_IFMT) | (a->mode & ~S_IFMT);
	if (a->valid & ATTR_UID)
		inode->uid = a->uid;
	if (a->valid & ATTR_GID)
		inode->gid = a->gid;
	if (a->valid & ATTR_ATIME)
		inode->atime = a->atime;
	if (a->valid & ATTR_MTIME)
		inode->mtime = a->mtime;
	if (a->valid & ATTR_CTIME)
		inode->ctime = a->ctime;
	inode_dirty(inode);
	ASYNC_END;
}

/* --- executables are not written to --- */
long inode_deny_write(struct inode *inode)
{
	s32 n = atomic_load(&inode->writers);

	do {
		if (n > 0)
			return -ETXTBSY;
	} while (!atomic_compare_exchange_weak(&inode->writers, &n, n - 1));
	return 0;
}

void inode_allow_write(struct inode *inode)
{
	atomic_fetch_add(&inode->writers, 1);
}
