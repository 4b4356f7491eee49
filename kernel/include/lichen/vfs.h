/* SPDX-License-Identifier: MIT */
/*
 * The virtual file system: inodes, the tree of names (dentries), mounts, open files.
 *
 *     fd -> struct file -> struct path { mount, dentry } -> struct inode -> page cache -> file system
 *
 * A file system implements struct inode_ops (names and attributes) and struct file_ops (open files); what may block is an
 * async function, called by AWAIT_OP. An operation that is NULL does not exist and yields the errno that its comment names.
 *
 * Locking, outermost first: sb->rename_mutex (rename between two directories); inode->lock (async rwlock): directories: read
 * for lookup and readdir, write for changes (parents before children, by address among unrelated); files: write for
 * write(2) and truncate, read for O_DIRECT reads. The VFS takes it around the operations of inode_ops and readdir; a file's read
 * and write operations take it themselves. Innermost dcache_lock (spinlock, dcache.c): the tree of dentries and of mounts.
 * A whole path of cached names is walked under it at one go, with no reference counted on the way.
 */
#ifndef LICHEN_VFS_H
#define LICHEN_VFS_H

#include <lichen/async.h>
#include <lichen/list.h>
#include <lichen/pagecache.h>
#include <lichen/uaccess.h>
#include <lichen/wait.h>
#include <linux/stat.h>
#include <linux/fcntl.h>
#include <asm/errno.h>

struct cred;
struct path;
struct cpio_entry;
struct inode_locks;
struct inode_watches;
struct vma;
struct poll_table;

/* Device numbers: major << 20 | minor. */
#define MAKE_DEV(major, minor) (((dev_t)(major) << 20) | (minor))
#define DEV_MAJOR(dev)	       ((u32)((dev) >> 20))
#define DEV_MINOR(dev)	       ((u32)((dev) & 0xfffff))
/* The form of stat(2)'s st_rdev and mknod(2). */
static inline u32 dev_encode(dev_t dev)
{
	return (DEV_MINOR(dev) & 0xff) | (DEV_MAJOR(dev) << 8) | ((DEV_MINOR(dev) & ~0xffu) << 12);
}
static inline dev_t dev_decode(u32 dev)
{
	return MAKE_DEV((dev & 0xfff00) >> 8, (dev & 0xff) | ((dev >> 12) & 0xfff00));
}

struct inode {
	_Atomic u32 refcount;
	_Atomic u32 state; /* INODE_* */
	struct superblock *sb;
	ino_t number;
	const struct inode_ops *ops;
	const struct file_ops *file_ops; /* of files opened on it */
	struct rwlock lock;
	mode_t mode;
	u32 nlink;
	uid_t uid;
	gid_t gid;
	dev_t rdev; /* of device nodes */
	u64 size;   /* bytes */
	u64 blocks; /* of 512 bytes */
	struct timespec64_ { s64 sec; u32 nsec; } atime, mtime, ctime, btime;
	u64 version; /* changes with every change of a directory */
	struct page_cache cache;
	struct list sb_node;	/* in sb->inodes */
	struct list hash_node;	/* inode_find() */
	struct list dirty_node; /* inodes whose attributes must be written */
	struct list lru_node;	/* unused ones that stay in memory */
	_Atomic s32 writers;	/* open for writing; < 0: being executed, and openers for writing get -ETXTBSY */
	_Atomic u32 seals;	/* F_SEAL_*, of a memfd */
	struct pipe *pipe;	/* of a FIFO */
	void *private;		/* the file system's */
	struct inode_locks *locks;     /* flock and fcntl locks, or NULL (locks.c) */
	struct inode_watches *watches; /* inotify, or NULL (inotify.c) */
	char *target; /* of a symlink, terminated, if the file system has it in memory; its own, as long as the inode */
};
enum inode_state {
	INODE_DIRTY = 1 << 1, /* attributes */
	INODE_DYING = 1 << 2, /* being evicted: inode_find() waits for its end */
	INODE_BAD = 1 << 3,   /* could not be read: everything on it is -EIO */
	INODE_HASHED = 1 << 4,
	INODE_NO_CACHE = 1 << 5, /* its name is looked up again each time */
	INODE_LINKABLE = 1 << 8, /* made without a name (O_TMPFILE): may get a first one */
	INODE_NO_NEGATIVE = 1 << 7, /* a directory: that a name is missing is not remembered */
	INODE_ANONYMOUS = 1 << 6, /* pipe:[N] and the like: has no name in any directory */
};

