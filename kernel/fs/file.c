// SPDX-License-Identifier: MIT
/* Open files: their life from the slab to the last reference, and those that have no name in any directory. */
#include "internal.h"
#include <lichen/pipe.h>
#include <lichen/poll.h>

static struct slab_cache *file_cache;
static struct mount *anonymous_mount;
static struct inode *anonymous_inode; /* of eventfds and their like */
static _Atomic u64 file_count;

struct file *file_alloc(u32 flags)
{
	struct file *file = slab_zalloc(file_cache);

	if (!file)
		return NULL;
	atomic_init(&file->refcount, 1);
	file->flags = flags;
	/* O_ACCMODE is 3: what ioctl-only opens have. */
	file->mode = (flags + 1) & O_ACCMODE;
	mutex_init(&file->pos_lock);
	list_init(&file->epoll);
	atomic_fetch_add_explicit(&file_count, 1, memory_order_relaxed);
	return file;
}

void file_free(struct file *file)
{
	atomic_fetch_sub_explicit(&file_count, 1, memory_order_relaxed);
	slab_free(file_cache, file);
}

u64 files_open(void);
u64 files_open(void)
{
	return atomic_load(&file_count);
}

bool file_get_live(struct file *file)
{
	u32 n = atomic_load(&file->refcount);

	while (n)
		if (atomic_compare_exchange_weak(&file->refcount, &n, n + 1))
			return true;
	return false;
}

long file_count_writer(struct file *file)
{
	s32 n = atomic_load(&file->inode->writers);

	do {
		if (n < 0)
			return -ETXTBSY;
	} while (!atomic_compare_exchange_weak(&file->inode->writers, &n, n + 1));
	file->mode |= FILE_WRITER;
	atomic_fetch_add(&file->inode->sb->writers, 1);
	return 0;
}

ASYNC_DEFINE(file_put)
{
	ASYNC_BEGIN;
	if (atomic_fetch_sub_explicit(&f->file->refcount, 1, memory_order_acq_rel) != 1)
		ASYNC_RETURN(0);
	if (!(f->file->mode & FILE_PATH)) {
		if (!list_empty(&f->file->epoll))
			epoll_file_released(f->file);
		if (unlikely(f->file->inode->locks))
			locks_release_file(f->file);
		NOTIFY_CLOSE(f->file);
		if (f->file->ops->release)
			AWAIT_OP(f->file->ops->release, file_release, .file = f->file);
		if (f->file->mode & FILE_WRITER) {
			atomic_fetch_sub(&f->file->inode->writers, 1);
			atomic_fetch_sub(&f->file->inode->sb->writers, 1);
		} else if (f->file->mode & FILE_EXECUTED) {
			inode_allow_write(f->file->inode);
		}
	}
	f->path = f->file->path;
	file_free(f->file);
	AWAIT(path_put, .path = &f->path);
	ASYNC_END;
}

/* --- references that must be dropped where nothing can be awaited --- */
static spinlock_t late_lock = SPINLOCK_INIT;
static struct file *late; /* linked by next_late; given back by a task of its own */
static bool late_running;

static struct file *late_take(void)
{
	struct file *file;

	spin_lock(&late_lock);
	file = late;
	if (!file)
		late_running = false;
	else if (!--file->late_count)
		late = file->next_late;
	spin_unlock(&late_lock);
	return file;
}

ASYNC(file_put_task, struct file *file;)
{
	ASYNC_BEGIN;
	for (;;) {
		f->file = late_take();
		if (!f->file)
			break;
		AWAIT(file_put, .file = f->file);
	}
	ASYNC_END;
}

void file_put_later(struct file *file)
{
	bool start;

	if (file_put_fast(file))
		return; /* others hold it still; the last one is in the list once alone */
	spin_lock(&late_lock);
	/* The same file may come again before its turn: it is linked once, and counted. */
	if (!file->late_count++) {
		file->next_late = late;
		late = file;
	}
	start = !late_running;
	late_running = true;
	spin_unlock(&late_lock);
	if (start && !task_spawn("file-put", &file_put_task_fn, NULL, 0)) {
		spin_lock(&late_lock);
		late_running = false; /* no memory now: with the next one */
		spin_unlock(&late_lock);
	}
}

/* --- files without a name --- */
struct file *file_nameless(struct inode *inode, struct mount *mount, const char *text, const struct file_ops *ops, u32 flags)
{
	struct name name = name_of(text);
	struct dentry *dentry = dentry_alloc(inode->sb, &name);
	struct file *file = dentry ? file_alloc(flags) : NULL;

