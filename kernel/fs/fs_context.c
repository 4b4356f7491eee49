// SPDX-License-Identifier: MIT
/* Root, working directory and umask of threads: what CLONE_FS shares. */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/limits.h>

void fs_root_get(struct path *path)
{
	struct fs_context *fs = current_thread()->fs;

	spin_lock(&fs->lock);
	*path = fs->root;
	path_get(path);
	spin_unlock(&fs->lock);
}

void fs_cwd_get(struct path *path)
{
	struct fs_context *fs = current_thread()->fs;

	spin_lock(&fs->lock);
	*path = fs->cwd;
	path_get(path);
	spin_unlock(&fs->lock);
}

struct fs_context *fs_context_initial(void)
{
	struct fs_context *fs = kzalloc(sizeof(*fs));

	if (!fs)
		return NULL;
	atomic_init(&fs->users, 1);
	spin_init(&fs->lock);
	fs->umask = 022;
	spin_lock(&dcache_lock);
	fs->root = (struct path){root_mount, root_mount->root};
	path_follow_mounts(&fs->root);
	fs->cwd = fs->root;
	path_get(&fs->root);
	path_get(&fs->cwd);
	spin_unlock(&dcache_lock);
	return fs;
}

struct fs_context *fs_context_copy(struct fs_context *from)
{
	struct fs_context *fs = kzalloc(sizeof(*fs));

	if (!fs)
		return NULL;
	atomic_init(&fs->users, 1);
	spin_init(&fs->lock);
	spin_lock(&from->lock);
	fs->umask = from->umask;
	fs->root = from->root;
	fs->cwd = from->cwd;
	path_get(&fs->root);
	path_get(&fs->cwd);
	spin_unlock(&from->lock);
	return fs;
}

void fs_context_get(struct fs_context *fs)
{
	atomic_fetch_add(&fs->users, 1);
}

ASYNC_DEFINE(fs_context_put)
{
	ASYNC_BEGIN;
	if (atomic_fetch_sub(&f->fs->users, 1) != 1)
		ASYNC_RETURN(0);
	AWAIT(path_put, .path = &f->fs->root);
	AWAIT(path_put, .path = &f->fs->cwd);
	kfree(f->fs);
	ASYNC_END;
}

/* Exchanges one of the two; the old one must be put. */
static void set_path(struct path *place, struct path *path)
{
	struct fs_context *fs = current_thread()->fs;
	struct path old;

	spin_lock(&fs->lock);
	old = *place;
	*place = *path;
	spin_unlock(&fs->lock);
	*path = old;
}

SYSCALL_ASYNC(chdir, 1, SYS_ARG(const char __user *, name) char *kernel_name; struct path path; long error;)
{
	ASYNC_BEGIN;
	AWAIT(name_copy_in, .from = f->name);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->kernel_name = (char *)RESULT;
	AWAIT(path_lookup, .dirfd = AT_FDCWD, .name = f->kernel_name, .flags = LOOKUP_FOLLOW | LOOKUP_DIRECTORY, .path = &f->path);
	f->error = RESULT;
	name_free(f->kernel_name);
	if (f->error)
		ASYNC_RETURN(f->error);
	f->error = inode_permission(f->path.dentry->inode, MAY_EXEC);
	if (!f->error)
		set_path(&thread_of(self)->fs->cwd, &f->path);
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(fchdir, 1, SYS_ARG(int, number) struct fd_use fd; struct path path; long error;)
{
	ASYNC_BEGIN;
	f->fd = fd_begin_any(self, f->number);
	if (!f->fd.file)
		ASYNC_RETURN(-EBADF);
	f->error = S_ISDIR(f->fd.file->inode->mode) ? inode_permission(f->fd.file->inode, MAY_EXEC) : -ENOTDIR;
	if (!f->error) {
		f->path = f->fd.file->path;
		path_get(&f->path);
		set_path(&thread_of(self)->fs->cwd, &f->path);
		AWAIT(path_put, .path = &f->path);
	}
	FD_END(f->fd);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(chroot, 1, SYS_ARG(const char __user *, name) char *kernel_name; struct path path; long error;)
{
	ASYNC_BEGIN;
	AWAIT(name_copy_in, .from = f->name);
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->kernel_name = (char *)RESULT;
	AWAIT(path_lookup, .dirfd = AT_FDCWD, .name = f->kernel_name, .flags = LOOKUP_FOLLOW | LOOKUP_DIRECTORY, .path = &f->path);
	f->error = RESULT;
	name_free(f->kernel_name);
	if (f->error)
		ASYNC_RETURN(f->error);
	f->error = inode_permission(f->path.dentry->inode, MAY_EXEC);
	if (!f->error && !capable(CAP_SYS_CHROOT))
		f->error = -EPERM;
	if (!f->error)
		set_path(&thread_of(self)->fs->root, &f->path);
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL_ASYNC(getcwd, 2, SYS_ARG(char __user *, buf) SYS_ARG(size_t, bytes) struct path path; char *page; char *name; long error;)
{
	ASYNC_BEGIN;
	f->page = kmalloc(PATH_MAX);
	if (!f->page)
		ASYNC_RETURN(-ENOMEM);
	fs_cwd_get(&f->path);
	if (f->path.dentry->flags & DENTRY_UNHASHED) {
		f->error = -ENOENT;
	} else {
		f->name = path_name(&f->path, f->page, PATH_MAX);
		f->error = IS_ERR(f->name) ? PTR_ERR(f->name) : (long)strlen(f->name) + 1;
		if (f->error > 0 && (size_t)f->error > f->bytes)
			f->error = -ERANGE;
	}
	if (f->error > 0) {
		AWAIT(copy_out, .to = f->buf, .from = f->name, .n = (size_t)f->error);
		if (RESULT < 0)
			f->error = RESULT;
	}
	kfree(f->page);
	AWAIT(path_put, .path = &f->path);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

SYSCALL(umask, u32, mask)
{
	struct fs_context *fs = current_thread()->fs;
	mode_t old;

	spin_lock(&fs->lock);
	old = fs->umask;
	fs->umask = mask & 0777;
	spin_unlock(&fs->lock);
	return old;
}
