/* SPDX-License-Identifier: MIT */
/*
 * System V shared memory. A segment is a file of shared anonymous memory; each shmat opens a file of its own on it, so that
 * the last unmapping, by whatever call, detaches. A segment that was removed goes with the last attachment.
 */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/radix.h>
#include <lichen/slab.h>
#include <lichen/syscall.h>
#include <lichen/uaccess.h>
#include <asm/shmbuf.h>
#include <linux/mman.h>
#include <linux/shm.h>

#define SEGMENTS_MAX 4096u
#define SHM_DEST     01000 /* in shm_perm.mode: shmctl(2); no header of the kernel has them */
#define SHM_LOCKED   02000

struct segment {
	struct list node; /* in `segments`, unless removed */
	s32 id, key;
	bool removed;
	u32 attached;
	u64 bytes;
	struct file *memory; /* counted */
	uid_t uid, creator_uid;
	gid_t gid, creator_gid;
	mode_t mode; /* with SHM_DEST, SHM_LOCKED */
	s64 attach_time, detach_time, change_time;
	pid_t creator, last;
};

static spinlock_t segments_lock = SPINLOCK_INIT;
static struct list segments = LIST_INIT(segments);
static u32 segment_count;
static s32 next_id;

static s64 seconds(void)
{
	return (s64)(time_realtime() / NSEC_PER_SEC);
}

static pid_t own_pid(void)
{
	return current_thread()->process->pid;
}

static struct segment *find(s32 id) REQUIRES(segments_lock)
{
	struct segment *s;

	list_for_each(s, &segments, node)
		if (s->id == id)
			return s;
	return NULL;
}

static struct segment *find_key(s32 key) REQUIRES(segments_lock)
{
	struct segment *s;

	list_for_each(s, &segments, node)
		if (s->key == key && key != IPC_PRIVATE)
			return s;
	return NULL;
}

static bool owns(const struct segment *s)
{
	const struct cred *cred = current_thread()->cred;

	return cred->euid == s->uid || cred->euid == s->creator_uid || capable(CAP_SYS_ADMIN);
}

/* wanted: 4 read, 2 write. */
static bool permitted(const struct segment *s, u32 wanted)
{
	const struct cred *cred = current_thread()->cred;
	u32 mode = s->mode;

	if (cred->euid == s->uid || cred->euid == s->creator_uid)
		mode >>= 6;
	else if (cred->egid == s->gid || cred->egid == s->creator_gid || cred_in_group(cred, s->gid) ||
		 cred_in_group(cred, s->creator_gid))
		mode >>= 3;
	return !(wanted & ~mode & 6) || capable(CAP_IPC_OWNER);
}

/* The segment goes when it was removed and nobody has it: its memory's file for the caller to put, or NULL. */
static struct file *release_if_unused(struct segment *s) REQUIRES(segments_lock)
{
	struct file *memory = s->memory;

	if (!s->removed || s->attached)
		return NULL;
	kfree(s);
	return memory;
}

/* --- attachments: files whose private is the segment --- */

static long attach_mmap(struct file *file, struct vma *vma)
{
	struct segment *s = file->private;

	return s->memory->ops->mmap(s->memory, vma);
}

ASYNC(attach_release, FILE_RELEASE_ARGS struct file *memory;)
{
	struct segment *s = f->file->private;

	ASYNC_BEGIN;
	spin_lock(&segments_lock);
	s->attached--;
	s->detach_time = seconds();
	f->memory = release_if_unused(s);
	spin_unlock(&segments_lock);
	if (f->memory && !file_put_fast(f->memory))
		AWAIT(file_put, .file = f->memory);
	ASYNC_END;
}

static const struct file_ops attach_ops = {.mmap = attach_mmap, .release = &attach_release_fn};

/* --- shmget --- */

