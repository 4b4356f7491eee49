// SPDX-License-Identifier: MIT
/* Writing to disk when a program says so, and advice about what it will read. */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/fadvise.h>
#include <linux/fs.h>

/* An error of writing back that this open file has not been told of: once. */
static long writeback_error(struct file *file)
{
	struct page_cache *cache = &file->inode->cache;
	long error = 0;

	spin_lock(&cache->lock);
	if (file->error_sequence != cache->error_sequence) {
		file->error_sequence = cache->error_sequence;
		error = cache->error;
	}
	spin_unlock(&cache->lock);
	return error;
}

ASYNC(do_fsync, int number; bool data_only; struct fd_use fd; long error;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	f->error = -EINVAL;
	if (f->fd.file->ops->fsync) {
		AWAIT_OP(f->fd.file->ops->fsync, file_fsync, .file = f->fd.file, .start = 0, .end = ~0ull, .data_only = f->data_only);
		f->error = writeback_error(f->fd.file);
		if (!f->error)
			f->error = RESULT;
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(fsync, 1, SYS_ARG(int, fd))
{
	ASYNC_BEGIN;
	AWAIT(do_fsync, .number = f->fd);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(fdatasync, 1, SYS_ARG(int, fd))
{
	ASYNC_BEGIN;
	AWAIT(do_fsync, .number = f->fd, .data_only = true);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(sync, 0, struct superblock *sb; struct superblock *next;)
{
	ASYNC_BEGIN;
	for (;;) {
		f->next = superblock_next(f->sb);
		if (f->sb)
			AWAIT(superblock_put, .sb = f->sb);
		f->sb = f->next;
		if (!f->sb)
			break;
		AWAIT(superblock_sync, .sb = f->sb);
	}
	ASYNC_END;
}

SYSCALL_ASYNC(syncfs, 1, SYS_ARG(int, number) struct fd_use fd; long error;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	AWAIT(superblock_sync, .sb = f->fd.file->inode->sb);
	f->error = RESULT;
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(sync_file_range, 4, SYS_ARG(int, number) SYS_ARG(s64, pos) SYS_ARG(s64, n) SYS_ARG(u32, flags) struct fd_use fd; long error;)
{
	struct inode *inode;

	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	inode = f->fd.file->inode;
	if ((f->flags & ~7u) || f->pos < 0 || f->n < 0 || f->pos > INT64_MAX - f->n)
		f->error = -EINVAL;
	else if (!S_ISREG(inode->mode) && !S_ISBLK(inode->mode) && !S_ISDIR(inode->mode) && !S_ISLNK(inode->mode))
		f->error = -ESPIPE;
	if (!f->error && f->flags && inode->cache.ops && inode->cache.ops->write) {
		AWAIT(page_cache_sync, .cache = &f->fd.file->inode->cache, .start = (u64)f->pos,
			.end = f->n ? (u64)(f->pos + f->n) : ~0ull);
		f->error = RESULT;
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* --- advice --- */
SYSCALL_ASYNC(fadvise64, 4, SYS_ARG(int, number) SYS_ARG(s64, pos) SYS_ARG(s64, n) SYS_ARG(u32, advice) struct fd_use fd; long error; u64 end;)
{
	struct inode *inode = f->fd.file ? f->fd.file->inode : NULL;

	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	inode = f->fd.file->inode;
	if (S_ISFIFO(inode->mode))
		f->error = -ESPIPE;
	else if (f->n < 0 || f->advice > POSIX_FADV_NOREUSE)
		f->error = -EINVAL;
	f->end = f->n && f->pos <= INT64_MAX - f->n ? (u64)(f->pos + f->n) : INT64_MAX;
	if (!f->error && S_ISREG(inode->mode) && inode->cache.ops && inode->cache.ops->read) {
		if (f->advice == POSIX_FADV_WILLNEED) {
			page_cache_will_need(&inode->cache, (u64)f->pos, min(f->end, inode->size));
		} else if (f->advice == POSIX_FADV_DONTNEED) {
			AWAIT(page_cache_sync, .cache = &inode->cache, .start = (u64)f->pos, .end = f->end);
			AWAIT(page_cache_drop, .cache = &inode->cache, .start = align_up((u64)f->pos, PAGE_SIZE), .end = f->end == INT64_MAX ? ~0ull : f->end);
		}
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(readahead, 3, SYS_ARG(int, number) SYS_ARG(s64, pos) SYS_ARG(size_t, n) struct fd_use fd; long error;)
{
	struct inode *inode;

	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	inode = f->fd.file->inode;
	if (!(f->fd.file->mode & FILE_READ))
		f->error = -EBADF;
	else if (!S_ISREG(inode->mode) && !S_ISBLK(inode->mode))
		f->error = -EINVAL;
	if (!f->error && inode->cache.ops && inode->cache.ops->read)
		page_cache_will_need(&inode->cache, (u64)f->pos, min((u64)f->pos + f->n, inode->size));
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