#define NAME_MAX_ 255
struct name {
	const char *text; /* not terminated */
	u32 length;	  /* 1..255 */
	u32 hash;
};

/* The attributes that setattr changes. */
struct attributes {
	u32 valid; /* ATTR_* */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	u64 size;
	struct timespec64_ atime, mtime, ctime;
};
enum { ATTR_MODE = 1, ATTR_UID = 2, ATTR_GID = 4, ATTR_SIZE = 8, ATTR_ATIME = 16, ATTR_MTIME = 32, ATTR_CTIME = 64 };

/* Results: an inode * (as long) with a reference, or -errno; else 0 or -errno. Permissions were checked by the caller. */
#define INODE_LOOKUP_ARGS struct inode *dir; const struct name *name;
struct inode_lookup_args { INODE_LOOKUP_ARGS };	/* inode, or -ENOENT */
#define INODE_CREATE_ARGS struct inode *dir; const struct name *name; mode_t mode; dev_t rdev; const char *target;
/* File, directory, symlink (target), device, fifo or socket by mode's type: inode. name NULL (if FS_TMPFILE): nlink 0, in no directory. */
struct inode_create_args { INODE_CREATE_ARGS };
#define INODE_LINK_ARGS struct inode *dir; const struct name *name; struct inode *inode;
struct inode_link_args { INODE_LINK_ARGS };
#define INODE_UNLINK_ARGS struct inode *dir; const struct name *name; struct inode *inode;
struct inode_unlink_args { INODE_UNLINK_ARGS }; /* rmdir too; -ENOTEMPTY */
#define INODE_RENAME_ARGS struct inode *from_dir; const struct name *from; struct inode *inode; struct inode *to_dir; const struct name *to; struct inode *over; u32 flags;
struct inode_rename_args { INODE_RENAME_ARGS }; /* over: the inode that is replaced or exchanged, or NULL */
#define INODE_READLINK_ARGS struct inode *inode; char *buf; size_t bytes;
struct inode_readlink_args { INODE_READLINK_ARGS }; /* length, not terminated */
#define INODE_SETATTR_ARGS struct inode *inode; const struct attributes *attributes;
struct inode_setattr_args { INODE_SETATTR_ARGS }; /* size changes truncate */
#define INODE_GETXATTR_ARGS struct inode *inode; const char *key; void *buf; size_t bytes;
struct inode_getxattr_args { INODE_GETXATTR_ARGS }; /* the value's length (bytes 0: only that); -ENODATA, -ERANGE, -EOPNOTSUPP */
#define INODE_SETXATTR_ARGS struct inode *inode; const char *key; const void *value; size_t bytes; u32 flags;
struct inode_setxattr_args { INODE_SETXATTR_ARGS }; /* value NULL: removes it. XATTR_CREATE, XATTR_REPLACE. Locked for writing */
#define INODE_LISTXATTR_ARGS struct inode *inode; char *buf; size_t bytes;
struct inode_listxattr_args { INODE_LISTXATTR_ARGS }; /* terminated names: the length of all (bytes 0: only that), or -ERANGE */

struct inode_ops {
	const struct async_fn *lookup;	 /* -ENOTDIR */
	const struct async_fn *create;	 /* -EPERM */
	const struct async_fn *link;	 /* -EPERM */
	const struct async_fn *unlink;	 /* -EPERM */
	const struct async_fn *rename;	 /* -EPERM */
	const struct async_fn *readlink; /* -EINVAL */
	const struct async_fn *setattr;	 /* NULL: the inode alone is changed */
	const struct async_fn *getxattr; /* -EOPNOTSUPP */
	const struct async_fn *setxattr; /* -EOPNOTSUPP */
	const struct async_fn *listxattr; /* NULL: it has none */
	/* Brings computed attributes (procfs) up to date before stat; never blocks. */
	void (*refresh)(struct inode *inode);
	/* A magic link (/proc/pid/exe, fd/N): gives the path, with references, or -errno. */
	long (*follow)(struct inode *inode, struct path *path);
};