static long segment_add(s32 key, u64 bytes, u32 flags, struct file *memory, struct segment *s)
{
	const struct cred *cred = current_thread()->cred;
	struct segment *other;
	long result;

	*s = (struct segment){
		.key = key, .bytes = bytes, .memory = memory, .mode = flags & 0777, .change_time = seconds(), .creator = own_pid(),
		.uid = cred->euid, .creator_uid = cred->euid, .gid = cred->egid, .creator_gid = cred->egid,
	};
	spin_lock(&segments_lock);
	other = find_key(key);
	if (other) {
		result = -EEXIST;
	} else if (segment_count >= SEGMENTS_MAX) {
		result = -ENOSPC;
	} else {
		do
			next_id = (next_id + 1) & 0x7fffffff;
		while (find(next_id));
		s->id = next_id;
		list_add_tail(&segments, &s->node);
		segment_count++;
		result = s->id;
	}
	spin_unlock(&segments_lock);
	return result;
}

/* The id of an existing segment, or -ENOENT. */
static long segment_lookup(s32 key, u64 bytes, u32 flags)
{
	struct segment *s;
	long result = -ENOENT;

	spin_lock(&segments_lock);
	s = find_key(key);
	if (s && (flags & (IPC_CREAT | IPC_EXCL)) == (IPC_CREAT | IPC_EXCL))
		result = -EEXIST;
	else if (s && !permitted(s, (flags >> 6 | flags >> 3 | flags) & 6))
		result = -EACCES;
	else if (s)
		result = bytes > s->bytes ? -EINVAL : s->id;
	spin_unlock(&segments_lock);
	return result;
}

SYSCALL_ASYNC(shmget, 3, SYS_ARG(s32, key) SYS_ARG(u64, bytes) SYS_ARG(u32, flags) struct file *memory; struct segment *segment; long result;)
{
	ASYNC_BEGIN;
	for (;;) {
		f->result = segment_lookup(f->key, f->bytes, f->flags);
		if (f->result != -ENOENT || !(f->key == IPC_PRIVATE || f->flags & IPC_CREAT))
			ASYNC_RETURN(f->result);
		if (!f->bytes || f->bytes > USER_END)
			ASYNC_RETURN(-EINVAL);
		f->segment = kmalloc(sizeof(struct segment));
		f->memory = f->segment ? shmem_file("/SYSV", align_up(f->bytes, PAGE_SIZE)) : NULL;
		f->result = -ENOMEM;
		if (f->memory)
			f->result = segment_add(f->key, f->bytes, f->flags, f->memory, f->segment);
		if (f->result >= 0)
			ASYNC_RETURN(f->result);
		kfree(f->segment);
		if (f->memory)
			AWAIT(file_put, .file = f->memory);
		if (f->result != -EEXIST)
			ASYNC_RETURN(f->result);
	}
	ASYNC_END;
}

/* --- shmat, shmdt --- */

/* Counts an attachment; its file, or an error, and perhaps memory to put. */
static struct file *attach(s32 id, u32 flags, u64 *bytes, struct file **memory)
{
	struct segment *s;
	struct file *file;
	long error = 0;

	spin_lock(&segments_lock);
	s = find(id);
	if (!s)
		error = -EINVAL;
	else if (!permitted(s, flags & SHM_RDONLY ? 4 : 6))
		error = -EACCES;
	else {
		s->attached++;
		s->attach_time = seconds();
		s->last = own_pid();
		*bytes = s->bytes;
	}
	spin_unlock(&segments_lock);
	if (error)
		return ERR_PTR(error);
	file = file_anonymous("/SYSV", &attach_ops, s, flags & SHM_RDONLY ? O_RDONLY : O_RDWR);
	if (file)
		return file;
	spin_lock(&segments_lock);
	s->attached--;
	*memory = release_if_unused(s);
	spin_unlock(&segments_lock);
	return ERR_PTR(-ENOMEM);
}

