/* SPDX-License-Identifier: MIT */
/*
 * Copies to and from the running thread's memory. The architecture's copy stops at the first byte that faults; here the
 * fault is resolved, if that needs no waiting, and the copy goes on.
 */
#include <lichen/uaccess.h>
#include <lichen/mm.h>
#include <lichen/process.h>
#include <lichen/string.h>
#include <asm/errno.h>

/* arch: bytes not copied; the range was checked. */
size_t uaccess_copy_from(void *to, const void __user *from, size_t n);
size_t uaccess_copy_to(void __user *to, const void *from, size_t n);
size_t uaccess_clear(void __user *to, size_t n);
struct uaccess_string {
	u64 copied;
	s64 status; /* 1: NUL found; 0: n bytes without one; -1: a fault */
};
struct uaccess_string uaccess_copy_string(char *to, const char __user *from, size_t n);

/* The running thread's address at which a copy stopped: true if it can go on. */
static bool resolve(const void __user *address, enum fault_access access)
{
	struct mm *mm = current_thread()->mm;

	return mm && !mm_fault_fast(mm, (__force u64)address, access);
}

static __noinline size_t copy_from_user_slow(void *to, const void __user *from, size_t n, size_t left)
{
	while (left && resolve((const char __user *)from + (n - left), FAULT_READ))
		left = uaccess_copy_from((char *)to + (n - left), (const char __user *)from + (n - left), left);
	return left;
}

size_t copy_from_user(void *to, const void __user *from, size_t n)
{
	size_t left;

	if (unlikely(!user_range_ok(from, n)))
		return n;
	left = uaccess_copy_from(to, from, n);
	return likely(!left) ? 0 : copy_from_user_slow(to, from, n, left);
}

static __noinline size_t copy_to_user_slow(void __user *to, const void *from, size_t n, size_t left)
{
	while (left && resolve((char __user *)to + (n - left), FAULT_WRITE))
		left = uaccess_copy_to((char __user *)to + (n - left), (const char *)from + (n - left), left);
	return left;
}

size_t copy_to_user(void __user *to, const void *from, size_t n)
{
	size_t left;

	if (unlikely(!user_range_ok(to, n)))
		return n;
	left = uaccess_copy_to(to, from, n);
	return likely(!left) ? 0 : copy_to_user_slow(to, from, n, left);
}

size_t clear_user(void __user *to, size_t n)
{
	size_t left;

	if (unlikely(!user_range_ok(to, n)))
		return n;
	left = uaccess_clear(to, n);
	while (left && resolve((char __user *)to + (n - left), FAULT_WRITE))
		left = uaccess_clear((char __user *)to + (n - left), left);
	return left;
}

/* --- async --- */

/* What must be waited for: 0 or -EFAULT. */
#define AWAIT_FAULT(at, kind)                                                                      \
	do {                                                                                       \
		if (!thread_of(self)->mm)                                                          \
			ASYNC_RETURN(-EFAULT);                                                     \
		AWAIT(mm_fault, .mm = thread_of(self)->mm, .address = (__force u64)(at), .access = (kind));     \
		if (RESULT < 0)                                                                    \
			ASYNC_RETURN(-EFAULT);                                                     \
	} while (0)

ASYNC_DEFINE(copy_in)
{
	ASYNC_BEGIN;
	if (!user_range_ok(f->from, f->n))
		ASYNC_RETURN(-EFAULT);
	for (;;) {
		f->done = f->n - copy_from_user((char *)f->to + f->done, (const char __user *)f->from + f->done, f->n - f->done);
		if (f->done == f->n)
			ASYNC_RETURN(0);
		AWAIT_FAULT((const char __user *)f->from + f->done, FAULT_READ);
	}
	ASYNC_END;
}

ASYNC_DEFINE(copy_out)
{
	ASYNC_BEGIN;
	if (!user_range_ok(f->to, f->n))
		ASYNC_RETURN(-EFAULT);
	for (;;) {
		f->done = f->n - copy_to_user((char __user *)f->to + f->done, (const char *)f->from + f->done, f->n - f->done);
		if (f->done == f->n)
			ASYNC_RETURN(0);
		AWAIT_FAULT((char __user *)f->to + f->done, FAULT_WRITE);
	}
	ASYNC_END;
}

/* A length, -EFAULT, -ENAMETOOLONG, or -EAGAIN at a fault that must be waited for. */
static long string_step(struct copy_string_in_frame *f)
{
	for (;;) {
		const char __user *from = f->from + f->done;
		struct uaccess_string s;
		u64 room = f->bytes - f->done;

		if ((__force u64)from >= USER_END)
			return -EFAULT;
		if (!room)
			return -ENAMETOOLONG;
		s = uaccess_copy_string(f->to + f->done, from, min(room, USER_END - (__force u64)from));
		f->done += s.copied;
		if (s.status > 0)
			return (long)f->done;
		if (s.status < 0 && !resolve(f->from + f->done, FAULT_READ))
			return -EAGAIN;
	}
}

ASYNC_DEFINE(copy_string_in)
{
	ASYNC_BEGIN;
	for (;;) {
		RESULT = string_step(f);
		if (likely(RESULT != -EAGAIN))
			ASYNC_RETURN(RESULT);
		AWAIT_FAULT(f->from + f->done, FAULT_READ);
	}
	ASYNC_END;
}

ASYNC_DEFINE(fault_in)
{
	ASYNC_BEGIN;
	if (!user_range_ok(f->address, f->n))
		ASYNC_RETURN(-EFAULT);
	if (!f->n)
		ASYNC_RETURN(0);
	f->at = (__force u64)f->address;
	f->end = f->at + f->n;
	for (; f->at < f->end; f->at = align_down(f->at, PAGE_SIZE) + PAGE_SIZE) {
		if (resolve((const void __user *)f->at, f->write ? FAULT_WRITE : FAULT_READ))
			continue;
		AWAIT_FAULT(f->at, f->write ? FAULT_WRITE : FAULT_READ);
	}
	ASYNC_END;
}