struct path {
	struct mount *mount;
	struct dentry *dentry;
};

struct file {
	_Atomic u32 refcount;
	u32 flags; /* O_*, as F_GETFL shows them; O_CLOEXEC is the descriptor's */
	u32 mode;  /* FILE_* */
	const struct file_ops *ops;
	struct path path; /* counted */
	struct inode *inode;
	u64 pos;
	struct mutex pos_lock; /* of seekable files alone; never held while a pipe or tty blocks */
	void *private;
	pid_t owner; /* F_SETOWN: > 0 a process, < 0 a group */
	u32 owner_signal; /* F_SETSIG */
	u64 read_ahead;
	u32 error_sequence; /* of writeback, seen by fsync */
	struct list epoll;  /* interests on it */
	struct file *next_late; /* of those to be put by a task */
	u32 late_count; /* references that it drops so */
};
enum { FILE_READ = 1, FILE_WRITE = 2, FILE_SEEK = 4 /* has a position */, FILE_PATH = 8 /* O_PATH */, FILE_WRITER = 16 /* counted in inode->writers */, FILE_EXECUTED = 32 /* denies writing */ };

#define FILE_OPEN_ARGS struct file *file; struct inode *inode;
struct file_open_args { FILE_OPEN_ARGS };
#define FILE_RELEASE_ARGS struct file *file;
struct file_release_args { FILE_RELEASE_ARGS };
/* pos: where to begin; streams ignore it. Bytes moved, 0 at the end, or -errno (-EAGAIN if it would block and file->flags has O_NONBLOCK). */
#define FILE_READ_ARGS struct file *file; struct kiov *to; u64 pos; u32 flags; /* RWF_* */
struct file_read_args { FILE_READ_ARGS };
#define FILE_WRITE_ARGS struct file *file; struct kiov *from; u64 pos; u32 flags;
struct file_write_args { FILE_WRITE_ARGS };
/* Calls to->emit from to->pos on until it returns false (buffer full) or the directory ends. 0 or -errno. Never holds a spinlock over emit, which may touch user memory. */
struct dir_emit {
	/* next_pos: the position after this entry. false: it was not taken, stop. type: DT_*. */
	bool (*emit)(struct dir_emit *to, const char *name, u32 length, ino_t ino, u64 next_pos, u8 type);
	u64 pos; /* where to begin; the operation sets it to next_pos of each entry that was taken, and at the end */
};
#define FILE_READDIR_ARGS struct file *file; struct dir_emit *to;
struct file_readdir_args { FILE_READDIR_ARGS };
#define FILE_IOCTL_ARGS struct file *file; u32 command; u64 argument;
struct file_ioctl_args { FILE_IOCTL_ARGS };
#define FILE_FSYNC_ARGS struct file *file; u64 start; u64 end; bool data_only;
struct file_fsync_args { FILE_FSYNC_ARGS };
#define FILE_FALLOCATE_ARGS struct file *file; u32 mode; u64 pos; u64 n;
struct file_fallocate_args { FILE_FALLOCATE_ARGS };

struct file_ops {
	const struct async_fn *open;	  /* NULL: nothing to do */
	const struct async_fn *release;	  /* the last reference went */
	const struct async_fn *flush;	  /* FILE_RELEASE_ARGS; each close(2) */
	const struct async_fn *read;	  /* -EINVAL */
	const struct async_fn *write;	  /* -EINVAL */
	const struct async_fn *readdir;	  /* -ENOTDIR */
	const struct async_fn *ioctl;	  /* -ENOTTY */
	const struct async_fn *fsync;	  /* -EINVAL */
	const struct async_fn *fallocate; /* -EOPNOTSUPP */
	/* The ready mask (EPOLL*), and registers in `table` (NULL: only asks). NULL: always readable and writable. Never blocks. */
	u32 (*poll)(struct file *file, struct poll_table *table);
	/* -ENODEV; may refuse. Cached files: page_cache mapping, use file_mmap_cached. */
	long (*mmap)(struct file *file, struct vma *vma);
	/* NULL: the size rules. The new position or -errno; never blocks. */
	s64 (*seek)(struct file *file, s64 offset, int whence);
	/* /proc/pid/fdinfo lines. */
	void (*show)(struct file *file, char *buf, size_t bytes);
};

