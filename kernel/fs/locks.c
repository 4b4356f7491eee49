// SPDX-License-Identifier: MIT
/*
 * Advisory locks: POSIX records (fcntl F_SETLK: owned by a process's table of descriptors), OFD records (owned by an open
 * file), and flock(2) (whole files, owned by an open file). flock locks don't see the others.
 *
 * One spinlock guards all locks: they are rare and short work. Whoever must wait sleeps on the inode's queue and tries
 * again whenever any lock of it goes.
 */
#include "locks.h"
#include <lichen/syscall.h>
#include <linux/fs.h>

struct record {
	struct list node; /* in inode_locks.records, sorted by start; or .flocks */
	const void *owner; /* struct files or struct file */
	bool ofd, write;
	pid_t pid;
	u64 start, end; /* end is the last byte */
};

struct inode_locks {
	struct list records, flocks;
	struct wait_queue changed;
};

/* A thread that waits for a POSIX lock: to find circles. */
struct blocked {
	struct list node;
	const void *owner, *on;
};

static spinlock_t locks_lock = SPINLOCK_INIT;
static struct list blocked_list = LIST_INIT(blocked_list);
static struct slab_cache *record_cache;

static void file_lock_cache_init(void)
{
	record_cache = slab_cache_create("file_lock", sizeof(struct record), 0);
}
INITCALL(INIT_CORE, file_lock_cache_init);

static struct inode_locks *locks_of(struct inode *inode)
{
	struct inode_locks *fresh;

	if (inode->locks)
		return inode->locks;
	fresh = kzalloc(sizeof(*fresh));
	if (!fresh)
		return NULL;
	list_init(&fresh->records);
	list_init(&fresh->flocks);
	wait_queue_init(&fresh->changed);
	spin_lock(&locks_lock);
	if (!inode->locks) {
		inode->locks = fresh;
		fresh = NULL;
	}
	spin_unlock(&locks_lock);
	kfree(fresh);
	return inode->locks;
}

static bool overlaps(const struct record *record, u64 start, u64 end)
{
	return record->start <= end && start <= record->end;
}

static bool same_owner(const struct record *record, const struct lock_wish *wish)
{
	return record->owner == wish->owner && record->ofd == wish->ofd;
}

static struct record *find_conflict(struct inode_locks *locks, const struct lock_wish *wish) REQUIRES(locks_lock)
{
	struct record *record;

	list_for_each(record, &locks->records, node)
		if (!same_owner(record, wish) && overlaps(record, wish->start, wish->end) && (wish->write || record->write))
			return record;
	return NULL;
}

/* Would `owner` wait for itself, through others, if it waited for `on`? */
static bool is_circle(const void *owner, const void *on) REQUIRES(locks_lock)
{
	for (int steps = 0; steps < 100; steps++) {
		struct blocked *blocked;
		const void *next = NULL;

		if (on == owner)
			return true;
		list_for_each(blocked, &blocked_list, node)
			if (blocked->owner == on)
				next = blocked->on;
		if (!next)
			return false;
		on = next;
	}
	return false;
}

static void insert_sorted(struct inode_locks *locks, struct record *record) REQUIRES(locks_lock)
{
	struct list *node = locks->records.next;

	while (node != &locks->records && list_entry(node, struct record, node)->start < record->start)
		node = node->next;
	list_add_tail(node, &record->node);
}

/*
 * The owner's locks in [start, end] become what is wished. spare: two records, so that nothing fails half-way; what is used
 * becomes NULL.
 */