	if (!dentry)
		return NULL;
	if (!file) {
		dentry_discard(dentry);
		return NULL;
	}
	dentry->inode = inode;
	mount_get(mount);
	file->path = (struct path){mount, dentry};
	file->inode = inode;
	file->ops = ops;
	return file;
}

static void anonymous_free(struct inode *inode)
{
	kfree(inode);
}

static struct filesystem anonymous_fs = {
	.name = "anon_inodefs",
	.flags = FS_NO_CACHE,
	.free_inode = anonymous_free,
};

static struct inode *anonymous_make(mode_t mode)
{
	static _Atomic u64 numbers;
	struct inode *inode = kmalloc(sizeof(*inode));

	if (!inode)
		return NULL;
	inode_init(inode, anonymous_mount->sb, atomic_fetch_add(&numbers, 1) + 1);
	inode->mode = mode;
	atomic_fetch_or(&inode->state, INODE_ANONYMOUS);
	return inode;
}

static void set_owner(struct inode *inode)
{
	const struct cred *cred = current_thread()->cred;

	inode->uid = cred->fsuid;
	inode->gid = cred->fsgid;
}

struct file *file_anonymous(const char *what, const struct file_ops *ops, void *private, u32 flags)
{
	bool pipe = !strcmp(what, "pipe"), socket = !strcmp(what, "socket");
	struct inode *inode = anonymous_inode;
	struct file *file;
	char text[40];

	if (pipe || socket) {
		inode = anonymous_make(pipe ? S_IFIFO | 0600 : S_IFSOCK | 0777);
		if (!inode)
			return NULL;
		set_owner(inode);
		if (pipe)
			inode->file_ops = &fifo_ops; /* when it is opened through /proc/self/fd */
		snprintf(text, sizeof(text), "%s:[%llu]", what, (unsigned long long)inode->number);
	} else {
		inode_get(inode);
		snprintf(text, sizeof(text), "anon_inode:%s", what);
	}
	file = file_nameless(inode, anonymous_mount, text, ops, flags);
	if (!file) {
		if (pipe || socket)
			inode_discard(inode);
		else
			inode_put_fast(inode);
		return NULL;
	}
	file->private = private;
	return file;
}

struct file *file_anonymous_on(struct file *other, const struct file_ops *ops, void *private, u32 flags)
{
	struct file *file = file_alloc(flags);

	if (!file)
		return NULL;
	file->path = other->path;
	path_get(&file->path);
	file->inode = other->inode;
	file->ops = ops;
	file->private = private;
	return file;
}

void file_init(void);
void file_init(void)
{
	struct superblock *sb = superblock_alloc(&anonymous_fs);
	struct inode *root = kmalloc(sizeof(*root));

	file_cache = slab_cache_create("file", sizeof(struct file), 0);
	if (!sb || !root)
		panic("no memory for anonymous files");
	inode_init(root, sb, 1);
	root->mode = S_IFDIR | 0555;
	if (superblock_set_root(sb, root))
		panic("no memory for anonymous files");
	anonymous_mount = mount_alloc(sb, sb->root, "none", MS_NODEV | MS_NOEXEC);
	anonymous_inode = anonymous_mount ? anonymous_make(0600) : NULL;
	if (!anonymous_inode)
		panic("no memory for anonymous files");
}

/* --- the kernel's own reading and writing --- */
ASYNC_DEFINE(file_read_kernel)
{
	ASYNC_BEGIN;
	if (!f->file->ops->read)
		ASYNC_RETURN(-EINVAL);
	while (f->done < f->n) {
		kiov_init_kernel(&f->iov, (char *)f->buf + f->done, f->n - f->done);
		AWAIT_OP(f->file->ops->read, file_read, .file = f->file, .to = &f->iov, .pos = f->pos + f->done);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		if (!RESULT)
			break;
		f->done += (size_t)RESULT;
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}

ASYNC_DEFINE(file_write_kernel)
{
	ASYNC_BEGIN;
	if (!f->file->ops->write)
		ASYNC_RETURN(-EINVAL);
	while (f->done < f->n) {
		kiov_init_kernel(&f->iov, (char *)(uintptr_t)f->buf + f->done, f->n - f->done);
		AWAIT_OP(f->file->ops->write, file_write, .file = f->file, .from = &f->iov, .pos = f->pos + f->done);
		if (RESULT < 0)
			ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		if (!RESULT)
			break;
		f->done += (size_t)RESULT;
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}
