/* SPDX-License-Identifier: MIT */
/*
 * The other end of a read or write: user segments or a kernel buffer, consumed from the front. A kiov of one buffer
 * points to its own segment: it must not be moved.
 */
#include <lichen/cpu.h>
#include <lichen/uaccess.h>
#include <lichen/string.h>
#include <asm/errno.h>

static void init_one(struct kiov *iov, bool kernel, void *base, size_t n)
{
	*iov = (struct kiov){
		.kernel = kernel,
		.segments = 1,
		.segment = &iov->one,
		.left = n,
		.one = {.iov_base = base, .iov_len = n},
	};
}

void kiov_init_user(struct kiov *iov, const void __user *buf, size_t n)
{
	init_one(iov, false, (__force void *)buf, n);
}

void kiov_init_kernel(struct kiov *iov, void *buf, size_t n)
{
	init_one(iov, true, buf, n);
}

long kiov_init_segments(struct kiov *iov, const struct iovec *segments, u32 n)
{
	u64 sum = 0;

	for (u32 i = 0; i < n; i++) {
		if (segments[i].iov_len > (u64)INT64_MAX - sum)
			return -EINVAL;
		sum += segments[i].iov_len;
	}
	*iov = (struct kiov){.segments = n, .segment = segments, .left = sum};
	return 0;
}

/* Address and length of what is at the front; 0 bytes: used up. */
static size_t front(struct kiov *iov, char **address)
{
	const struct iovec *s = iov->segment;

	while (iov->left && iov->offset == s->iov_len) { /* also empty segments */
		iov->segments--;
		iov->offset = 0;
		s = ++iov->segment; /* there is one: bytes are left */
	}
	*address = (char *)s->iov_base + iov->offset;
	return min(iov->left, (size_t)s->iov_len - iov->offset);
}

static void advance(struct kiov *iov, size_t n)
{
	iov->offset += n;
	iov->left -= n;
}

enum direction { INTO, OUT_OF, ZERO };

/* Bytes not moved, at one address. */
static size_t move(bool kernel, char *address, char *buffer, size_t n, enum direction direction)
{
	if (!kernel)
		return direction == INTO   ? copy_to_user((void __user *)address, buffer, n) :
		       direction == OUT_OF ? copy_from_user(buffer, (const void __user *)address, n) :
					     clear_user((void __user *)address, n);
	if (direction == INTO)
		memcpy(address, buffer, n);
	else if (direction == OUT_OF)
		memcpy(buffer, address, n);
	else
		memset(address, 0, n);
	return 0;
}

static size_t transfer(struct kiov *iov, char *buffer, size_t n, enum direction direction)
{
	size_t done = 0;

	while (done < n) {
		char *address;
		size_t step = min(front(iov, &address), n - done), left;

		if (!step)
			break;
		left = move(iov->kernel, address, buffer ? buffer + done : NULL, step, direction);
		advance(iov, step - left);
		done += step - left;
		if (left)
			break;
	}
	this_cpu()->bytes_copied += done;
	return done;
}

u64 kiov_bytes_copied(void)
{
	u64 sum = 0;

	for (u32 i = 0; i < cpu_count(); i++)
		sum += cpus[i].bytes_copied;
	return sum;
}

size_t kiov_write(struct kiov *to, const void *from, size_t n)
{
	return transfer(to, (char *)(uintptr_t)from, n, INTO);
}

size_t kiov_read(struct kiov *from, void *to, size_t n)
{
	return transfer(from, to, n, OUT_OF);
}

size_t kiov_zero(struct kiov *to, size_t n)
{
	return transfer(to, NULL, n, ZERO);
}

void kiov_skip(struct kiov *iov, size_t n)
{
	if (likely(iov->segments == 1 && n <= iov->left)) {
		advance(iov, n);
		return;
	}
	while (n) {
		char *address;
		size_t step = min(front(iov, &address), n);

		if (!step)
			return;
		advance(iov, step);
		n -= step;
	}
}

ASYNC_DEFINE(kiov_fault_in)
{
	ASYNC_BEGIN;
	f->n = front(f->iov, &f->address);
	if (f->iov->kernel || !f->n)
		ASYNC_RETURN(0);
	/* A page is enough to go on; more would be for nothing if the copy is short. */
	f->n = min(f->n, (size_t)(PAGE_SIZE - ((u64)f->address & ~PAGE_MASK)));
	AWAIT(fault_in, .address = (const void __user *)f->address, .n = f->n, .write = f->write);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
