/* SPDX-License-Identifier: MIT */
/* What the files of tmpfs share. */
#ifndef FS_TMPFS_H
#define FS_TMPFS_H

#include "internal.h"

/* The extended attributes of an inode; not initialised (next NULL) as long as it never had one. */
struct list *tmpfs_xattrs(struct inode *inode);
void tmpfs_xattrs_free(struct list *list);
extern const struct async_fn tmpfs_getxattr_fn, tmpfs_setxattr_fn, tmpfs_listxattr_fn;

#endif