/* --- dentries and mounts (dcache.c, mount.c) --- */
/*
 * A name in a directory. Whoever holds a reference keeps it, and its inode, as they are; with none left a hashed one stays on
 * the LRU list, others go. A child holds a reference to its parent.
 */
struct dentry {
	_Atomic u32 refcount; /* 1 -> 0 under dcache_lock alone */
	u32 flags;	      /* DENTRY_* */
	struct dentry *parent; /* itself: a root */
	struct inode *inode;   /* counted; NULL: known not to exist */
	struct name name;
	struct superblock *sb;
	struct list hash_node, child_node, children, lru_node;
	char inline_name[40];
};
enum { DENTRY_MOUNTED = 1, DENTRY_UNHASHED = 2 /* its name was removed */, DENTRY_HASHED = 4 /* can be found by name */ };

struct mount {
	_Atomic u32 refcount; /* paths in it, mounts on it, and one while it is in the tree */
	struct superblock *sb;
	struct dentry *root;
	struct mount *parent;	   /* NULL: the root mount, or detached */
	struct dentry *mountpoint; /* in parent, counted */
	struct list node, children, child_node, hash_node;
	u32 flags; /* MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, ... */
	u32 id;
	char source[64];
};

struct superblock {
	const struct filesystem *fs;
	struct block_device *device; /* or NULL */
	dev_t dev;
	u32 flags; /* MS_RDONLY ... */
	u32 block_size;
	struct dentry *root;
	struct list inodes;
	struct mutex rename_mutex;
	void *private;
	u64 max_bytes;	     /* of a file; 0: what a loff_t holds */
	_Atomic u32 mounts;  /* in which it can be seen; the last umount unmounts it */
	_Atomic u32 writers; /* files open for writing: remounting read-only is -EBUSY */
	struct list node;    /* of all */
	char options[64];    /* for /proc/mounts, beyond ro and rw: ",size=64k"; the file system's to fill */
};

/* A mounted instance in sb->root, or an error. `data`: the option string, or NULL. */
#define FS_MOUNT_ARGS struct superblock *sb; const char *source; const char *data;
struct fs_mount_args { FS_MOUNT_ARGS };
#define FS_SB_ARGS struct superblock *sb;
struct fs_sb_args { FS_SB_ARGS };
#define FS_INODE_ARGS struct inode *inode;
struct fs_inode_args { FS_INODE_ARGS };
struct kstatfs_ { u64 type, blocks, bfree, bavail, files, ffree; u32 bsize, namelen; u64 fsid; };

struct filesystem {
	const char *name;
	u32 flags; /* FS_* */
	const struct async_fn *mount;
	const struct async_fn *unmount;	     /* FS_SB_ARGS: all is written, no inode is used any more */
	const struct async_fn *sync;	     /* FS_SB_ARGS: write metadata, flush the device */
	const struct async_fn *remount;	     /* FS_SB_ARGS: sb->flags has the new state */
	const struct async_fn *write_inode;  /* FS_INODE_ARGS: attributes to disk buffers */
	const struct async_fn *evict_inode;  /* FS_INODE_ARGS: last reference; nlink 0: free it on disk */
	void (*free_inode)(struct inode *inode); /* the memory */
	void (*statfs)(struct superblock *sb, struct kstatfs_ *st);
	struct superblock *single; /* FS_SINGLE: the instance, once it was mounted; superblock.c's */
	struct list node;
};
enum {
	FS_NEEDS_DEVICE = 1, /* source is a block device, in sb->device, opened for the mount alone */
	FS_NO_CACHE = 2,     /* inodes go at the last put */
	FS_SINGLE = 4,	     /* one instance, seen by every mount */
	FS_TMPFILE = 8,	     /* create without a name */
};
void filesystem_register(struct filesystem *fs);
struct filesystem *filesystem_find(const char *name); /* or NULL */
/* For file systems' mount: the root dentry of sb, which takes over the inode's reference. -ENOMEM (the reference is the caller's). */
long superblock_set_root(struct superblock *sb, struct inode *inode);
/* An instance without a mount, known to sync(2): for mount itself, and for inodes outside every tree (block devices, pipes). NULL without memory. */
struct superblock *superblock_alloc(struct filesystem *fs);

