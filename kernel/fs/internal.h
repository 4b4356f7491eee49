/* SPDX-License-Identifier: MIT */
/* What the files of the VFS share among themselves. */
#ifndef FS_INTERNAL_H
#define FS_INTERNAL_H

#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/irq.h>
#include <lichen/vfs.h>
#include <linux/inotify.h>
#include <linux/mount.h>

/* --- dcache.c --- */
/* Guards the tree of dentries, their hash and LRU list, and the tree of mounts. Innermost but for fs_context.lock. */
extern spinlock_t dcache_lock;

u32 name_hash(const char *text, u32 length);
static inline struct name name_of(const char *text)
{
	struct name name = {.text = text, .length = (u32)strlen(text)};

	name.hash = name_hash(text, name.length);
	return name;
}
static inline bool name_equal(const struct name *a, const struct name *b)
{
	return a->hash == b->hash && a->length == b->length && !memcmp(a->text, b->text, a->length);
}

static inline void dentry_get(struct dentry *dentry)
{
	atomic_fetch_add_explicit(&dentry->refcount, 1, memory_order_relaxed);
}
/* One reference, in no tree, negative. Takes none on the parent. NULL without memory. */
struct dentry *dentry_alloc(struct superblock *sb, const struct name *name);
/* One that nobody has seen. */
void dentry_discard(struct dentry *dentry);
/* The child that is known by this name, no reference counted, or NULL. */
struct dentry *dentry_find(struct dentry *parent, const struct name *name) REQUIRES(dcache_lock);
/*
 * The child of this name, asked of the file system if it is not known: a counted dentry (inode NULL: there is none), or
 * -errno. The directory's inode->lock is held; dentry_ask takes it for reading.
 */
ASYNC_DECLARE(dentry_lookup, struct dentry *parent; const struct name *name; struct dentry *dentry; struct dentry *fresh; struct inode *inode;);
ASYNC_DECLARE(dentry_ask, struct dentry *parent; const struct name *name; long found;);
/* Hangs one that can't be found by name under a parent, which it keeps. */
void dentry_hang(struct dentry *dentry, struct dentry *parent);
/* A negative dentry becomes this inode's name: takes over the reference to the inode. */
void dentry_instantiate(struct dentry *dentry, struct inode *inode);
/* The name is gone from the directory (whose lock is held). The caller's reference stays; it may be a removed dentry then. */
ASYNC_DECLARE(dentry_remove, struct dentry *dentry; struct inode *inode;);
/* After a rename: `from` (counted by the caller) gets the parent and name of `over`, which is removed, or exchanged with it. */
ASYNC_DECLARE(dentry_move, struct dentry *from; struct dentry *over; bool exchange; struct inode *inode;
	struct dentry *old_parent; char *spare;);
/* The name from the file system's root on, into the end of buf; "/" for that itself. */
char *dentry_name(struct dentry *dentry, char *buf, size_t bytes);
/* Whether `dentry` is `ancestor` or lies below it. */
bool dentry_is_below(struct dentry *dentry, struct dentry *ancestor);
/* Frees the unused dentries of a tree, but for its root: true once nothing but the root is left. */
ASYNC_DECLARE(dentry_prune_tree, struct dentry *root; struct dentry *dentry; struct inode *inode;);
/* The name is gone from a directory by other means. */
void dentry_forget(struct dentry *parent, const struct name *name);
void dcache_stats(u64 *dentries, u64 *unused);

/* --- inode.c --- */
bool inode_put_fast(struct inode *inode);
/* One that nobody has seen: freed at once. */
void inode_discard(struct inode *inode);
/* At the last umount (sb->mounts is 0): evicts all inodes, and waits for who still has one: read-ahead, writeback. */
ASYNC_DECLARE(inode_evict_all, struct superblock *sb; struct inode *inode; u32 ticket;);
ASYNC_DECLARE(inode_shrink, u32 n; struct inode *inode;);
ASYNC_DECLARE(inode_setattr, struct inode *inode; const struct attributes *attributes;);
struct timespec64_ time_now(void);
void inode_stats(u64 *inodes, u64 *unused);

