/* SPDX-License-Identifier: MIT */
/*
 * Futexes: waiting for a word of user memory to change (futex(2)). Waiters hang in hash buckets by what the word is, not where: a
 * private word by address space and address, a word in a shared file mapping by inode and offset. The word is compared under the
 * bucket's lock, and wakers take that lock, so that no wake is lost. Priority inheritance is not there: ENOSYS, as glibc expects.
 */
#include "proc.h"
#include <linux/futex.h>

#define BUCKETS 1024

/*
 * Private memory has two keys, one for operations that say FUTEX_PRIVATE_FLAG and one for those that do not: as on Linux, the
 * ones never wake the others.
 */
struct futex_key {
	const void *object; /* struct mm or struct page_cache */
	u64 offset;	    /* | KEY_SHARED */
};
#define KEY_SHARED 2

struct futex_waiter {
	struct list node; /* in its bucket; unlinked: woken */
	struct futex_bucket *_Atomic bucket;
	struct futex_key key;
	u32 bitset;
	struct wait_queue queue;
};

static struct futex_bucket {
	spinlock_t lock;
	struct list waiters;
} __aligned(32) buckets[BUCKETS];

static void futex_init(void)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		spin_init(&buckets[i].lock);
		list_init(&buckets[i].waiters);
	}
}
INITCALL(INIT_CORE, futex_init);

static struct futex_bucket *bucket_of(const struct futex_key *key)
{
	u64 hash = ((u64)key->object >> 4) * 0x9e3779b97f4a7c15ull ^ (key->offset >> 2) * 0xc2b2ae3d27d4eb4full;

	return &buckets[(hash >> 40) % BUCKETS];
}

static bool key_equal(const struct futex_key *a, const struct futex_key *b)
{
	return a->object == b->object && a->offset == b->offset;
}

/* What the word at `address` is. 0, -EINVAL, -EFAULT. */
ASYNC(futex_key_get, u32 __user *address; bool shared; struct futex_key *key;)
{
	struct mm *mm = thread_of(self)->mm;
	struct vma *vma;

	ASYNC_BEGIN;
	if ((u64)f->address % sizeof(u32))
		ASYNC_RETURN(-EINVAL);
	if (!user_range_ok(f->address, sizeof(u32)))
		ASYNC_RETURN(-EFAULT);
	*f->key = (struct futex_key){mm, (u64)f->address};
	if (!f->shared)
		ASYNC_RETURN(0);
	AWAIT(rwlock_read, .lock = &mm->lock);
	vma = vma_find(mm, (u64)f->address);
	if (!vma || vma->start > (u64)f->address) {
		rwlock_read_unlock(&mm->lock);
		ASYNC_RETURN(-EFAULT);
	}
	if (vma->cache && (vma->flags & VMA_SHARED))
		*f->key = (struct futex_key){vma->cache, (u64)f->address - vma->start + vma->offset};
	else
		f->key->offset |= KEY_SHARED;
	rwlock_read_unlock(&mm->lock);
	ASYNC_END;
}

static struct futex_bucket *waiter_lock(struct futex_waiter *waiter, unsigned long *flags) NO_LOCK_ANALYSIS
{
	for (;;) {
		struct futex_bucket *bucket = atomic_load(&waiter->bucket);

		*flags = spin_lock_irqsave(&bucket->lock);
		if (bucket == atomic_load(&waiter->bucket))
			return bucket;
		spin_unlock_irqrestore(&bucket->lock, *flags); /* requeued meanwhile */
	}
}

/* Out of its bucket. False: somebody had woken it. */
static bool waiter_leave(struct futex_waiter *waiter) NO_LOCK_ANALYSIS
{
	unsigned long flags;
	struct futex_bucket *bucket = waiter_lock(waiter, &flags);
	bool waiting = !list_empty(&waiter->node);

	list_remove(&waiter->node);
	spin_unlock_irqrestore(&bucket->lock, flags);
	return waiting;
}