/* --- inodes (inode.c) --- */
/* Initialises the generic part; refcount 1. */
void inode_init(struct inode *inode, struct superblock *sb, ino_t number);
/* In memory, with a reference (as long), or 0. Waits for the end of one that is just being evicted. */
ASYNC_DECLARE(inode_find, struct superblock *sb; ino_t number; struct inode *inode; u32 ticket;);
/* Makes it findable, when it is wholly read. -EEXIST if another is there. */
long inode_hash(struct inode *inode);
void inode_get(struct inode *inode);
/* A reference for one who points at an inode without holding it (writeback): false if it is being evicted. Takes inode_lock only. */
bool inode_get_live(struct inode *inode);
/* May write and evict, so async. */
ASYNC_DECLARE(inode_put, struct inode *inode; const struct filesystem *fs;);
/* Its attributes will be written (write_inode) in at most 5 s, by sync, or before it is evicted. */
void inode_dirty(struct inode *inode);
/* All dirty inodes of a file system: pages, then attributes. 0 or the first error. */
ASYNC_DECLARE(inode_sync_all, struct superblock *sb; struct inode *inode; struct inode *last; long error;);
ASYNC_DECLARE(inode_sync, struct inode *inode; bool pages; long error;);
/* Sets mode, file_ops and rdev of a device, FIFO or socket node. */
void inode_init_special(struct inode *inode, mode_t mode, dev_t rdev);
/* The owner of a new inode in dir: the thread's fsuid, the directory's group if it is setgid; the mode, directories inherit setgid. */
void inode_init_owner(struct inode *inode, const struct inode *dir, mode_t mode);
/* Drops unused dentries and inodes, at most n: what reclaim calls. */
ASYNC_DECLARE(vfs_shrink, u32 n; struct dentry *dentry; struct inode *inode;);
void inode_touch(struct inode *inode, u32 attr_times); /* ATTR_ATIME | ATTR_MTIME | ATTR_CTIME: now, and dirty */

/* --- names (path.c) --- */
enum lookup_flag {
	LOOKUP_FOLLOW = 1,     /* the last component, if a link */
	LOOKUP_PARENT = 2,     /* stop before the last component: lookup.path is the directory, lookup.last the name */
	LOOKUP_DIRECTORY = 4,
	LOOKUP_EMPTY = 8,      /* AT_EMPTY_PATH */
	LOOKUP_RESOLVE_SHIFT = 8, /* openat2's RESOLVE_*, shifted */
	LOOKUP_RESOLVE_MASK = 0xff00,
};
enum last_type { LAST_NORMAL, LAST_ROOT /* none: path is the thing itself */, LAST_DOT, LAST_DOTDOT };
/* A walk over a path, in the frame of who walks. lookup_end() when done; path is the caller's then. */
struct lookup {
	struct path path;    /* where it has come to; counted */
	struct path scope;   /* what RESOLVE_BENEATH and _IN_ROOT do not leave; counted, or empty */
	const char *rest;    /* still to walk */
	char *buffer;	     /* kmalloc: what `rest` and `last` lie in once a link was followed; or NULL */
	struct name last;    /* the component that is looked at; with LOOKUP_PARENT the last one */
	const char *after;   /* what follows `last` */
	struct dentry *asked; /* what the file system answered; counted */
	struct file *start;   /* the directory descriptor's, if it is counted */
	u32 flags;
	u8 last_type, links;
	bool slash; /* LOOKUP_PARENT: slashes follow the last component */
	bool counted;
};
/* Resolves a kernel string: 0 and *path with references, or -errno. Never changes the tree. */
ASYNC_DECLARE(path_lookup, int dirfd; const char *name; u32 flags; struct path *path; struct lookup lookup;);
void path_get(struct path *path);
/* May evict inodes. */
ASYNC_DECLARE(path_put, struct path *path;);
ASYNC_DECLARE(dentry_put, struct dentry *dentry; struct inode *inode;);
/* The absolute name as the thread's root sees it, into the end of buf: its start, or an error pointer (-ENAMETOOLONG). */
char *path_name(const struct path *path, char *buf, size_t bytes);
/* 0 or -EACCES; mask of MAY_*: the running thread's fsuid, fsgid, groups, capabilities. */
enum { MAY_EXEC = 1, MAY_WRITE = 2, MAY_READ = 4 };
long inode_permission(struct inode *inode, u32 mask);

