// SPDX-License-Identifier: MIT
/*
 * Tables of file descriptors: what CLONE_FILES shares. files->lock guards the slots and bits, except that the only thread
 * of a table may read it without: nobody else changes it (fd_begin).
 */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/close_range.h>

#define INLINE_SLOTS 64u

struct files {
	_Atomic u32 users;
	spinlock_t lock;
	u32 capacity; /* of slots: a multiple of 64 */
	u32 hint;     /* all below are used */
	struct file **slots;
	u64 *used, *cloexec; /* a bit for each slot */
	struct files *next_late; /* of those to be put by a task */
	struct file *inline_slots[INLINE_SLOTS];
	u64 inline_used, inline_cloexec;
};

static struct slab_cache *files_cache;

static void files_cache_init(void)
{
	files_cache = slab_cache_create("files", sizeof(struct files), 0);
}
INITCALL(INIT_CORE, files_cache_init);

struct files *files_create(void)
{
	struct files *files;

	files = slab_zalloc(files_cache);
	if (!files)
		return NULL;
	atomic_init(&files->users, 1);
	spin_init(&files->lock);
	files->capacity = INLINE_SLOTS;
	files->slots = files->inline_slots;
	files->used = &files->inline_used;
	files->cloexec = &files->inline_cloexec;
	return files;
}

static bool bit_test(const u64 *bits, u32 n)
{
	return bits[n / 64] >> (n % 64) & 1;
}

static void bit_assign(u64 *bits, u32 n, bool value)
{
	bits[n / 64] = (bits[n / 64] & ~BIT(n % 64)) | (u64)value << (n % 64);
}

/* The first free slot from `from` on; capacity if there is none. */
static u32 first_free(const struct files *files, u32 from)
{
	u32 word = from / 64;
	u64 mask = ~0ull << (from % 64);

	for (; word < files->capacity / 64; word++, mask = ~0ull) {
		u64 free = ~files->used[word] & mask;

		if (free)
			return word * 64 + (u32)__builtin_ctzll(free);
	}
	return max(from, files->capacity);
}

static void free_slots(struct file **slots, u64 *used, u64 *cloexec, const struct files *files)
{
	if (slots == files->inline_slots)
		return;
	kfree(slots);
	kfree(used);
	kfree(cloexec);
}

/* Makes room for slot n, outside the lock: false without memory. */
static bool files_grow(struct files *files, u32 n)
{
	u32 capacity = INLINE_SLOTS, old;
	struct file **slots, **old_slots;
	u64 *used, *cloexec, *old_used, *old_cloexec;

	while (capacity <= n)
		capacity *= 2;
	slots = kzalloc(capacity * sizeof(*slots));
	used = kzalloc(capacity / 8);
	cloexec = kzalloc(capacity / 8);
	if (!slots || !used || !cloexec) {
		kfree(slots);
		kfree(used);
		kfree(cloexec);
		return false;
	}
	spin_lock(&files->lock);
	old = files->capacity;
	old_slots = files->slots;
	old_used = files->used;
	old_cloexec = files->cloexec;
	if (capacity > old) {
		memcpy(slots, old_slots, old * sizeof(*slots));
		memcpy(used, old_used, old / 8);
		memcpy(cloexec, old_cloexec, old / 8);
		files->slots = slots;
		files->used = used;
		files->cloexec = cloexec;
		files->capacity = capacity;
	}
	spin_unlock(&files->lock);
	if (capacity > old)
		free_slots(old_slots, old_used, old_cloexec, files);
	else
		free_slots(slots, used, cloexec, files); /* another thread was faster */
	return true;
}

static void slot_fill(struct files *files, u32 n, struct file *file, bool cloexec) REQUIRES(files->lock)
{
	files->slots[n] = file;
	bit_assign(files->used, n, true);
	bit_assign(files->cloexec, n, cloexec);
}

static struct file *slot_empty(struct files *files, u32 n) REQUIRES(files->lock)
{
	struct file *file = n < files->capacity ? files->slots[n] : NULL;

	if (file) {
		files->slots[n] = NULL;
		bit_assign(files->used, n, false);
		bit_assign(files->cloexec, n, false);
		if (n < files->hint)
			files->hint = n;
	}
	return file;
}

struct files *files_copy(struct files *from)
{
	struct files *files = files_create();
	u32 capacity, n;