static void set_range(struct inode_locks *locks, const struct lock_wish *wish, struct record **spare) REQUIRES(locks_lock)
{
	struct record *record, *next;
	u64 start = wish->start, end = wish->end;

	list_for_each_safe(record, next, &locks->records, node) {
		if (!same_owner(record, wish))
			continue;
		/* Neighbours of the same kind become one. */
		if (!wish->unlock && record->write == wish->write &&
			(overlaps(record, start, end) || (record->end != ~0ull && record->end + 1 == start) || (end != ~0ull && end + 1 == record->start))) {
			start = min(start, record->start);
			end = max(end, record->end);
		} else if (!overlaps(record, wish->start, wish->end)) {
			continue;
		} else {
			if (record->start < wish->start && record->end > wish->end) {
				/* The wish lies in the middle: two are left. */
				struct record *right = spare[0];

				spare[0] = NULL;
				*right = *record;
				right->start = wish->end + 1;
				record->end = wish->start - 1;
				list_init(&right->node);
				insert_sorted(locks, right);
				continue;
			}
			if (record->start < wish->start) {
				record->end = wish->start - 1;
				continue;
			}
			if (record->end > wish->end) {
				list_remove(&record->node);
				record->start = wish->end + 1;
				insert_sorted(locks, record);
				continue;
			}
		}
		list_remove(&record->node);
		slab_free(record_cache, record);
	}
	if (!wish->unlock) {
		struct record *made = spare[1];

		spare[1] = NULL;
		*made = (struct record){.owner = wish->owner, .ofd = wish->ofd, .write = wish->write, .pid = wish->pid, .start = start, .end = end};
		list_init(&made->node);
		insert_sorted(locks, made);
	}
}

static long try_set(struct inode_locks *locks, const struct lock_wish *wish, struct record **spare, const void **on)
{
	struct record *conflict;
	long error = 0;

	spin_lock(&locks_lock);
	conflict = wish->unlock ? NULL : find_conflict(locks, wish);
	if (conflict) {
		error = -EAGAIN;
		*on = conflict->owner;
		if (wish->wait && !wish->ofd && is_circle(wish->owner, conflict->owner))
			error = -EDEADLK;
	} else {
		set_range(locks, wish, spare);
	}
	spin_unlock(&locks_lock);
	return error;
}

static void block(struct blocked *blocked, const void *owner, const void *on)
{
	spin_lock(&locks_lock);
	blocked->owner = owner;
	blocked->on = on;
	list_add(&blocked_list, &blocked->node);
	spin_unlock(&locks_lock);
}

static void unblock(struct blocked *blocked)
{
	spin_lock(&locks_lock);
	list_remove(&blocked->node);
	spin_unlock(&locks_lock);
}