SYSCALL_ASYNC(shmat, 3, SYS_ARG(s32, id) SYS_ARG(u64, address) SYS_ARG(u32, flags) struct file *file; struct file *memory;
	u64 bytes; long result;)
{
	ASYNC_BEGIN;
	if (f->flags & SHM_RND)
		f->address &= PAGE_MASK;
	if (f->id < 0 || !is_aligned(f->address, PAGE_SIZE) || (f->flags & SHM_REMAP && !f->address))
		ASYNC_RETURN(-EINVAL);
	f->file = attach(f->id, f->flags, &f->bytes, &f->memory);
	if (IS_ERR(f->file)) {
		if (f->memory && !file_put_fast(f->memory))
			AWAIT(file_put, .file = f->memory);
		ASYNC_RETURN(PTR_ERR(f->file));
	}
	AWAIT(mm_map, .mm = thread_of(self)->mm, .file = f->file, .address = f->address, .length = f->bytes,
		.prot = PROT_READ | (f->flags & SHM_RDONLY ? 0 : PROT_WRITE) | (f->flags & SHM_EXEC ? PROT_EXEC : 0),
		.flags = MAP_SHARED | (!f->address ? 0 : f->flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE));
	f->result = RESULT == -EEXIST ? -EINVAL : RESULT;
	if (!file_put_fast(f->file))
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

/* All that is left of the attachment that was made at `address`: mm->lock held for write. */
static long detach(struct mm *mm, u64 address, struct list *dead)
{
	struct vma *vma = vma_find(mm, address);
	struct file *file;
	u64 end;

	while (vma && !(vma->file && vma->file->ops == &attach_ops && vma->start - vma->offset == address))
		vma = vma->start > address + (1ull << 40) ? NULL : vma_next(vma);
	if (!vma)
		return -EINVAL;
	file = vma->file;
	end = address + align_up(((struct segment *)file->private)->bytes, PAGE_SIZE);
	while (vma && vma->start < end) {
		u64 start = vma->start, stop = vma->end;
		bool part = vma->file == file && vma->start - vma->offset == address;

		if (part && mm_cut(mm, start, stop, dead))
			return -ENOMEM;
		vma = vma_find(mm, stop);
	}
	return 0;
}

SYSCALL_ASYNC(shmdt, 1, SYS_ARG(u64, address) struct mm *mm; struct list dead; long error;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	if (!is_aligned(f->address, PAGE_SIZE))
		ASYNC_RETURN(-EINVAL);
	list_init(&f->dead);
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	f->error = detach(f->mm, f->address, &f->dead);
	rwlock_write_unlock(&f->mm->lock);
	AWAIT(vma_bury, .dead = &f->dead);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* --- shmctl --- */

union shm_info_any {
	struct shmid64_ds ds;
	struct shminfo64 limits;
	struct shm_info info;
};

static void describe(const struct segment *s, struct shmid64_ds *ds)
{
	*ds = (struct shmid64_ds){
		.shm_perm = {.key = s->key, .uid = s->uid, .gid = s->gid, .cuid = s->creator_uid, .cgid = s->creator_gid, .mode = s->mode},
		.shm_segsz = s->bytes, .shm_atime = s->attach_time, .shm_dtime = s->detach_time, .shm_ctime = s->change_time,
		.shm_cpid = s->creator, .shm_lpid = s->last, .shm_nattch = s->attached,
	};
}

/* The n-th segment in the order of creation, as ipcs asks for them. */
static struct segment *find_nth(s32 n) REQUIRES(segments_lock)
{
	struct segment *s;

	list_for_each(s, &segments, node)
		if (!n--)
			return s;
	return NULL;
}

static long stat_segment(s32 id, u32 command, struct shmid64_ds *ds)
{
	struct segment *s;
	long result = -EINVAL;

	spin_lock(&segments_lock);
	s = command == IPC_STAT ? find(id) : id < 0 ? NULL : find_nth(id);
	if (s && command != SHM_STAT_ANY && !permitted(s, 4)) {
		result = -EACCES;
	} else if (s) {
		describe(s, ds);
		result = command == IPC_STAT ? 0 : s->id;
	}
	spin_unlock(&segments_lock);
	return result;
}

static long show_totals(u32 command, union shm_info_any *any, u32 *bytes)
{
	long last;
	struct segment *s;

	spin_lock(&segments_lock);
	last = segment_count ? (long)segment_count - 1 : 0;
	if (command == IPC_INFO) {
		any->limits = (struct shminfo64){.shmmax = ~0ul - (1ul << 24), .shmmin = 1, .shmmni = SEGMENTS_MAX,
			.shmseg = SEGMENTS_MAX, .shmall = ~0ul - (1ul << 24)};
		*bytes = sizeof(any->limits);
	} else {
		any->info = (struct shm_info){.used_ids = (int)segment_count};
		list_for_each(s, &segments, node) {
			any->info.shm_tot += div_round_up(s->bytes, PAGE_SIZE);
			any->info.shm_rss += shmem_pages(s->memory);
		}
		*bytes = sizeof(any->info);
	}
	spin_unlock(&segments_lock);
	return last;
}

/* RMID, SET, LOCK, UNLOCK: what must be put afterwards in *memory. */
static long change(s32 id, u32 command, const struct shmid64_ds *ds, struct file **memory)
{
	struct segment *s;
	long error = 0;

	spin_lock(&segments_lock);
	s = find(id);
	if (!s) {
		error = -EINVAL;
	} else if (!owns(s) && !((command == SHM_LOCK || command == SHM_UNLOCK) && capable(CAP_IPC_LOCK))) {
		error = -EPERM;
	} else if (command == IPC_RMID) {
		list_remove(&s->node);
		segment_count--;
		s->removed = true;
		s->key = IPC_PRIVATE;
		s->mode |= SHM_DEST;
		*memory = release_if_unused(s);
	} else if (command == IPC_SET) {
		s->uid = ds->shm_perm.uid;
		s->gid = ds->shm_perm.gid;
		s->mode = (s->mode & ~0777u) | (ds->shm_perm.mode & 0777);
		s->change_time = seconds();
	} else if (command == SHM_LOCK) {
		s->mode |= SHM_LOCKED; /* it never leaves memory anyway */
	} else {
		s->mode &= ~(u32)SHM_LOCKED;
	}
	spin_unlock(&segments_lock);
	return error;
}

SYSCALL_ASYNC(shmctl, 3, SYS_ARG(s32, id) SYS_ARG(u32, command) SYS_ARG(void __user *, buf) union shm_info_any any; u32 bytes;
	struct file *memory; long result;)
{
	ASYNC_BEGIN;
	if (f->command == IPC_STAT || f->command == SHM_STAT || f->command == SHM_STAT_ANY) {
		f->result = stat_segment(f->id, f->command, &f->any.ds);
		f->bytes = sizeof(f->any.ds);
	} else if (f->command == IPC_INFO || f->command == SHM_INFO) {
		f->result = show_totals(f->command, &f->any, &f->bytes);
	} else if (f->command == IPC_SET || f->command == IPC_RMID || f->command == SHM_LOCK || f->command == SHM_UNLOCK) {
		if (f->command == IPC_SET) {
			AWAIT(copy_in, .to = &f->any.ds, .from = f->buf, .n = sizeof(f->any.ds));
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
		}
		f->result = change(f->id, f->command, &f->any.ds, &f->memory);
		if (f->memory && !file_put_fast(f->memory))
			AWAIT(file_put, .file = f->memory);
		ASYNC_RETURN(f->result);
	} else {
		ASYNC_RETURN(-EINVAL);
	}
	if (f->result < 0)
		ASYNC_RETURN(f->result);
	AWAIT(copy_out, .to = f->buf, .from = &f->any, .n = f->bytes);
	ASYNC_RETURN(RESULT < 0 ? RESULT : f->result);
	ASYNC_END;
}
