// SPDX-License-Identifier: MIT
/* What a file of tmpfs holds: pages of the page cache, which are reserved of the file system's space before they are written. */
#include "tmpfs.h"
#include <linux/falloc.h>

/* What files reserved is close to what they have in memory: holes are rare here. */
static _Atomic u64 all_pages;

/* Reserves pages for a file up to `end` bytes: 0 or -ENOSPC. A hole counts as if it were written. */
static long tmpfs_reserve(struct inode *inode, u64 end)
{
	struct tmpfs_sb *fs = inode->sb->private;
	struct tmpfs_inode *t = tmpfs_inode_of(inode);
	u64 pages = div_round_up(end, PAGE_SIZE);
	long error = 0;

	spin_lock(&fs->lock);
	if (pages > t->pages) {
		if (fs->max_pages && fs->pages + (pages - t->pages) > fs->max_pages) {
			error = -ENOSPC;
		} else {
			fs->pages += pages - t->pages;
			atomic_fetch_add(&all_pages, pages - t->pages);
			t->pages = pages;
		}
	}
	spin_unlock(&fs->lock);
	return error;
}

void tmpfs_unreserve(struct inode *inode, u64 end)
{
	struct tmpfs_sb *fs = inode->sb->private;
	struct tmpfs_inode *t = tmpfs_inode_of(inode);
	u64 pages = div_round_up(end, PAGE_SIZE);

	spin_lock(&fs->lock);
	if (pages < t->pages) {
		fs->pages -= t->pages - pages;
		atomic_fetch_sub(&all_pages, t->pages - pages);
		t->pages = pages;
	}
	spin_unlock(&fs->lock);
}

ASYNC(tmpfs_prepare, PAGE_CACHE_PREPARE_ARGS)
{
	ASYNC_BEGIN;
	ASYNC_RETURN(tmpfs_reserve(f->cache->inode, f->pos + f->n));
	ASYNC_END;
}

void tmpfs_refresh(struct inode *inode)
{
	if (S_ISREG(inode->mode))
		inode->blocks = inode->cache.count * (PAGE_SIZE / 512);
}

ASYNC_DECLARE(tmpfs_setattr, INODE_SETATTR_ARGS);
ASYNC_DEFINE(tmpfs_setattr)
{
	const struct attributes *a = f->attributes;
	struct inode *inode = f->inode;

	ASYNC_BEGIN;
	if (a->valid & ATTR_SIZE) {
		if (a->size < inode->size) {
			inode->size = a->size;
			AWAIT(page_cache_truncate, .cache = &inode->cache, .size = a->size);
			tmpfs_unreserve(inode, a->size);
		}
		inode->size = a->size;
	}
	if (a->valid & ATTR_MODE)
		inode->mode = (inode->mode & S_IFMT) | (a->mode & 07777);
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
	ASYNC_END;
}

/* Pages come into being when they are written: what fallocate promises is the reservation. */
ASYNC_DECLARE(tmpfs_fallocate, FILE_FALLOCATE_ARGS long error; u64 at; u64 end; struct kiov zeroes; void *page;);
ASYNC_DEFINE(tmpfs_fallocate)
{
	struct inode *inode = f->file->inode;

	ASYNC_BEGIN;
	if (f->mode & ~(u32)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		ASYNC_RETURN(-EOPNOTSUPP);
	INODE_LOCK(inode);
	if (f->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		/* Whole pages go; what is left of others, as far as the file goes, is written with zeroes. */
		f->end = min(f->pos + f->n, inode->size);
		f->page = kzalloc(PAGE_SIZE);
		f->error = f->page ? 0 : -ENOMEM;
		if (!f->error && f->pos < f->end)
			AWAIT(page_cache_discard, .cache = &inode->cache, .start = f->pos, .end = f->end);
		f->at = f->pos;
		while (!f->error && f->at < f->end) {
			if (is_aligned(f->at, PAGE_SIZE) && f->end - f->at >= PAGE_SIZE) {
				f->at += PAGE_SIZE;
				continue;
			}
			kiov_init_kernel(&f->zeroes, f->page, min(PAGE_SIZE - (f->at & ~PAGE_MASK), f->end - f->at));
			AWAIT(page_cache_write, .cache = &inode->cache, .from = &f->zeroes, .pos = f->at);
			if (RESULT <= 0)
				f->error = RESULT ? RESULT : -EIO;
			else
				f->at += (u64)RESULT;
		}
		kfree(f->page);
	} else {
		f->error = tmpfs_reserve(inode, f->pos + f->n);
	}
	if (!f->error && !(f->mode & FALLOC_FL_KEEP_SIZE) && f->pos + f->n > inode->size)
		inode->size = f->pos + f->n;
	if (!f->error)
		inode_touch(inode, ATTR_MTIME | ATTR_CTIME);
	INODE_UNLOCK(inode);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

u64 tmpfs_pages(void)
{
	return atomic_load(&all_pages);
}

const struct page_cache_ops tmpfs_cache_ops = {.prepare = &tmpfs_prepare_fn};