ASYNC(lock_set_inner, struct inode *inode; const struct lock_wish *wish; struct inode_locks *locks; struct record *spare[2]; u32 ticket; struct blocked *blocked; struct blocked own; long error;)
{
	const void *on;

	ASYNC_BEGIN;
	if (f->wish->unlock && !f->inode->locks)
		ASYNC_RETURN(0);
	f->locks = locks_of(f->inode);
	f->spare[0] = f->locks ? slab_alloc(record_cache) : NULL;
	f->spare[1] = f->spare[0] ? slab_alloc(record_cache) : NULL;
	if (!f->spare[1]) {
		if (f->spare[0])
			slab_free(record_cache, f->spare[0]);
		ASYNC_RETURN(-ENOLCK);
	}
	for (;;) {
		f->ticket = wait_ticket(&f->locks->changed);
		f->error = try_set(f->locks, f->wish, f->spare, &on);
		if (f->error != -EAGAIN || !f->wish->wait)
			break;
		block(&f->own, f->wish->owner, on);
		AWAIT(wait_on, .queue = &f->locks->changed, .ticket = f->ticket);
		unblock(&f->own);
		if (RESULT < 0) {
			f->error = -ERESTARTSYS;
			break;
		}
	}
	for (u32 i = 0; i < 2; i++)
		if (f->spare[i])
			slab_free(record_cache, f->spare[i]);
	/* Making it weaker or letting it go may help others. */
	if (!f->error)
		wait_wake_all(&f->locks->changed);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC_DEFINE(lock_set)
{
	ASYNC_BEGIN;
	AWAIT(lock_set_inner, .inode = f->inode, .wish = f->wish);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

bool lock_test(struct inode *inode, struct lock_wish *wish)
{
	struct record *conflict = NULL;

	spin_lock(&locks_lock);
	if (inode->locks)
		conflict = find_conflict(inode->locks, wish);
	if (conflict) {
		wish->write = conflict->write;
		wish->start = conflict->start;
		wish->end = conflict->end;
		wish->pid = conflict->ofd ? -1 : conflict->pid;
	}
	spin_unlock(&locks_lock);
	return conflict;
}

/* --- flock(2) --- */
static long try_flock(struct inode_locks *locks, const struct file *file, u32 operation, struct record **spare)
{
	struct record *record, *own = NULL;
	bool write = operation & LOCK_EX, conflict = false;

	spin_lock(&locks_lock);
	list_for_each(record, &locks->flocks, node) {
		if (record->owner == file)
			own = record;
		else if (!(operation & LOCK_UN) && (write || record->write))
			conflict = true;
	}
	if (own && (operation & LOCK_UN)) {
		list_remove(&own->node);
		slab_free(record_cache, own);
	} else if (own && own->write == write) {
		conflict = false; /* it has that already */
	} else if (own && conflict) {
		/* Changing the kind gives up the old one first: flock(2). */
		list_remove(&own->node);
		slab_free(record_cache, own);
	} else if (own) {
		own->write = write;
	} else if (!conflict && !(operation & LOCK_UN)) {
		*spare[0] = (struct record){.owner = file, .write = write, .pid = current_thread()->process->pid, .end = ~0ull};
		list_init(&spare[0]->node);
		list_add_tail(&locks->flocks, &spare[0]->node);
		spare[0] = NULL;
	}
	spin_unlock(&locks_lock);
	return conflict ? -EWOULDBLOCK : 0;
}

SYSCALL_ASYNC(flock, 2, SYS_ARG(int, number) SYS_ARG(u32, operation) struct fd_use fd; struct inode_locks *locks; struct record *spare; u32 ticket; long error;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	f->error = -EINVAL;
	if ((f->operation & ~(u32)LOCK_NB) != LOCK_SH && (f->operation & ~(u32)LOCK_NB) != LOCK_EX && (f->operation & ~(u32)LOCK_NB) != LOCK_UN)
		goto out;
	f->locks = locks_of(f->fd.file->inode);
	f->spare = f->locks ? slab_alloc(record_cache) : NULL;
	f->error = -ENOLCK;
	if (!f->spare)
		goto out;
	for (;;) {
		f->ticket = wait_ticket(&f->locks->changed);
		f->error = try_flock(f->locks, f->fd.file, f->operation, &f->spare);
		if (f->error != -EWOULDBLOCK || (f->operation & LOCK_NB))
			break;
		AWAIT(wait_on, .queue = &f->locks->changed, .ticket = f->ticket);
		if (RESULT < 0) {
			f->error = -ERESTARTSYS;
			break;
		}
	}
	if (f->spare)
		slab_free(record_cache, f->spare);
	wait_wake_all(&f->locks->changed);
out:
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* --- the ends --- */
static void release(struct list *list, const void *owner, bool ofd) REQUIRES(locks_lock)
{
	struct record *record, *next;

	list_for_each_safe(record, next, list, node) {
		if (record->owner == owner && record->ofd == ofd) {
			list_remove(&record->node);
			slab_free(record_cache, record);
		}
	}
}

void locks_release_posix(struct file *file, const void *owner)
{
	struct inode_locks *locks = file->inode->locks;

	spin_lock(&locks_lock);
	release(&locks->records, owner, false);
	spin_unlock(&locks_lock);
	wait_wake_all(&locks->changed);
}

void locks_release_file(struct file *file)
{
	struct inode_locks *locks = file->inode->locks;

	spin_lock(&locks_lock);
	release(&locks->records, file, true);
	release(&locks->flocks, file, false);
	spin_unlock(&locks_lock);
	wait_wake_all(&locks->changed);
}

void locks_free(struct inode *inode)
{
	/* No file is open on it: nobody holds or wants one. */
	kfree(inode->locks);
	inode->locks = NULL;
}
