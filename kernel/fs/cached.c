// SPDX-License-Identifier: MIT
/*
 * Files whose bytes are in the page cache: the file operations that file systems name in their tables, and the rules
 * that every write to a regular file obeys (limits, O_APPEND, setuid bits, times).
 */
#include "internal.h"
#include <lichen/block.h>
#include <linux/fs.h>

void file_accessed(struct file *file)
{
	struct inode *inode = file->inode;
	u32 flags = file->path.mount->flags;
	struct timespec64_ now;

	if ((file->flags & O_NOATIME) || (flags & (MS_NOATIME | MS_RDONLY)) || (inode->sb->flags & (MS_NOATIME | MS_RDONLY)))
		return;
	if ((flags & MS_NODIRATIME) && S_ISDIR(inode->mode))
		return;
	now = time_now();
	/* relatime: once after each change, and once a day. */
	if (!(flags & MS_STRICTATIME) && inode->atime.sec + 24 * 3600 > now.sec &&
		(inode->atime.sec > inode->mtime.sec ||
			(inode->atime.sec == inode->mtime.sec && inode->atime.nsec > inode->mtime.nsec)) &&
		(inode->atime.sec > inode->ctime.sec ||
			(inode->atime.sec == inode->ctime.sec && inode->atime.nsec > inode->ctime.nsec)))
		return;
	inode->atime = now;
	inode_dirty(inode);
}

ASYNC_DECLARE(file_read_cached, FILE_READ_ARGS);
ASYNC_DEFINE(file_read_cached)
{
	ASYNC_BEGIN;
	AWAIT(page_cache_read, .cache = &f->file->inode->cache, .to = f->to, .pos = f->pos);
	file_accessed(f->file);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* 0 or -EFBIG; *n shortened. */
static long check_limits(struct inode *inode, u64 pos, size_t *n)
{
	u64 limit = limit_get(RLIMIT_FSIZE), most = inode->sb->max_bytes ? inode->sb->max_bytes : INT64_MAX;

	if (!*n)
		return 0;
	if (unlikely(limit != RLIM64_INFINITY)) {
		if (pos >= limit) {
			signal_send_thread(current_thread(), SIGXFSZ, NULL);
			return -EFBIG;
		}
		*n = min(*n, limit - pos);
	}
	if (pos >= most)
		return -EFBIG;
	*n = min(*n, most - pos);
	return 0;
}

/* The mode without what a write by others takes away. */
mode_t mode_without_suid(const struct inode *inode)
{
	mode_t mode = inode->mode & ~S_ISUID;

	if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		mode &= ~S_ISGID;
	return mode;
}

ASYNC_DEFINE(file_write_begin)
{
	struct inode *inode = f->file->inode;
	long error;

	ASYNC_BEGIN;
	if ((f->file->flags & O_APPEND) || (f->flags & RWF_APPEND))
		*f->pos = inode->size;
	error = check_limits(inode, *f->pos, f->n);
	if (error || !*f->n)
		ASYNC_RETURN(error);
	inode_touch(inode, ATTR_MTIME | ATTR_CTIME);
	if (unlikely(inode->mode & (S_ISUID | S_ISGID)) && mode_without_suid(inode) != inode->mode && !capable(CAP_FSETID)) {
		f->attributes.valid = ATTR_MODE;
		f->attributes.mode = mode_without_suid(inode);
		AWAIT(inode_setattr, .inode = inode, .attributes = &f->attributes);
		ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN(0);
	ASYNC_END;
}

ASYNC_DECLARE(file_write_cached, FILE_WRITE_ARGS u64 at; size_t n; size_t rest; long result;);
ASYNC_DEFINE(file_write_cached)
{
	struct inode *inode = f->file->inode;

	ASYNC_BEGIN;
	INODE_LOCK(inode);
	f->at = f->pos;
	f->n = f->from->left;
	AWAIT(file_write_begin, .file = f->file, .pos = &f->at, .n = &f->n, .flags = f->flags);
	f->result = RESULT;
	if (!f->result && f->n) {
		f->rest = f->from->left - f->n;
		f->from->left = f->n;
		AWAIT(page_cache_write, .cache = &inode->cache, .from = f->from, .pos = f->at);
		f->result = RESULT;
		f->from->left += f->rest;
	}
	INODE_UNLOCK(inode);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

ASYNC_DECLARE(file_fsync_cached, FILE_FSYNC_ARGS long error;);
ASYNC_DEFINE(file_fsync_cached)
{
	struct inode *inode = f->file->inode;

	ASYNC_BEGIN;
	AWAIT(inode_sync, .inode = inode, .pages = true);
	f->error = RESULT;
	if (inode->sb->device) {
		AWAIT(block_flush, .device = inode->sb->device);
		if (!f->error)
			f->error = RESULT;
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

long file_mmap_cached(struct file *file, struct vma *vma)
{
	file_accessed(file);
	return 0;
}

/* Readers of the size see it grow only when the bytes are there; shrinking goes through setattr. */
ASYNC_DEFINE(inode_truncate)
{
	struct inode *inode = f->inode;

	ASYNC_BEGIN;
	INODE_LOCK(inode);
	f->attributes.valid = ATTR_SIZE | ATTR_MTIME | ATTR_CTIME;
	f->attributes.size = f->size;
	f->attributes.mtime = f->attributes.ctime = time_now();
	if (unlikely(inode->mode & (S_ISUID | S_ISGID)) && mode_without_suid(inode) != inode->mode && !capable(CAP_FSETID)) {
		f->attributes.valid |= ATTR_MODE;
		f->attributes.mode = mode_without_suid(inode);
	}
	AWAIT(inode_setattr, .inode = inode, .attributes = &f->attributes);
	f->error = RESULT;
	INODE_UNLOCK(inode);
	if (!f->error)
		NOTIFY(inode, IN_MODIFY);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