/* --- open files (file.c, open.c) --- */
/* Beside O_*: to be executed (-EACCES unless a regular file with x, on a mount without noexec); writers get ETXTBSY until it is put. */
#define OPEN_EXEC 0x40000000u
/* flags, mode as open(2) (umask is applied), name a kernel string: a file * (as long), or -errno. */
ASYNC_DECLARE(file_open, int dirfd; const char *name; u32 flags; mode_t mode; u32 resolve; bool created;
	long result; struct lookup lookup;);
/* Opens what a path leads to; the path stays the caller's. */
ASYNC_DECLARE(file_open_path, const struct path *path; u32 flags; bool created; struct file *file; long error;);
/*
 * For eventfds and so on: an anonymous inode, "anon_inode:NAME" (NAME with its brackets, if any). "pipe" and "socket" make
 * an inode of their own, "pipe:[N]". NULL without memory.
 */
struct file *file_anonymous(const char *name, const struct file_ops *ops, void *private, u32 flags);
/* Another open file on the anonymous inode of `other`: the second end of a pipe. */
struct file *file_anonymous_on(struct file *other, const struct file_ops *ops, void *private, u32 flags);
static inline void file_get(struct file *file)
{
	atomic_fetch_add_explicit(&file->refcount, 1, memory_order_relaxed);
}
/* Drops a reference unless it is the last. */
static inline bool file_put_fast(struct file *file)
{
	u32 n = atomic_load_explicit(&file->refcount, memory_order_relaxed);

	while (n > 1)
		if (atomic_compare_exchange_weak_explicit(&file->refcount, &n, n - 1,
			    memory_order_acq_rel, memory_order_relaxed))
			return true;
	return false;
}
/* A reference, unless the last one is going just now: for those who point at files without holding them. */
bool file_get_live(struct file *file);
ASYNC_DECLARE(file_put, struct file *file; struct path path;);
/* Drops a reference where nothing may wait: what closing takes is done by a detached task. */
void file_put_later(struct file *file);
/* Reads into a kernel buffer at pos: bytes (short at the end of file alone) or -errno. For exec and the like. */
ASYNC_DECLARE(file_read_kernel, struct file *file; void *buf; size_t n; u64 pos; size_t done; struct kiov iov;);
ASYNC_DECLARE(file_write_kernel, struct file *file; const void *buf; size_t n; u64 pos; size_t done; struct kiov iov;);
/* After reading: the access time, as the mount wants it (relatime). */
void file_accessed(struct file *file);
/*
 * Before writing to a regular file, its inode->lock held for writing: *pos is where (O_APPEND), *n shortened to what the limits
 * allow. 0, -EFBIG (and SIGXFSZ), or -errno; setuid bits are taken away, times touched.
 */
ASYNC_DECLARE(file_write_begin, struct file *file; u64 *pos; size_t *n; u32 flags; struct attributes attributes;);
/* Generic implementations for cached files. */
extern const struct async_fn file_read_cached_fn, file_write_cached_fn, file_fsync_cached_fn;
long file_mmap_cached(struct file *file, struct vma *vma);
/* 0 and no writer until inode_allow_write(), or -ETXTBSY. */
long inode_deny_write(struct inode *inode);
void inode_allow_write(struct inode *inode);
/* For readdir: "." and "..", at positions 0 and 1. False: stop. */
bool dir_emit_dots(struct file *file, struct dir_emit *to);
/* DT_* of a mode. */
static inline u8 dir_type(mode_t mode)
{
	return (mode >> 12) & 15;
}

