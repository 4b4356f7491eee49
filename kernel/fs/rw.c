// SPDX-License-Identifier: MIT
/*
 * read(2), write(2) and their relatives. A stream (pipe, tty, socket) goes straight to its file's operation; what has
 * a position is locked over the call if others can see the open file.
 */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/fs.h>
#include <linux/limits.h>

#define RW_MAX 0x7ffff000ul /* bytes a call moves at most */
/* Not what programs may ask for by preadv2. */
#define RWF_KNOWN (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND)

enum { IO_READ, IO_WRITE };

/* Whether a file may be read or written so at all. */
static inline long check_file(const struct file *file, u32 direction)
{
	if (direction == IO_READ) {
		if (unlikely(!(file->mode & FILE_READ)))
			return -EBADF;
		if (unlikely(!file->ops->read))
			return S_ISDIR(file->inode->mode) ? -EISDIR : -EINVAL;
	} else {
		if (unlikely(!(file->mode & FILE_WRITE)))
			return -EBADF;
		if (unlikely(!file->ops->write))
			return -EINVAL;
	}
	return 0;
}

/*
 * What follows a write: O_SYNC. Few files have it, so it is a function of its own: RESULT is the bytes written, or the error of
 * the sync.
 */
ASYNC(write_through, struct file *file; u64 end; size_t n; u32 flags;)
{
	ASYNC_BEGIN;
	if (f->file->ops->fsync) {
		AWAIT_OP(f->file->ops->fsync, file_fsync, .file = f->file, .start = f->end - f->n, .end = f->end,
			.data_only = !((f->file->flags & __O_SYNC) || (f->flags & RWF_SYNC)));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

static inline bool wants_sync(const struct file *file, u32 flags)
{
	return ((file->flags & O_DSYNC) || (flags & (RWF_DSYNC | RWF_SYNC))) && (file->mode & FILE_SEEK);
}

/* At a place: pread and pwrite, and everything below. Bytes or -errno. */
ASYNC(io_at, struct file *file; struct kiov *iov; u64 pos; u32 direction; u32 flags; long n;)
{
	ASYNC_BEGIN;
	if (f->direction == IO_READ) {
		AWAIT_OP(f->file->ops->read, file_read, .file = f->file, .to = f->iov, .pos = f->pos, .flags = f->flags);
		if (RESULT > 0)
			NOTIFY_FILE(f->file, IN_ACCESS);
		ASYNC_RETURN(RESULT);
	}
	AWAIT_OP(f->file->ops->write, file_write, .file = f->file, .from = f->iov, .pos = f->pos, .flags = f->flags);
	if (RESULT > 0) {
		NOTIFY_FILE(f->file, IN_MODIFY);
		if (unlikely(wants_sync(f->file, f->flags))) {
			f->n = RESULT;
			AWAIT(write_through, .file = f->file, .end = f->pos + (u64)f->n, .n = (size_t)f->n, .flags = f->flags);
		}
	}
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* At the file's position, which moves. */
ASYNC(io_here, struct file *file; struct kiov *iov; u32 direction; u32 flags; bool shared; long n;)
{
	struct file *file = f->file;

	ASYNC_BEGIN;
	f->shared = atomic_load_explicit(&file->refcount, memory_order_relaxed) > 1;
	if (f->shared && !mutex_trylock(&file->pos_lock, self))
		AWAIT(mutex_lock, .mutex = &file->pos_lock);
	AWAIT(io_at, .file = file, .iov = f->iov, .pos = file->pos, .direction = f->direction, .flags = f->flags);
	if (RESULT > 0) {
		if (unlikely(f->direction == IO_WRITE && (file->flags & O_APPEND) && S_ISREG(file->inode->mode)))
			file->pos = file->inode->size;
		else
			file->pos += (u64)RESULT;
	}
	if (f->shared) {
		f->n = RESULT;
		mutex_unlock(&file->pos_lock);
		ASYNC_RETURN(f->n);
	}
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* Nobody else sees the position, and nothing special is asked of a write. */
static inline bool is_private(const struct file *file)
{
	return likely(atomic_load_explicit(&file->refcount, memory_order_relaxed) == 1) && !(file->flags & (O_APPEND | O_DSYNC));
}

/* Streams have a position too, which nobody looks at. */
static inline void moved(struct file *file, long n, u32 event)
{
	if (n > 0) {
		file->pos += (u64)n;
		NOTIFY_FILE(file, event);
	}
}

/* The two hot calls: there is no frame between this one and the file's operation. */
#define RW_FRAME SYS_ARG(int, number) SYS_ARG(char __user *, buf) SYS_ARG(size_t, count) struct fd_use fd; long n; struct kiov iov;

SYSCALL_ASYNC(read, 3, RW_FRAME)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (unlikely(!f->fd.file))
		ASYNC_RETURN(-EBADF);
	f->n = check_file(f->fd.file, IO_READ);
	if (likely(!f->n) && unlikely(!user_range_ok(f->buf, f->count)))
		f->n = -EFAULT;
	if (likely(!f->n)) {
		kiov_init_user(&f->iov, f->buf, min(f->count, RW_MAX));
		if (likely(!(f->fd.file->mode & FILE_SEEK) || is_private(f->fd.file))) {
			AWAIT_OP(f->fd.file->ops->read, file_read, .file = f->fd.file, .to = &f->iov, .pos = f->fd.file->pos);
			moved(f->fd.file, RESULT, IN_ACCESS);
		} else {
			AWAIT(io_here, .file = f->fd.file, .iov = &f->iov, .direction = IO_READ);
		}
		if (likely(!f->fd.counted))
			ASYNC_RETURN(RESULT);
		f->n = RESULT;
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

SYSCALL_ASYNC(write, 3, RW_FRAME)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (unlikely(!f->fd.file))
		ASYNC_RETURN(-EBADF);
	f->n = check_file(f->fd.file, IO_WRITE);
	if (likely(!f->n) && unlikely(!user_range_ok(f->buf, f->count)))
		f->n = -EFAULT;
	if (likely(!f->n)) {
		kiov_init_user(&f->iov, f->buf, min(f->count, RW_MAX));
		if (likely(!(f->fd.file->mode & FILE_SEEK) || is_private(f->fd.file))) {
			AWAIT_OP(f->fd.file->ops->write, file_write, .file = f->fd.file, .from = &f->iov, .pos = f->fd.file->pos);
			moved(f->fd.file, RESULT, IN_MODIFY);
		} else {
			AWAIT(io_here, .file = f->fd.file, .iov = &f->iov, .direction = IO_WRITE);
		}
		if (likely(!f->fd.counted))
			ASYNC_RETURN(RESULT);
		f->n = RESULT;
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

static long check_positioned(const struct file *file, s64 pos, u32 direction)
{
	if (pos < 0)
		return -EINVAL;
	if (!(file->mode & FILE_SEEK))
		return -ESPIPE;
	return check_file(file, direction);
}

SYSCALL_ASYNC(pread64, 4, SYS_ARG(int, number) SYS_ARG(char __user *, buf) SYS_ARG(size_t, count) SYS_ARG(s64, pos) struct fd_use fd; long n; struct kiov iov;)
{
	ASYNC_BEGIN;
	if (f->pos < 0)
		ASYNC_RETURN(-EINVAL);
	f->fd = fd_begin(self, f->number);
	if (unlikely(!f->fd.file))
		ASYNC_RETURN(-EBADF);
	f->n = check_positioned(f->fd.file, f->pos, IO_READ);
	if (!f->n && !user_range_ok(f->buf, f->count))
		f->n = -EFAULT;
	if (likely(!f->n)) {
		kiov_init_user(&f->iov, f->buf, min(f->count, RW_MAX));
		AWAIT_OP(f->fd.file->ops->read, file_read, .file = f->fd.file, .to = &f->iov, .pos = (u64)f->pos);
		if (RESULT > 0)
			NOTIFY_FILE(f->fd.file, IN_ACCESS);
		if (likely(!f->fd.counted))
			ASYNC_RETURN(RESULT);
		f->n = RESULT;
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

SYSCALL_ASYNC(pwrite64, 4, SYS_ARG(int, number) SYS_ARG(char __user *, buf) SYS_ARG(size_t, count) SYS_ARG(s64, pos) struct fd_use fd; long n; struct kiov iov;)
{
	ASYNC_BEGIN;
	if (f->pos < 0)
		ASYNC_RETURN(-EINVAL);
	f->fd = fd_begin(self, f->number);
	if (unlikely(!f->fd.file))
		ASYNC_RETURN(-EBADF);
	f->n = check_positioned(f->fd.file, f->pos, IO_WRITE);
	if (!f->n && !user_range_ok(f->buf, f->count))
		f->n = -EFAULT;
	if (likely(!f->n)) {
		kiov_init_user(&f->iov, f->buf, min(f->count, RW_MAX));
		AWAIT(io_at, .file = f->fd.file, .iov = &f->iov, .pos = (u64)f->pos, .direction = IO_WRITE);
		f->n = RESULT;
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

/* --- vectors --- */
#define INLINE_SEGMENTS 4

/* All of readv, writev, preadv2 and pwritev2. pos -1: here. */
ASYNC(io_vector, int number; const struct iovec __user *vector; size_t count; s64 pos; u32 direction; u32 flags; struct fd_use fd; long n;
	struct iovec *segments; struct kiov iov; struct iovec few[INLINE_SEGMENTS];)
{
	struct file *file = f->fd.file;

	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	file = f->fd.file;
	if (!file)
		ASYNC_RETURN(-EBADF);
	if (f->pos >= 0 && !(file->mode & FILE_SEEK))
		f->n = -ESPIPE;
	else
		f->n = check_file(file, f->direction);
	if (!f->n && f->count > UIO_MAXIOV)
		f->n = -EINVAL;
	if (f->n)
		goto out;
	f->segments = f->count <= INLINE_SEGMENTS ? f->few : kmalloc(f->count * sizeof(struct iovec));
	f->n = -ENOMEM;
	if (!f->segments)
		goto out;
	AWAIT(copy_in, .to = f->segments, .from = f->vector, .n = f->count * sizeof(struct iovec));
	f->n = RESULT;
	if (!f->n)
		f->n = kiov_init_segments(&f->iov, f->segments, (u32)f->count);
	for (size_t i = 0; !f->n && i < f->count; i++)
		if (!user_range_ok((const void __user *)f->segments[i].iov_base, f->segments[i].iov_len))
			f->n = -EFAULT;
	f->iov.left = min(f->iov.left, RW_MAX);
	file = f->fd.file;
	if (f->n)
		;
	else if (!f->count || !f->iov.left)
		f->n = 0;
	else if (f->pos < 0 && (file->mode & FILE_SEEK))
		f->n = 1;
	else
		f->n = 2;
	if (f->n == 1)
		AWAIT(io_here, .file = file, .iov = &f->iov, .direction = f->direction, .flags = f->flags);
	else if (f->n == 2)
		AWAIT(io_at, .file = file, .iov = &f->iov, .pos = f->pos < 0 ? 0 : (u64)f->pos, .direction = f->direction, .flags = f->flags);
	if (f->n > 0)
		f->n = RESULT;
	if (f->segments != f->few)
		kfree(f->segments);
out:
	FD_END(f->fd);
	ASYNC_RETURN(f->n);
	ASYNC_END;
}

#define VECTOR_FRAME SYS_ARG(int, fd) SYS_ARG(const struct iovec __user *, vector) SYS_ARG(size_t, count)

SYSCALL_ASYNC(readv, 3, VECTOR_FRAME)
{
	ASYNC_BEGIN;
	AWAIT(io_vector, .number = f->fd, .vector = f->vector, .count = f->count, .pos = -1, .direction = IO_READ);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(writev, 3, VECTOR_FRAME)
{
	ASYNC_BEGIN;
	AWAIT(io_vector, .number = f->fd, .vector = f->vector, .count = f->count, .pos = -1, .direction = IO_WRITE);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* On 64 bits the position comes whole in the first of its two registers. */
SYSCALL_ASYNC(preadv, 5, VECTOR_FRAME SYS_ARG(s64, pos) SYS_ARG(u64, high))
{
	ASYNC_BEGIN;
	if (f->pos < 0)
		ASYNC_RETURN(-EINVAL);
	AWAIT(io_vector, .number = f->fd, .vector = f->vector, .count = f->count, .pos = f->pos, .direction = IO_READ);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(pwritev, 5, VECTOR_FRAME SYS_ARG(s64, pos) SYS_ARG(u64, high))
{
	ASYNC_BEGIN;
	if (f->pos < 0)
		ASYNC_RETURN(-EINVAL);
	AWAIT(io_vector, .number = f->fd, .vector = f->vector, .count = f->count, .pos = f->pos, .direction = IO_WRITE);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(preadv2, 6, VECTOR_FRAME SYS_ARG(s64, pos) SYS_ARG(u64, high) SYS_ARG(u32, flags))
{
	ASYNC_BEGIN;
	if (f->flags & ~(u32)RWF_KNOWN)
		ASYNC_RETURN(-EOPNOTSUPP);
	if (f->pos < -1)
		ASYNC_RETURN(-EINVAL);
	AWAIT(io_vector, .number = f->fd, .vector = f->vector, .count = f->count, .pos = f->pos, .direction = IO_READ, .flags = f->flags);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(pwritev2, 6, VECTOR_FRAME SYS_ARG(s64, pos) SYS_ARG(u64, high) SYS_ARG(u32, flags))
{
	ASYNC_BEGIN;
	if (f->flags & ~(u32)RWF_KNOWN)
		ASYNC_RETURN(-EOPNOTSUPP);
	if (f->pos < -1)
		ASYNC_RETURN(-EINVAL);
	AWAIT(io_vector, .number = f->fd, .vector = f->vector, .count = f->count, .pos = f->pos, .direction = IO_WRITE, .flags = f->flags);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* --- the position --- */
static s64 seek_by_size(struct file *file, s64 offset, u32 whence)
{
	s64 size = (s64)file->inode->size;

	if (whence == SEEK_CUR) {
		if (__builtin_add_overflow(offset, (s64)file->pos, &offset))
			return -EINVAL;
	} else if (whence == SEEK_END) {
		if (__builtin_add_overflow(offset, size, &offset))
			return -EINVAL;
	} else if (whence == SEEK_DATA || whence == SEEK_HOLE) {
		/* Everything is data, and a hole follows the end. */
		if (offset < 0 || offset >= size)
			return -ENXIO;
		if (whence == SEEK_HOLE)
			offset = size;
	} else if (whence != SEEK_SET) {
		return -EINVAL;
	}
	if (offset < 0 || (file->inode->sb->max_bytes && (u64)offset > file->inode->sb->max_bytes))
		return -EINVAL;
	return offset;
}

SYSCALL_ASYNC(lseek, 3, SYS_ARG(int, number) SYS_ARG(s64, offset) SYS_ARG(u32, whence) struct fd_use fd; s64 pos; bool shared;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	f->pos = -ESPIPE;
	if (f->whence > SEEK_HOLE) {
		f->pos = -EINVAL;
	} else if ((f->fd.file->mode & FILE_SEEK) || f->fd.file->ops->seek) {
		f->shared = atomic_load_explicit(&f->fd.file->refcount, memory_order_relaxed) > 1;
		if (f->shared)
			AWAIT(mutex_lock, .mutex = &f->fd.file->pos_lock);
		if (f->fd.file->ops->seek)
			f->pos = f->fd.file->ops->seek(f->fd.file, f->offset, (int)f->whence);
		else
			f->pos = seek_by_size(f->fd.file, f->offset, f->whence);
		if (f->pos >= 0)
			f->fd.file->pos = (u64)f->pos;
		if (f->shared)
			mutex_unlock(&f->fd.file->pos_lock);
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->pos);
	ASYNC_END;
}