	if (!files)
		return NULL;
	for (;;) {
		spin_lock(&from->lock);
		/* The highest open one decides, not the capacity. */
		capacity = from->capacity;
		while (capacity > INLINE_SLOTS && !from->used[capacity / 64 - 1])
			capacity -= 64;
		if (capacity <= files->capacity)
			break;
		spin_unlock(&from->lock);
		if (!files_grow(files, capacity - 1)) {
			free_slots(files->slots, files->used, files->cloexec, files);
			slab_free(files_cache, files);
			return NULL;
		}
	}
	for (u32 word = 0; word < capacity / 64; word++) {
		u64 bits = from->used[word];

		files->used[word] = bits;
		files->cloexec[word] = from->cloexec[word];
		for (; bits; bits &= bits - 1) {
			n = word * 64 + (u32)__builtin_ctzll(bits);
			file_get(from->slots[n]);
			files->slots[n] = from->slots[n];
		}
	}
	spin_unlock(&from->lock);
	return files;
}

void files_get(struct files *files)
{
	atomic_fetch_add(&files->users, 1);
}

bool files_shared(struct files *files)
{
	return atomic_load(&files->users) > 1;
}

/* What close(2) does to a file that was just taken out of a table. 0, or the error of its flush. */
ASYNC(file_close, struct file *file; const struct files *owner; long error;)
{
	ASYNC_BEGIN;
	if (unlikely(f->file->inode->locks))
		locks_release_posix(f->file, f->owner);
	if (f->file->ops->flush && !(f->file->mode & FILE_PATH)) {
		AWAIT_OP(f->file->ops->flush, file_release, .file = f->file);
		f->error = RESULT;
	}
	if (!file_put_fast(f->file))
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC_DEFINE(files_put)
{
	ASYNC_BEGIN;
	if (atomic_fetch_sub(&f->files->users, 1) != 1)
		ASYNC_RETURN(0);
	for (; f->fd < f->files->capacity; f->fd++) {
		f->file = f->files->slots[f->fd];
		if (!f->file) {
			if (!f->files->used[f->fd / 64])
				f->fd |= 63; /* the whole word is empty */
			continue;
		}
		f->files->slots[f->fd] = NULL;
		bit_assign(f->files->used, f->fd, false);
		AWAIT(file_close, .file = f->file, .owner = f->files);
	}
	free_slots(f->files->slots, f->files->used, f->files->cloexec, f->files);
	slab_free(files_cache, f->files);
	ASYNC_END;
}

static spinlock_t late_lock = SPINLOCK_INIT;
static struct files *late; /* nobody uses them any more */
static bool late_running;

static struct files *late_take(void)
{
	struct files *files;

	spin_lock(&late_lock);
	files = late;
	if (files)
		late = files->next_late;
	else
		late_running = false;
	spin_unlock(&late_lock);
	return files;
}

ASYNC(files_put_task, struct files *files;)
{
	ASYNC_BEGIN;
	for (;;) {
		f->files = late_take();
		if (!f->files)
			break;
		AWAIT(files_put, .files = f->files);
	}
	ASYNC_END;
}

void files_put_later(struct files *files)
{
	u32 n = atomic_load(&files->users);
	bool start;

	while (n > 1)
		if (atomic_compare_exchange_weak(&files->users, &n, n - 1))
			return;
	spin_lock(&late_lock);
	files->next_late = late;
	late = files;
	start = !late_running;
	late_running = true;
	spin_unlock(&late_lock);
	if (start && !task_spawn("files-put", &files_put_task_fn, NULL, 0)) {
		spin_lock(&late_lock);
		late_running = false; /* no memory now: with the next one */
		spin_unlock(&late_lock);
	}
}

ASYNC_DEFINE(files_close_on_exec)
{
	ASYNC_BEGIN;
	for (; f->fd < f->files->capacity; f->fd++) {
		if (!f->files->cloexec[f->fd / 64]) {
			f->fd |= 63;
			continue;
		}
		if (!bit_test(f->files->cloexec, f->fd))
			continue;
		spin_lock(&f->files->lock);
		f->file = slot_empty(f->files, f->fd);
		spin_unlock(&f->files->lock);
		if (f->file)
			AWAIT(file_close, .file = f->file, .owner = f->files);
	}
	ASYNC_END;
}

struct file *files_file_get(struct files *files, int fd)
{
	struct file *file = NULL;

	spin_lock(&files->lock);
	if ((u32)fd < files->capacity)
		file = files->slots[fd];
	if (file)
		file_get(file);
	spin_unlock(&files->lock);
	return file;
}

int files_next(struct files *files, int fd)
{
	int found = -1;

	spin_lock(&files->lock);
	for (u32 n = fd < 0 ? 0 : (u32)fd; n < files->capacity && found < 0; n++)
		if (files->slots[n])
			found = (int)n;
	spin_unlock(&files->lock);
	return found;
}

u32 files_capacity(struct files *files)
{
	return files->capacity;
}

bool files_cloexec(struct files *files, int fd)
{
	bool set;

	spin_lock(&files->lock);
	set = (u32)fd < files->capacity && bit_test(files->cloexec, (u32)fd);
	spin_unlock(&files->lock);
	return set;
}

/* --- of the running thread --- */
struct fd_use fd_begin_any(struct task *self, int fd)
{
	struct files *files = thread_of(self)->files;

	if (likely(atomic_load_explicit(&files->users, memory_order_relaxed) == 1)) {
		if ((u32)fd >= files->capacity)
			return (struct fd_use){NULL, false};
		return (struct fd_use){files->slots[fd], false};
	}
	return (struct fd_use){files_file_get(files, fd), true};
}

struct fd_use fd_begin(struct task *self, int fd)
{
	struct fd_use use = fd_begin_any(self, fd);

	if (use.file && unlikely(use.file->mode & FILE_PATH)) {
		/* An O_PATH file has nothing to release: if this is the last reference, another thread closed it just now. */
		if (use.counted && !file_put_fast(use.file))
			file_put_later(use.file);
		use.file = NULL;
	}
	return use;
}

struct file *fd_get_any(int fd)
{
	return files_file_get(current_thread()->files, fd);
}

struct file *fd_get(int fd)
{
	struct file *file = fd_get_any(fd);

	if (file && (file->mode & FILE_PATH)) {
		if (!file_put_fast(file))
			file_put_later(file);
		return NULL;
	}
	return file;
}

static u32 limit_of_files(void)
{
	return (u32)min(limit_get(RLIMIT_NOFILE), 1024 * 1024ul);
}

int fd_install_from(struct file *file, int minimum, bool cloexec)
{
	struct files *files = current_thread()->files;
	u32 limit = limit_of_files(), n;

	for (;;) {
		spin_lock(&files->lock);
		n = first_free(files, max((u32)minimum, files->hint));
		if (n >= limit || n < files->capacity)
			break;
		spin_unlock(&files->lock);
		if (!files_grow(files, n))
			return -ENOMEM;
	}
	if (n < limit) {
		slot_fill(files, n, file, cloexec);
		if ((u32)minimum <= files->hint)
			files->hint = n + 1;
	}
	spin_unlock(&files->lock);
	return n < limit ? (int)n : -EMFILE;
}

int fd_install(struct file *file, bool cloexec)
{
	return fd_install_from(file, 0, cloexec);
}

bool fd_available(void)
{
	struct files *files = current_thread()->files;
	bool available;

	spin_lock(&files->lock);
	available = first_free(files, files->hint) < limit_of_files();
	spin_unlock(&files->lock);
	return available;
}

static struct file *take_out(struct files *files, int fd)
{
	struct file *file;

	spin_lock(&files->lock);
	file = slot_empty(files, (u32)fd);
	spin_unlock(&files->lock);
	return file;
}

ASYNC_DEFINE(fd_close)
{
	ASYNC_BEGIN;
	f->file = take_out(thread_of(self)->files, f->fd);
	if (!f->file)
		ASYNC_RETURN(-EBADF);
	AWAIT(file_close, .file = f->file, .owner = thread_of(self)->files);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(close, 1, SYS_ARG(int, fd) struct file *file;)
{
	ASYNC_BEGIN;
	f->file = take_out(thread_of(self)->files, f->fd);
	if (!f->file)
		ASYNC_RETURN(-EBADF);
	AWAIT(file_close, .file = f->file, .owner = thread_of(self)->files);
	/* The descriptor is gone in any case: the call can't be made again. */
	ASYNC_RETURN(RESULT == -EINTR ? -EINTR_FINAL : RESULT);
	ASYNC_END;
}

/* The descriptor `to` becomes one of `file` (counted, taken over). *old: what it was. -EBADF if out of range, -ENOMEM. */
static long replace(struct file *file, u32 to, bool cloexec, struct file **old)
{
	struct files *files = current_thread()->files;

	if (to >= limit_of_files())
		return -EBADF;
	if (to >= files->capacity && !files_grow(files, to))
		return -ENOMEM;
	spin_lock(&files->lock);
	*old = slot_empty(files, to);
	slot_fill(files, to, file, cloexec);
	spin_unlock(&files->lock);
	return to;
}

SYSCALL_ASYNC(dup3, 3, SYS_ARG(int, from) SYS_ARG(int, to) SYS_ARG(u32, flags) struct file *file; struct file *old; long result;)
{
	ASYNC_BEGIN;
	if ((f->flags & ~(u32)O_CLOEXEC) || f->from == f->to)
		ASYNC_RETURN(-EINVAL);
	if ((u32)f->to >= limit_of_files())
		ASYNC_RETURN(-EBADF);
	f->file = fd_get_any(f->from);
	if (!f->file)
		ASYNC_RETURN(-EBADF);
	f->result = replace(f->file, (u32)f->to, f->flags & O_CLOEXEC, &f->old);
	if (f->result < 0)
		AWAIT(file_put, .file = f->file);
	else if (f->old)
		AWAIT(file_close, .file = f->old, .owner = thread_of(self)->files);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

ASYNC_DEFINE(fd_duplicate)
{
	ASYNC_BEGIN;
	f->file = fd_get_any(f->fd);
	if (!f->file)
		ASYNC_RETURN(-EBADF);
	f->result = fd_install_from(f->file, f->minimum, f->cloexec);
	if (f->result < 0)
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

SYSCALL_ASYNC(dup, 1, SYS_ARG(int, fd))
{
	ASYNC_BEGIN;
	AWAIT(fd_duplicate, .fd = f->fd);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

long fd_flags_get(int fd)
{
	struct files *files = current_thread()->files;

	return files_cloexec(files, fd) ? FD_CLOEXEC : 0;
}

void fd_flags_set(int fd, bool cloexec)
{
	struct files *files = current_thread()->files;

	spin_lock(&files->lock);
	if ((u32)fd < files->capacity && files->slots[fd])
		bit_assign(files->cloexec, (u32)fd, cloexec);
	spin_unlock(&files->lock);
}

/* Not the table of anybody else from now on. */
static long unshare_files(struct thread *thread, struct files **old)
{
	struct files *copy;
	unsigned long flags;

	*old = NULL;
	if (atomic_load(&thread->files->users) == 1)
		return 0;
	copy = files_copy(thread->files);
	if (!copy)
		return -ENOMEM;
	*old = thread->files;
	flags = spin_lock_irqsave(&process_lock); /* who has which table is looked at under it */
	thread->files = copy;
	spin_unlock_irqrestore(&process_lock, flags);
	return 0;
}

static void mark_range(struct files *files, u32 first, u32 last)
{
	spin_lock(&files->lock);
	for (u32 n = first; n <= last && n < files->capacity; n++)
		if (files->slots[n])
			bit_assign(files->cloexec, n, true);
	spin_unlock(&files->lock);
}

SYSCALL_ASYNC(close_range, 3, SYS_ARG(u32, first) SYS_ARG(u32, last) SYS_ARG(u32, flags) struct file *file; struct files *old; int fd;)
{
	long error;

	ASYNC_BEGIN;
	if ((f->flags & ~(u32)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || f->first > f->last)
		ASYNC_RETURN(-EINVAL);
	if (f->flags & CLOSE_RANGE_UNSHARE) {
		error = unshare_files(thread_of(self), &f->old);
		if (error)
			ASYNC_RETURN(error);
		if (f->old)
			AWAIT(files_put, .files = f->old);
	}
	if (f->flags & CLOSE_RANGE_CLOEXEC) {
		mark_range(thread_of(self)->files, f->first, f->last);
		ASYNC_RETURN(0);
	}
	f->fd = (int)min(f->first, 0x7fffffffu);
	for (;;) {
		f->fd = files_next(thread_of(self)->files, f->fd);
		if (f->fd < 0 || (u32)f->fd > f->last)
			break;
		AWAIT(fd_close, .fd = f->fd);
		f->fd++;
	}
	ASYNC_END;
}