/* --- file descriptors of the running thread (fdtable.c) --- */
/* The file with a reference, or NULL: -EBADF. O_PATH files only if asked. */
struct file *fd_get(int fd);
struct file *fd_get_any(int fd);
/* Gives away the reference: the descriptor, or -EMFILE, -ENOMEM (then the reference is still the caller's). */
int fd_install(struct file *file, bool cloexec);
int fd_install_from(struct file *file, int minimum, bool cloexec);
/* close(2): 0 or -EBADF, or the error of the file's flush. */
ASYNC_DECLARE(fd_close, int fd; struct file *file; long error;);
/*
 * The fast path of system calls: the file for the length of one call, without a reference while the table is not shared (nobody
 * else can close it then; with threads it takes one). file NULL: -EBADF.
 *
 *     f->fd = fd_begin(self, number);
 *     if (!f->fd.file) ASYNC_RETURN(-EBADF);
 *     ...
 *     FD_END(f->fd);      contains an AWAIT and changes RESULT
 */
struct fd_use {
	struct file *file;
	bool counted;
};
struct fd_use fd_begin(struct task *self, int fd);
/* O_PATH files too. */
struct fd_use fd_begin_any(struct task *self, int fd);
#define FD_END(use)                                                                                \
	do {                                                                                       \
		if (unlikely((use).counted) && !file_put_fast((use).file))                          \
			AWAIT(file_put, .file = (use).file);                                       \
	} while (0)

/* --- what fork, exec and exit do with them (fdtable.c) --- */
/* A table with no descriptors, a copy of a table (shares the open files): one user; NULL without memory. */
struct files *files_create(void);
struct files *files_copy(struct files *from);
bool files_shared(struct files *files); /* more than one user */
void files_get(struct files *files);
/* The last user closes all. */
ASYNC_DECLARE(files_put, struct files *files; u32 fd; struct file *file;);
/* exec: closes what has FD_CLOEXEC, in a table that is not shared. */
ASYNC_DECLARE(files_close_on_exec, struct files *files; u32 fd; struct file *file;);
/* The same for root, working directory and umask. */
struct fs_context;
struct fs_context *fs_context_copy(struct fs_context *from);
void fs_context_get(struct fs_context *fs);
ASYNC_DECLARE(fs_context_put, struct fs_context *fs;);
/* The one of PID 1: the root mount. NULL without memory. */
struct fs_context *fs_context_initial(void);
/* Opens descriptors 0, 1 and 2 of the running thread (PID 1's) on /dev/console; where there is none, none. 0 or -errno. */
ASYNC_DECLARE(open_console, struct file *file; long error;);
/* The n-th open file of another table, with a reference, or NULL; and the first descriptor >= fd that is open, or -1. For /proc. */
struct file *files_file_get(struct files *files, int fd);
int files_next(struct files *files, int fd);
bool files_cloexec(struct files *files, int fd);

/* --- boot (initramfs.c) --- */
/*
 * Unpacks cpio archives (newc, possibly several, with zeroes between) into the root file system, and makes /dev/console if that has
 * none. Before the first program. 0, or -errno and a log line.
 */
ASYNC_DECLARE(initramfs_unpack, const void *archive; size_t bytes; s64 at; struct inode *inode; const char *data; u32 left;
	u64 pos; struct kiov iov; struct list links; u32 files;);

/* --- readiness (poll.c) --- */
/* To be called by a file's poll operation, once for each queue that will be woken when its mask changes. */
void poll_register(struct poll_table *table, struct wait_queue *queue);

/* --- device nodes (devtmpfs.c) --- */
/* Makes /dev/NAME (may contain a directory) and its operations known; S_IFCHR or S_IFBLK in mode. 0 or -errno. */
long device_register(const char *name, mode_t mode, dev_t dev, const struct file_ops *ops, void *private);
/* Takes it away again. */
void device_unregister(const char *name, mode_t mode, dev_t dev);
const struct file_ops *device_ops(mode_t type, dev_t dev, void **private);
/* A symbolic link in /dev. */
long device_link(const char *name, const char *target);

#endif
