// SPDX-License-Identifier: MIT
/* mount(2), umount2(2), pivot_root(2). */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/limits.h>

#define MNT_FORCE_	 1 /* of umount2(2); the uapi headers have them not */
#define MNT_DETACH_	 2
#define MNT_EXPIRE_	 4
#define UMOUNT_NOFOLLOW_ 8

/* Flags that belong to the mount, not to the file system. */
#define MOUNT_FLAGS (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME)
#define PROPAGATION (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)

ASYNC(mount_new, const struct path *at; const char *source; const char *type; const char *data; u32 flags; struct filesystem *fs; struct superblock *sb;
	struct mount *mount; long error;)
{
	ASYNC_BEGIN;
	f->fs = f->type ? filesystem_find(f->type) : NULL;
	if (!f->type)
		ASYNC_RETURN(-EINVAL);
	if (!f->fs || !f->fs->mount)
		ASYNC_RETURN(-ENODEV);
	AWAIT(superblock_mount, .fs = f->fs, .source = f->source, .data = f->data, .flags = f->flags);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->sb = (struct superblock *)RESULT;
	f->mount = mount_alloc(f->sb, f->sb->root, f->source && *f->source ? f->source : "none", f->flags & MOUNT_FLAGS);
	/* The mount counts the file system now, if there is one; else nobody does. */
	AWAIT(superblock_put, .sb = f->sb);
	if (!f->mount)
		ASYNC_RETURN(-ENOMEM);
	f->error = mount_attach(f->mount, f->at);
	if (f->error)
		AWAIT(mount_put, .mount = f->mount);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* Takes a tree of mounts apart, children first; what is in use lives on by itself. Takes over the caller's reference. */
ASYNC(take_apart, struct mount *top; struct mount *mount; struct mount *child;)
{
	ASYNC_BEGIN;
	for (;;) {
		/* Down to a leaf. */
		f->mount = f->top;
		mount_get(f->mount);
		for (;;) {
			f->child = mount_child(f->mount);
			if (!f->child)
				break;
			AWAIT(mount_put, .mount = f->mount);
			f->mount = f->child;
		}
		if (mount_detach(f->mount, true) == 0)
			AWAIT(mount_put, .mount = f->mount); /* the tree's */
		if (f->mount == f->top)
			break;
		AWAIT(mount_put, .mount = f->mount);
	}
	AWAIT(mount_put, .mount = f->mount);
	AWAIT(mount_put, .mount = f->top);
	ASYNC_END;
}

ASYNC(mount_bind, const struct path *at; const char *source; u32 flags; struct path from; struct mount *mount; long error;)
{
	ASYNC_BEGIN;
	if (!f->source || !*f->source)
		ASYNC_RETURN(-EINVAL);
	AWAIT(path_lookup, .dirfd = AT_FDCWD, .name = f->source, .flags = LOOKUP_FOLLOW, .path = &f->from);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->mount = mount_copy(f->from.mount, f->from.dentry, f->flags & MS_REC);
	f->error = f->mount ? mount_attach(f->mount, f->at) : -ENOMEM;
	if (f->mount && f->error) {
		mount_get(f->mount);
		AWAIT(take_apart, .top = f->mount);
		AWAIT(mount_put, .mount = f->mount);
	}
	AWAIT(path_put, .path = &f->from);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC(mount_move_to, const struct path *at; const char *source; struct path from; long error;)
{
	ASYNC_BEGIN;
	if (!f->source || !*f->source)
		ASYNC_RETURN(-EINVAL);
	AWAIT(path_lookup, .dirfd = AT_FDCWD, .name = f->source, .flags = LOOKUP_FOLLOW, .path = &f->from);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->error = f->from.dentry == f->from.mount->root ? mount_move(f->from.mount, f->at) : -EINVAL;
	AWAIT(path_put, .path = &f->from);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC(mount_again, const struct path *at; u32 flags; struct superblock *sb; u32 old; long error;)
{
	struct mount *mount = f->at->mount;

	ASYNC_BEGIN;
	if (f->at->dentry != mount->root)
		ASYNC_RETURN(-EINVAL);
	f->sb = mount->sb;
	/* No word about access times leaves them as they are. */
	if (!(f->flags & (MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME)))
		f->flags |= mount->flags & (MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME);
	if (!(f->flags & MS_BIND) && ((f->flags ^ f->sb->flags) & MS_RDONLY)) {
		if ((f->flags & MS_RDONLY) && atomic_load(&f->sb->writers))
			ASYNC_RETURN(-EBUSY);
		if (f->flags & MS_RDONLY) {
			AWAIT(superblock_sync, .sb = f->sb);
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
		}
		f->old = f->sb->flags;
		f->sb->flags ^= MS_RDONLY;
		if (f->sb->fs->remount) {
			AWAIT_OP(f->sb->fs->remount, fs_sb, .sb = f->sb);
			if (RESULT < 0) {
				f->sb->flags = f->old;
				ASYNC_RETURN(RESULT);
			}
		}
	}
	mount = f->at->mount;
	mount->flags = (mount->flags & ~(u32)MOUNT_FLAGS) | (f->flags & MOUNT_FLAGS);
	ASYNC_END;
}

ASYNC(do_mount, const char *source; const struct path *at; const char *type; u64 flags; const char *data;)
{
	u32 flags = (u32)f->flags;

	ASYNC_BEGIN;
	if (flags & MS_REMOUNT)
		AWAIT(mount_again, .at = f->at, .flags = flags);
	else if (flags & MS_BIND)
		AWAIT(mount_bind, .at = f->at, .source = f->source, .flags = flags);
	else if (flags & PROPAGATION)
		RESULT = f->at->dentry == f->at->mount->root ? 0 : -EINVAL; /* one namespace: nothing propagates */
	else if (flags & MS_MOVE)
		AWAIT(mount_move_to, .at = f->at, .source = f->source);
	else
		AWAIT(mount_new, .at = f->at, .source = f->source, .type = f->type, .data = f->data, .flags = flags);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* A string of a program that may be missing: NULL then. */
ASYNC(optional_name, const char __user *from;)
{
	ASYNC_BEGIN;
	if (!f->from)
		ASYNC_RETURN(0);
	AWAIT(name_copy_in, .from = f->from);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(mount, 5, SYS_ARG(const char __user *, source) SYS_ARG(const char __user *, target) SYS_ARG(const char __user *, type) SYS_ARG(u64, flags)
	SYS_ARG(const char __user *, data) char *names[4]; struct path path; long error;)
{
	ASYNC_BEGIN;
	/* Source, type, data, target: a name that can't be had ends it. */
	AWAIT(optional_name, .from = f->source);
	f->error = IS_ERR(RESULT) ? RESULT : (f->names[0] = (char *)RESULT, 0);
	if (f->error)
		goto out;
	AWAIT(optional_name, .from = f->type);
	f->error = IS_ERR(RESULT) ? RESULT : (f->names[1] = (char *)RESULT, 0);
	if (f->error)
		goto out;
	AWAIT(optional_name, .from = f->data);
	f->error = IS_ERR(RESULT) ? RESULT : (f->names[2] = (char *)RESULT, 0);
	if (f->error)
		goto out;
	AWAIT(name_copy_in, .from = f->target);
	f->error = IS_ERR(RESULT) ? RESULT : (f->names[3] = (char *)RESULT, 0);
	if (f->error)
		goto out;
	if ((f->flags & MS_MGC_MSK) == MS_MGC_VAL)
		f->flags &= ~(u64)MS_MGC_MSK;
	AWAIT(path_lookup, .dirfd = AT_FDCWD, .name = f->names[3], .flags = LOOKUP_FOLLOW, .path = &f->path);
	f->error = RESULT;
	if (f->error)
		goto out;
	if (!capable(CAP_SYS_ADMIN)) {
		f->error = -EPERM;
	} else {
		AWAIT(do_mount, .source = f->names[0], .at = &f->path, .type = f->names[1], .flags = f->flags, .data = f->names[2]);
		f->error = RESULT;
	}
	AWAIT(path_put, .path = &f->path);
out:
	for (u32 i = 0; i < ARRAY_SIZE(f->names); i++)
		if (f->names[i])
			name_free(f->names[i]);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* umount(2) of the root of all: it can't go, but what is written stays: the file system becomes read-only. */
static bool is_root_of_all(const struct mount *mount)
{
	return mount == root_mount;
}

SYSCALL_ASYNC(umount2, 2, SYS_ARG(const char __user *, name) SYS_ARG(u32, flags) struct path path; struct mount *mount; long error;)
{
	ASYNC_BEGIN;
	if (f->flags & ~(u32)(MNT_FORCE_ | MNT_DETACH_ | MNT_EXPIRE_ | UMOUNT_NOFOLLOW_))
		ASYNC_RETURN(-EINVAL);
	if (!capable(CAP_SYS_ADMIN))
		ASYNC_RETURN(-EPERM);
	if ((f->flags & MNT_EXPIRE_) && (f->flags & (MNT_FORCE_ | MNT_DETACH_)))
		ASYNC_RETURN(-EINVAL);
	AWAIT(path_at, .dirfd = AT_FDCWD, .name = f->name, .flags = f->flags & UMOUNT_NOFOLLOW_ ? AT_SYMLINK_NOFOLLOW : 0, .path = &f->path);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->mount = f->path.mount;
	if (f->path.dentry != f->mount->root) {
		f->error = -EINVAL;
	} else if (is_root_of_all(f->mount)) {
		f->path.mount = f->mount;
		AWAIT(mount_again, .at = &f->path, .flags = f->mount->flags | MS_RDONLY);
		f->error = RESULT;
	} else {
		/* The path's own reference to the root must not keep it. */
		mount_get(f->mount);
		AWAIT(path_put, .path = &f->path);
		f->path = (struct path){NULL, NULL};
		if (f->flags & MNT_DETACH_) {
			AWAIT(take_apart, .top = f->mount);
			ASYNC_RETURN(0);
		}
		f->error = mount_detach(f->mount, false);
		if (!f->error)
			AWAIT(mount_put, .mount = f->mount);
		AWAIT(mount_put, .mount = f->mount);
		ASYNC_RETURN(f->error);
	}
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(pivot_root, 2, SYS_ARG(const char __user *, new_root) SYS_ARG(const char __user *, put_old) struct path root; struct path old; struct path mine; long error;)
{
	struct fs_context *fs;
	bool moved;

	ASYNC_BEGIN;
	if (!capable(CAP_SYS_ADMIN))
		ASYNC_RETURN(-EPERM);
	AWAIT(path_at, .dirfd = AT_FDCWD, .name = f->new_root, .path = &f->root);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(path_at, .dirfd = AT_FDCWD, .name = f->put_old, .path = &f->old);
	f->error = RESULT;
	if (!f->error) {
		if (!S_ISDIR(f->root.dentry->inode->mode) || !S_ISDIR(f->old.dentry->inode->mode))
			f->error = -ENOTDIR;
		else
			f->error = mount_pivot(&f->root, &f->old);
		AWAIT(path_put, .path = &f->old);
	}
	if (!f->error) {
		/* The caller's root moves along; others follow by chroot(2). */
		f->mine = f->root;
		path_get(&f->mine);
		fs = thread_of(self)->fs;
		spin_lock(&fs->lock);
		f->old = fs->root;
		fs->root = f->mine;
		moved = fs->cwd.mount == f->old.mount && fs->cwd.dentry == f->old.dentry;
		if (moved) {
			f->mine = fs->cwd;
			fs->cwd = f->root;
			path_get(&fs->cwd);
		} else {
			f->mine = (struct path){NULL, NULL};
		}
		spin_unlock(&fs->lock);
		AWAIT(path_put, .path = &f->old);
		AWAIT(path_put, .path = &f->mine);
	}
	AWAIT(path_put, .path = &f->root);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