/* Adds the waiter if the word is still `value`: 0, -EAGAIN: it is not; -EFAULT: fault it in, then again. */
static long waiter_enter(struct futex_waiter *waiter, u32 __user *address, u32 value)
{
	struct futex_bucket *bucket = bucket_of(&waiter->key);
	unsigned long flags = spin_lock_irqsave(&bucket->lock);
	u32 now;
	long error = user_load_u32(address, &now);

	if (!error && now != value)
		error = -EAGAIN;
	if (!error) {
		atomic_store(&waiter->bucket, bucket);
		list_add_tail(&bucket->waiters, &waiter->node);
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return error;
}

ASYNC(futex_wait, u32 __user *address; u32 value; u32 bitset; bool shared; nsec_t deadline; struct futex_waiter waiter; u32 ticket;
	long error;)
{
	ASYNC_BEGIN;
	if (!f->bitset)
		ASYNC_RETURN(-EINVAL);
	f->waiter.bitset = f->bitset;
	list_init(&f->waiter.node);
	wait_queue_init(&f->waiter.queue);
	AWAIT(futex_key_get, .address = f->address, .shared = f->shared, .key = &f->waiter.key);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	for (;;) {
		f->ticket = wait_ticket(&f->waiter.queue);
		f->error = waiter_enter(&f->waiter, f->address, f->value);
		if (f->error != -EFAULT)
			break;
		AWAIT(fault_in, .address = f->address, .n = sizeof(u32));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->error)
		ASYNC_RETURN(f->error);
	do {
		AWAIT(wait_on, .queue = &f->waiter.queue, .ticket = f->ticket, .deadline = f->deadline);
		/* A wake that was not ours (of the task) finds the waiter where it was. */
		f->ticket = wait_ticket(&f->waiter.queue);
	} while (RESULT == 0 && !list_empty(&f->waiter.node));
	f->error = RESULT;
	ASYNC_RETURN(waiter_leave(&f->waiter) ? f->error : 0);
	ASYNC_END;
}

/* An interrupted wait goes on with its deadline. restart: address, value, bitset << 1 | shared, deadline. */
ASYNC(futex_wait_again, RESTART_ARGS)
{
	ASYNC_BEGIN;
	AWAIT(futex_wait, .address = (u32 __user *)f->restart[0], .value = f->restart[1], .bitset = f->restart[2] >> 1,
		.shared = f->restart[2] & 1, .deadline = f->restart[3]);
	ASYNC_RETURN(RESULT == -EINTR ? -ERESTART_RESTARTBLOCK : RESULT);
	ASYNC_END;
}

/* --- waking --- */

static void waiter_wake(struct futex_waiter *waiter)
{
	list_remove(&waiter->node);
	wait_wake_all(&waiter->queue);
}

static long futex_wake_key(const struct futex_key *key, u32 count, u32 bitset)
{
	struct futex_bucket *bucket = bucket_of(key);
	struct futex_waiter *waiter, *next;
	unsigned long flags;
	long woken = 0;

	flags = spin_lock_irqsave(&bucket->lock);
	list_for_each_safe(waiter, next, &bucket->waiters, node) {
		if (woken >= count)
			break;
		if (!key_equal(&waiter->key, key) || !(waiter->bitset & bitset))
			continue;
		waiter_wake(waiter);
		woken++;
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return woken;
}

ASYNC(futex_wake, u32 __user *address; bool shared; u32 count; u32 bitset; struct futex_key key;)
{
	ASYNC_BEGIN;
	if (!f->bitset)
		ASYNC_RETURN(-EINVAL);
	AWAIT(futex_key_get, .address = f->address, .shared = f->shared, .key = &f->key);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	ASYNC_RETURN(futex_wake_key(&f->key, f->count, f->bitset));
	ASYNC_END;
}

ASYNC_DEFINE(futex_wake_address)
{
	ASYNC_BEGIN;
	AWAIT(futex_wake, .address = f->address, .shared = true, .count = f->count, .bitset = ~0u);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* Both buckets, in the order of their addresses. */
static unsigned long buckets_lock(struct futex_bucket *a, struct futex_bucket *b) NO_LOCK_ANALYSIS
{
	unsigned long flags = spin_lock_irqsave(a < b ? &a->lock : &b->lock);

	if (a != b)
		spin_lock(a < b ? &b->lock : &a->lock);
	return flags;
}

static void buckets_unlock(struct futex_bucket *a, struct futex_bucket *b, unsigned long flags) NO_LOCK_ANALYSIS
{
	if (a != b)
		spin_unlock(a < b ? &b->lock : &a->lock);
	spin_unlock_irqrestore(a < b ? &a->lock : &b->lock, flags);
}

static long requeue_locked(const struct futex_key *from, const struct futex_key *to, u32 wake, u32 move)
{
	struct futex_bucket *source = bucket_of(from), *target = bucket_of(to);
	struct futex_waiter *waiter, *next;
	struct list moved = LIST_INIT(moved);
	u32 woken = 0, requeued = 0;

	list_for_each_safe(waiter, next, &source->waiters, node) {
		if (!key_equal(&waiter->key, from))
			continue;
		if (woken < wake) {
			waiter_wake(waiter);
			woken++;
		} else if (requeued < move) {
			list_remove(&waiter->node);
			waiter->key = *to;
			atomic_store(&waiter->bucket, target);
			list_add_tail(&moved, &waiter->node);
			requeued++;
		} else {
			break;
		}
	}
	list_splice_tail(&target->waiters, &moved);
	return woken + requeued;
}

ASYNC(futex_requeue, u32 __user *address; u32 __user *to; bool shared; s32 wake; s32 move; bool compare; u32 value; struct futex_key from_key;
	struct futex_key to_key; long result;)
{
	struct futex_bucket *a, *b;
	unsigned long flags;
	u32 now;

	ASYNC_BEGIN;
	if (f->wake < 0 || f->move < 0)
		ASYNC_RETURN(-EINVAL);
	AWAIT(futex_key_get, .address = f->address, .shared = f->shared, .key = &f->from_key);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(futex_key_get, .address = f->to, .shared = f->shared, .key = &f->to_key);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	for (;;) {
		a = bucket_of(&f->from_key);
		b = bucket_of(&f->to_key);
		flags = buckets_lock(a, b);
		f->result = f->compare ? user_load_u32(f->address, &now) : 0;
		if (!f->result && f->compare && now != f->value)
			f->result = -EAGAIN;
		if (!f->result)
			f->result = requeue_locked(&f->from_key, &f->to_key, f->wake, f->move);
		buckets_unlock(a, b, flags);
		if (f->result != -EFAULT)
			ASYNC_RETURN(f->result);
		AWAIT(fault_in, .address = f->address, .n = sizeof(u32));
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

/* FUTEX_WAKE_OP's little language: how the word changes, and whether its old value wakes the second futex. */
static u32 wake_op_new(u32 encoded, u32 old)
{
	u32 op = (encoded >> 28) & 7, operand = (s32)(encoded << 8) >> 20;

	if (encoded & ((u32)FUTEX_OP_OPARG_SHIFT << 28))
		operand = 1u << (operand & 31);
	switch (op) {
	case FUTEX_OP_SET:
		return operand;
	case FUTEX_OP_ADD:
		return old + operand;
	case FUTEX_OP_OR:
		return old | operand;
	case FUTEX_OP_ANDN:
		return old & ~operand;
	default:
		return old ^ operand;
	}
}

static bool wake_op_holds(u32 encoded, s32 old)
{
	s32 argument = (s32)(encoded << 20) >> 20;

	switch ((encoded >> 24) & 15) {
	case FUTEX_OP_CMP_EQ:
		return old == argument;
	case FUTEX_OP_CMP_NE:
		return old != argument;
	case FUTEX_OP_CMP_LT:
		return old < argument;
	case FUTEX_OP_CMP_GE:
		return old >= argument;
	case FUTEX_OP_CMP_LE:
		return old <= argument;
	default:
		return old > argument;
	}
}

static bool wake_op_known(u32 encoded)
{
	return ((encoded >> 28) & 7) <= FUTEX_OP_XOR && ((encoded >> 24) & 15) <= FUTEX_OP_CMP_GT;
}

ASYNC(futex_wake_op, u32 __user *address; u32 __user *second; bool shared; u32 wake; u32 wake_second; u32 op; struct futex_key key;
	struct futex_key second_key; u32 old; u32 seen; long result;)
{
	ASYNC_BEGIN;
	AWAIT(futex_key_get, .address = f->address, .shared = f->shared, .key = &f->key);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(futex_key_get, .address = f->second, .shared = f->shared, .key = &f->second_key);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (!wake_op_known(f->op))
		ASYNC_RETURN(-ENOSYS);
	/* The exchange is atomic by itself; waiters compare under the bucket lock, wakers take it after. */
	for (;;) {
		if (!user_load_u32(f->second, &f->old) &&
			!user_cmpxchg_u32(f->second, f->old, wake_op_new(f->op, f->old), &f->seen)) {
			if (f->seen == f->old)
				break;
			continue;
		}
		AWAIT(fault_in, .address = f->second, .n = sizeof(u32), .write = true);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	f->result = futex_wake_key(&f->key, f->wake, ~0u);
	if (wake_op_holds(f->op, f->old))
		f->result += futex_wake_key(&f->second_key, f->wake_second, ~0u);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

/* --- the system call --- */

static bool futex_has_timeout(u32 command)
{
	return command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET;
}

/* FUTEX_WAIT counts from now; FUTEX_WAIT_BITSET names the moment, on one of two clocks. */
static nsec_t futex_deadline(u32 op, const struct __kernel_timespec *timeout)
{
	nsec_t at = timespec_to_ns(timeout);

	if ((op & FUTEX_CMD_MASK) == FUTEX_WAIT)
		return deadline_after(at);
	if (op & FUTEX_CLOCK_REALTIME) {
		nsec_t now = time_realtime();

		return deadline_after(at > now ? at - now : 0);
	}
	return at ? at : 1;
}

SYSCALL_ASYNC(futex, 6, SYS_ARG(u32 __user *, address) SYS_ARG(u32, op) SYS_ARG(u32, value) SYS_ARG(u64, timeout_or_value2)
	SYS_ARG(u32 __user *, address2) SYS_ARG(u32, value3) struct __kernel_timespec timeout; nsec_t deadline; u32 command; bool shared;)
{
	struct thread *thread = thread_of(self);

	ASYNC_BEGIN;
	f->command = f->op & FUTEX_CMD_MASK;
	f->shared = !(f->op & FUTEX_PRIVATE_FLAG);
	if ((f->op & FUTEX_CLOCK_REALTIME) && f->command != FUTEX_WAIT_BITSET && f->command != FUTEX_WAIT_REQUEUE_PI &&
		f->command != FUTEX_LOCK_PI2)
		ASYNC_RETURN(-ENOSYS);
	if (futex_has_timeout(f->command)) {
		if (f->timeout_or_value2) {
			COPY_IN(f->timeout, (const void __user *)f->timeout_or_value2);
			if (!timespec_valid(&f->timeout))
				ASYNC_RETURN(-EINVAL);
			f->deadline = futex_deadline(f->op, &f->timeout);
		}
		if (f->command == FUTEX_WAIT)
			f->value3 = FUTEX_BITSET_MATCH_ANY;
		AWAIT(futex_wait, .address = f->address, .value = f->value, .bitset = f->value3, .shared = f->shared,
			.deadline = f->deadline);
		if (RESULT != -EINTR)
			ASYNC_RETURN(RESULT);
		if (!f->deadline)
			ASYNC_RETURN(-ERESTARTSYS);
		thread->restart_fn = &futex_wait_again_fn;
		thread->restart_args[0] = (u64)f->address;
		thread->restart_args[1] = f->value;
		thread->restart_args[2] = (u64)f->value3 << 1 | f->shared;
		thread->restart_args[3] = f->deadline;
		ASYNC_RETURN(-ERESTART_RESTARTBLOCK);
	}
	if (f->command == FUTEX_WAKE || f->command == FUTEX_WAKE_BITSET) {
		/* A count below one still wakes one. */
		AWAIT(futex_wake, .address = f->address, .shared = f->shared, .count = (s32)f->value < 1 ? 1 : f->value,
			.bitset = f->command == FUTEX_WAKE ? FUTEX_BITSET_MATCH_ANY : f->value3);
		ASYNC_RETURN(RESULT);
	}
	if (f->command == FUTEX_REQUEUE || f->command == FUTEX_CMP_REQUEUE) {
		AWAIT(futex_requeue, .address = f->address, .to = f->address2, .shared = f->shared, .wake = f->value,
			.move = f->timeout_or_value2, .compare = f->command == FUTEX_CMP_REQUEUE, .value = f->value3);
		ASYNC_RETURN(RESULT);
	}
	if (f->command == FUTEX_WAKE_OP) {
		AWAIT(futex_wake_op, .address = f->address, .second = f->address2, .shared = f->shared, .wake = f->value,
			.wake_second = f->timeout_or_value2, .op = f->value3);
		ASYNC_RETURN(RESULT);
	}
	ASYNC_RETURN(-ENOSYS);
	ASYNC_END;
}

/* --- robust lists: locks of a thread that ended (futex(7), get_robust_list(2)) --- */

#define ROBUST_LIMIT 2048

SYSCALL(set_robust_list, u64, head, size_t, size)
{
	if (size != sizeof(struct robust_list_head))
		return -EINVAL;
	current_thread()->robust_list = head;
	return 0;
}

SYSCALL_ASYNC(get_robust_list, 3, SYS_ARG(pid_t, pid) SYS_ARG(u64 __user *, head) SYS_ARG(u64 __user *, size) u64 value; u64 bytes;)
{
	struct thread *thread;

	ASYNC_BEGIN;
	thread = thread_find(f->pid ? f->pid : thread_of(self)->tid);
	if (!thread)
		ASYNC_RETURN(-ESRCH);
	f->value = thread->robust_list;
	if (thread->process != thread_of(self)->process && !capable(CAP_SYS_PTRACE)) {
		thread_put(thread);
		ASYNC_RETURN(-EPERM);
	}
	thread_put(thread);
	f->bytes = sizeof(struct robust_list_head);
	COPY_OUT(f->size, f->bytes);
	COPY_OUT(f->head, f->value);
	ASYNC_END;
}

/* One lock: if the thread that ends owns it, it is marked as the dead one's and a waiter learns of it. */
ASYNC(robust_release, u32 __user *address; pid_t tid; bool pending; u32 value; u32 seen;)
{
	ASYNC_BEGIN;
	if ((u64)f->address % sizeof(u32))
		ASYNC_RETURN(-EINVAL);
	for (;;) {
		if (!user_load_u32(f->address, &f->value)) {
			/* It was about to unlock: somebody may wait for a wake that never came. */
			if (f->pending && !(f->value & FUTEX_TID_MASK)) {
				AWAIT(futex_wake, .address = f->address, .shared = true, .count = 1, .bitset = ~0u);
				ASYNC_RETURN(0);
			}
			if ((f->value & FUTEX_TID_MASK) != (u32)f->tid)
				ASYNC_RETURN(0);
			if (!user_cmpxchg_u32(f->address, f->value, (f->value & FUTEX_WAITERS) | FUTEX_OWNER_DIED, &f->seen)) {
				if (f->seen == f->value)
					break;
				continue;
			}
		}
		AWAIT(fault_in, .address = f->address, .n = sizeof(u32), .write = true);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (f->value & FUTEX_WAITERS) {
		AWAIT(futex_wake, .address = f->address, .shared = true, .count = 1, .bitset = ~0u);
	}
	ASYNC_END;
}

/* Bit 0 of an entry marks a priority-inheriting lock; those do not exist here and are treated as plain ones. */
ASYNC_DEFINE(futex_exit)
{
	ASYNC_BEGIN;
	COPY_IN(f->list, (const void __user *)f->head);
	f->pending = (u64)f->list.list_op_pending & ~1ull;
	f->entry = (u64)f->list.list.next & ~1ull;
	for (f->count = 0; f->entry != f->head && f->count < ROBUST_LIMIT; f->count++) {
		AWAIT(copy_in, .to = &f->next, .from = (const void __user *)f->entry, .n = sizeof(f->next));
		f->error = RESULT;
		if (f->entry != f->pending) {
			AWAIT(robust_release, .address = (u32 __user *)(f->entry + f->list.futex_offset), .tid = f->thread->tid);
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
		}
		if (f->error < 0)
			ASYNC_RETURN(f->error);
		f->entry = f->next & ~1ull;
	}
	if (f->pending) {
		AWAIT(robust_release, .address = (u32 __user *)(f->pending + f->list.futex_offset), .tid = f->thread->tid,
			.pending = true);
	}
	ASYNC_END;
}