/* --- mount.c --- */
extern struct mount *root_mount; /* of the first file system; set at boot */
static inline void mount_get(struct mount *mount)
{
	atomic_fetch_add_explicit(&mount->refcount, 1, memory_order_relaxed);
}
/* The last reference unmounts the superblock if no other mount shows it. */
ASYNC_DECLARE(mount_put, struct mount *mount; struct superblock *sb;);
bool mount_put_fast(struct mount *mount);
/* Where nothing can be awaited. */
void mount_put_later(struct mount *mount);
/* In no tree, one reference; counts the superblock (sb->mounts) and the root dentry. NULL without memory. */
struct mount *mount_alloc(struct superblock *sb, struct dentry *root, const char *source, u32 flags);
/* What is mounted on a place, or NULL; no reference counted. */
struct mount *mount_at(struct mount *parent, struct dentry *mountpoint) REQUIRES(dcache_lock);
/* Goes down through all that is mounted on *path. */
void path_follow_mounts(struct path *path) REQUIRES(dcache_lock);
/* Puts a mount (its one reference goes to the tree) on a place. 0, or -ENOENT, -ENOTDIR, -EBUSY, -ELOOP. */
long mount_attach(struct mount *mount, const struct path *at);
/* Takes it out of the tree; the tree's reference is the caller's then. -EBUSY if it is in use, unless lazy; -EINVAL if it is not in. */
long mount_detach(struct mount *mount, bool lazy);
long mount_move(struct mount *mount, const struct path *to);
/* A copy of the mount at `dentry`, with all that is mounted below it if recursive. NULL without memory. */
struct mount *mount_copy(struct mount *from, struct dentry *root, bool recursive);
/* The first child, or NULL, with a reference: to take a tree apart. */
struct mount *mount_child(struct mount *mount);
/* pivot_root(2): new_root becomes the root mount, the old one comes to lie on put_old. */
long mount_pivot(const struct path *new_root, const struct path *put_old);
/* 0, or -EROFS: whether something in this mount may be changed. */
static inline long mount_writable(const struct mount *mount)
{
	return (mount->flags | mount->sb->flags) & MS_RDONLY ? -EROFS : 0;
}
/* The mounts with an id > after, in order of id: counted, or NULL. */
struct mount *mount_next(u32 after);

/* --- superblock.c --- */
/* Mounts, or finds what is mounted already: a superblock (as long) counted in ->mounts, or -errno. flags: MS_*. */
ASYNC_DECLARE(superblock_mount, struct filesystem *fs; const char *source; const char *data; u32 flags;
	struct superblock *sb; struct block_device *device; struct path path; long error;);
/* Drops a count of ->mounts; the last one writes everything and unmounts. */
ASYNC_DECLARE(superblock_put, struct superblock *sb; long error;);
/* The file system's data and metadata to the device. */
ASYNC_DECLARE(superblock_sync, struct superblock *sb; long error;);
/* For a walk over all: counted in ->mounts, `after` (or NULL) stays the caller's; NULL at the end. */
struct superblock *superblock_next(struct superblock *after);
/* Calls fn for every registered file system. */
void filesystem_for_each(void (*fn)(struct filesystem *fs, void *arg), void *arg);

/* --- path.c --- */
/* Begins a walk: 0 or -errno. With LOOKUP_PARENT, stops before the last name. The name stays the caller's until lookup_end(). */
long lookup_begin(struct lookup *lookup, int dirfd, const char *name, u32 flags);
/* Walks on from where it is: 0 or -errno. */
ASYNC_DECLARE(lookup_walk, struct lookup *lookup; struct dentry *link; struct dentry *old_dentry; struct mount *old_mount;
	struct path target; char *text; long error;);
/* After LOOKUP_PARENT: lookup->last is a link, whose dentry is given (counted, taken over): goes to the parent of where it leads. */
ASYNC_DECLARE(lookup_follow_last, struct lookup *lookup; struct dentry *link; struct path target; char *text; long error;);
/* Gives back everything but nothing of path when `keep`. */
ASYNC_DECLARE(lookup_end, struct lookup *lookup; bool keep;);
/* A path name of a program: a counted buffer to be freed by name_free, or -errno (-ENAMETOOLONG, -EFAULT, -ENOMEM). "" is accepted. */
ASYNC_DECLARE(name_copy_in, const char __user *from; char *buffer;);
void name_free(char *name);

/* The path of the *at calls: AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH in flags. 0 and a counted path, or -errno. */
ASYNC_DECLARE(path_at, int dirfd; const char __user *name; u32 flags; struct path *path; char *kernel_name;);

/* --- permission.c --- */
long inode_permission_cred(struct inode *inode, u32 mask, const struct cred *cred);
/* The running thread owns it, or has CAP_FOWNER. */
bool inode_owned(const struct inode *inode);
/* May the name of `inode` be taken out of `dir`? Write and search permission, sticky bit. */
long may_delete(struct inode *dir, struct inode *inode, bool directory);
long may_create(struct inode *dir);

/* --- cached.c --- */
/* The mode without what a write by others takes away. */
mode_t mode_without_suid(const struct inode *inode);

