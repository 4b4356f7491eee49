/* SPDX-License-Identifier: MIT */
/*
 * User memory. It is reached with unprivileged loads and stores, in range-checked copies that stop at a fault. Two layers:
 *   - copy_*: never block; they fault present pages in by themselves if no I/O and no lock is needed, else stop short;
 *   - copy_in, copy_out ...: async; a fault that needs I/O becomes an await, and the copy resumes where it was.
 * All work on the address space of the running thread.
 */
#ifndef LICHEN_UACCESS_H
#define LICHEN_UACCESS_H

#include <lichen/async.h>
#include <linux/uio.h>

/* Return the bytes NOT copied: 0 is success. May be called with no spinlock held only. */
size_t copy_from_user(void *to, const void __user *from, size_t n);
size_t copy_to_user(void __user *to, const void *from, size_t n);
size_t clear_user(void __user *to, size_t n);

/* 0 or -EFAULT. */
ASYNC_DECLARE(copy_in, void *to; const void __user *from; size_t n; size_t done;);
ASYNC_DECLARE(copy_out, void __user *to; const void *from; size_t n; size_t done;);
/* A NUL-terminated string into a buffer: its length, -EFAULT, or -ENAMETOOLONG if it does not fit. */
ASYNC_DECLARE(copy_string_in, char *to; const char __user *from; size_t bytes; size_t done;);
/* Makes [address, address + n) accessible, so that a copy_* that follows at once will not stop: 0 or -EFAULT. */
ASYNC_DECLARE(fault_in, const void __user *address; size_t n; bool write; u64 at; u64 end;);

/*
 * Atomic 32-bit access for futexes: 0, or -EFAULT if the page must be faulted in first (AWAIT(fault_in), then again).
 */
long user_load_u32(const u32 __user *address, u32 *value);
/* *address = new if it was old; *seen = what it was. */
long user_cmpxchg_u32(u32 __user *address, u32 old, u32 new_value, u32 *seen);

/*
 * The other end of a read or write: user segments or a kernel buffer. It advances as bytes are copied; copies stop short
 * at a page that is not there, then AWAIT(kiov_fault_in) and go on.
 */
struct kiov {
	bool kernel; /* the addresses are the kernel's */
	u32 segments;	  /* left, this one included */
	const struct iovec *segment;
	size_t offset; /* into *segment */
	size_t left;   /* bytes in all */
	struct iovec one; /* for single buffers */
};
/* Initialised in place: a kiov of one buffer points into itself and must not be moved. */
void kiov_init_user(struct kiov *iov, const void __user *buf, size_t n);
void kiov_init_kernel(struct kiov *iov, void *buf, size_t n);
/* The segments stay the caller's. -EINVAL if the sum passes SSIZE_MAX. */
long kiov_init_segments(struct kiov *iov, const struct iovec *segments, u32 n);
/* Bytes copied: fewer than n at a fault or when the kiov is used up. Never block; no spinlock held. */
size_t kiov_write(struct kiov *to, const void *from, size_t n);  /* kernel -> iov */
size_t kiov_read(struct kiov *from, void *to, size_t n);	     /* iov -> kernel */
size_t kiov_zero(struct kiov *to, size_t n);
/* What these moved since boot, in bytes: for tests of paths on which nothing is copied. */
u64 kiov_bytes_copied(void);
void kiov_skip(struct kiov *iov, size_t n);
/* Remembers a place, and goes back to it. */
struct kiov_mark {
	u32 segments;
	const struct iovec *segment;
	size_t offset, left;
};
static inline struct kiov_mark kiov_mark(const struct kiov *iov)
{
	return (struct kiov_mark){iov->segments, iov->segment, iov->offset, iov->left};
}
static inline void kiov_rewind(struct kiov *iov, const struct kiov_mark *mark)
{
	iov->segments = mark->segments;
	iov->segment = mark->segment;
	iov->offset = mark->offset;
	iov->left = mark->left;
}
/* After a short copy: 0 or -EFAULT. */
ASYNC_DECLARE(kiov_fault_in, struct kiov *iov; bool write; char *address; size_t n;);

/* User memory may lie below this only. */
#define USER_END (1ull << 48)
static inline bool user_range_ok(const void __user *p, size_t n)
{
	u64 a = (__force u64)p;

	return n <= USER_END && a <= USER_END - n;
}

#endif
