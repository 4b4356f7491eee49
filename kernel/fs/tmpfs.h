/* SPDX-License-Identifier: MIT */
/* What the files of tmpfs share. */
#ifndef FS_TMPFS_H
#define FS_TMPFS_H

#include "internal.h"

struct tmpfs_directory {
	struct rb_tree names;
	struct radix_tree cookies;
	u64 next_cookie;
	u64 count;
};

struct tmpfs_sb {
	spinlock_t lock;
	u64 max_pages, pages; /* max 0: no limit. pages: what files reserved */
	u64 max_inodes, inodes;
	ino_t next_number;
	struct inode *root; /* counted: what unmount takes the tree down from */
};

struct tmpfs_inode {
	struct inode inode;
	struct tmpfs_directory directory; /* of directories */
	u64 pages; /* reserved, guarded by the superblock's lock */
	struct list xattrs;
};

struct tmpfs_options {
	u64 max_pages, max_inodes;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

static inline struct tmpfs_inode *tmpfs_inode_of(struct inode *inode)
{
	return container_of(inode, struct tmpfs_inode, inode);
}

/* Keys that it does not know, and values that are none: -EINVAL. */
long tmpfs_parse_options(const char *data, struct tmpfs_options *options);

/* tmpfs_file.c */
extern const struct async_fn tmpfs_setattr_fn, tmpfs_fallocate_fn;
extern const struct page_cache_ops tmpfs_cache_ops;
void tmpfs_refresh(struct inode *inode);
/* Nothing beyond `end` bytes is reserved any more. */
void tmpfs_unreserve(struct inode *inode, u64 end);

/* tmpfs_xattr.c */
/* The extended attributes of an inode; not initialised (next NULL) as long as it never had one. */
struct list *tmpfs_xattrs(struct inode *inode);
void tmpfs_xattrs_free(struct list *list);
extern const struct async_fn tmpfs_getxattr_fn, tmpfs_setxattr_fn, tmpfs_listxattr_fn;

#endif