/* --- file.c --- */
/* A file without a place: one reference. NULL without memory. */
struct file *file_alloc(u32 flags);
/* A file of an inode that has no name anywhere: takes over the inode's reference, unless it fails. */
struct file *file_nameless(struct inode *inode, struct mount *mount, const char *name, const struct file_ops *ops, u32 flags);
/* 0, -EBADF, -ETXTBSY: counts a file that is open for writing. */
long file_count_writer(struct file *file);
/* truncate(2) and O_TRUNC: 0 or -errno. Takes the inode's lock. */
ASYNC_DECLARE(inode_truncate, struct inode *inode; u64 size; bool opening; struct attributes attributes; long error;);

/* Where nothing can be awaited: another task drops the reference. */
void file_put_later(struct file *file);

/* --- fdtable.c --- */
/* files_put() where nothing can be awaited. */
void files_put_later(struct files *files);
u32 files_capacity(struct files *files);
/* Whether an fd_install would find a place: open(2) fails with EMFILE before it creates anything. */
bool fd_available(void);
/* dup(2) and F_DUPFD: the new descriptor, -EBADF, -EMFILE, -ENOMEM. */
ASYNC_DECLARE(fd_duplicate, int fd; int minimum; bool cloexec; struct file *file; long result;);
long fd_flags_get(int fd);
void fd_flags_set(int fd, bool cloexec);

/* --- fs_context.c --- */
void fs_root_get(struct path *path);
void fs_cwd_get(struct path *path);

/* --- locks.c --- */
/* All POSIX locks that this table has on the file: each close(2). */
void locks_release_posix(struct file *file, const void *owner);
/* flock and OFD locks: the last reference of the file. */
void locks_release_file(struct file *file);
void locks_free(struct inode *inode);

/* --- inotify.c --- */
#define NOTIFY(inode, mask)                                                                        \
	do {                                                                                       \
		if (unlikely((inode)->watches))                                                    \
			notify_inode(inode, mask, NULL, 0);                                        \
	} while (0)
void notify_inode(struct inode *inode, u32 mask, const struct name *name, u32 cookie);
/* An event of an open file: to the watches of its inode and of its directory. */
void notify_file(struct file *file, u32 mask);
#define NOTIFY_FILE(file, mask)                                                                    \
	do {                                                                                       \
		if (unlikely(notify_in_use))                                                       \
			notify_file(file, mask);                                                   \
	} while (0)
#define NOTIFY_CLOSE(file) NOTIFY_FILE(file, (file)->mode & FILE_WRITE ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE)
extern bool notify_in_use; /* somebody watches something */
void notify_path(struct dentry *dentry, u32 mask);
void notify_free(struct inode *inode);
/* Ends all watches of a file system that nobody uses any more. */
ASYNC_DECLARE(notify_unmount, struct superblock *sb; struct inode *inode;);

/* --- tmpfs.c --- */
extern struct filesystem tmpfs, rootfs;
/* An instance without a mount, for rootfs and devtmpfs, memfds: NULL without memory. */
struct superblock *tmpfs_superblock(struct filesystem *fs);
/* Adds an entry without waiting, for boot and devtmpfs: a referenced inode, or an error pointer. */
struct inode *tmpfs_make(struct inode *dir, const struct name *name, mode_t mode, dev_t rdev, const char *target);
long tmpfs_add_link(struct inode *dir, const struct name *name, struct inode *inode);
struct inode *tmpfs_find(struct inode *dir, const struct name *name);
/* Takes an entry away; the names that are cached stay valid until asked again: for devtmpfs. */
long tmpfs_forget(struct inode *dir, const struct name *name);

const struct file_ops *tmpfs_file_ops(void);
u64 tmpfs_pages(void); /* in all instances, in memory */

/* --- memfd.c --- */
/* 0 or -EPERM: whether seals let the file have another size. */
long memfd_check_size(const struct inode *inode, u64 size);
long memfd_get_seals(const struct file *file);
long memfd_add_seals(struct file *file, u32 seals);

/* --- devtmpfs.c --- */
/* Every device that is registered; fn must not wait. */
void device_for_each(void (*fn)(const char *name, mode_t type, dev_t dev, void *arg), void *arg);

/* Inode locks, without a frame when they are free. Taking one is shallow: it does not fail. */
#define INODE_LOCK(inode)                                                                          \
	do {                                                                                       \
		if (!rwlock_try_write(&(inode)->lock, self))                                       \
			AWAIT_TRY(rwlock_write, .lock = &(inode)->lock);                               \
	} while (0)
#define INODE_LOCK_READ(inode)                                                                     \
	do {                                                                                       \
		if (!rwlock_try_read(&(inode)->lock))                                              \
			AWAIT_TRY(rwlock_read, .lock = &(inode)->lock);                            \
	} while (0)
#define INODE_UNLOCK(inode)	 rwlock_write_unlock(&(inode)->lock)
#define INODE_UNLOCK_READ(inode) rwlock_read_unlock(&(inode)->lock)

#endif
