// SPDX-License-Identifier: MIT
/* memfd_create(2): files of a tmpfs that nobody has mounted, and the seals that fcntl(2) puts on them. */
#include "internal.h"
#include <lichen/syscall.h>
#include <linux/memfd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
#define NAME_BYTES 249

static struct mount *memfd_mount;

ASYNC(memfd_write, FILE_WRITE_ARGS)
{
	u32 seals = atomic_load(&f->file->inode->seals);

	ASYNC_BEGIN;
	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		ASYNC_RETURN(-EPERM);
	if ((seals & F_SEAL_GROW) && f->from->left && f->pos + f->from->left > f->file->inode->size) {
		/* As far as whole pages fit. */
		if (f->pos >= align_down(f->file->inode->size, PAGE_SIZE))
			ASYNC_RETURN(-EPERM);
		f->from->left = align_down(f->file->inode->size, PAGE_SIZE) - f->pos;
	}
	AWAIT_OP(&file_write_cached_fn, file_write, .file = f->file, .from = f->from, .pos = f->pos, .flags = f->flags);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

static long memfd_mmap(struct file *file, struct vma *vma)
{
	if ((vma->flags & VMA_SHARED) && (atomic_load(&file->inode->seals) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))) {
		if (vma->flags & VMA_WRITE)
			return -EPERM;
		vma->flags &= ~VMA_MAY_WRITE;
	}
	return file_mmap_cached(file, vma);
}

static struct file_ops memfd_ops;

long memfd_check_size(const struct inode *inode, u64 size)
{
	u32 seals = atomic_load(&((struct inode *)(uintptr_t)inode)->seals);

	if (((seals & F_SEAL_SHRINK) && size < inode->size) || ((seals & F_SEAL_GROW) && size > inode->size))
		return -EPERM;
	return 0;
}

long memfd_get_seals(const struct file *file)
{
	return file->inode->file_ops == &memfd_ops ? (long)atomic_load(&file->inode->seals) : -EINVAL;
}

long memfd_add_seals(struct file *file, u32 seals)
{
	struct inode *inode = file->inode;

	if (!(file->mode & FILE_WRITE))
		return -EPERM;
	if (inode->file_ops != &memfd_ops || (seals & ~(u32)SEALS))
		return -EINVAL;
	if (atomic_load(&inode->seals) & F_SEAL_SEAL)
		return -EPERM;
	if ((seals & F_SEAL_WRITE) && atomic_load(&inode->cache.writable_maps) > 0)
		return -EBUSY;
	atomic_fetch_or(&inode->seals, seals);
	return 0;
}

SYSCALL_ASYNC(memfd_create, 2, SYS_ARG(const char __user *, name) SYS_ARG(u32, flags) char text[8 + NAME_BYTES]; struct file *file; struct inode *inode; long fd;)
{
	struct inode *root = memfd_mount->sb->root->inode;

	ASYNC_BEGIN;
	if (f->flags & ~(u32)(MFD_CLOEXEC | MFD_ALLOW_SEALING | 8 /* MFD_NOEXEC_SEAL */ | 16 /* MFD_EXEC */))
		ASYNC_RETURN(-EINVAL);
	if ((f->flags & 24) == 24)
		ASYNC_RETURN(-EINVAL);
	memcpy(f->text, "/memfd:", 7);
	AWAIT(copy_string_in, .to = f->text + 7, .from = f->name, .bytes = NAME_BYTES + 1);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT == -ENAMETOOLONG ? -EINVAL : RESULT);
	AWAIT_OP(root->ops->create, inode_create, .dir = root, .mode = S_IFREG | (f->flags & 8 ? 0666 : 0777));
	if (IS_ERR(RESULT))
		ASYNC_RETURN(RESULT);
	f->inode = (struct inode *)RESULT;
	f->inode->file_ops = &memfd_ops;
	atomic_store(&f->inode->seals, f->flags & (MFD_ALLOW_SEALING | 8) ? 0 : F_SEAL_SEAL);
	atomic_fetch_or(&f->inode->state, INODE_ANONYMOUS);
	f->file = file_nameless(f->inode, memfd_mount, f->text, &memfd_ops, O_RDWR | O_LARGEFILE);
	if (!f->file) {
		AWAIT(inode_put, .inode = f->inode);
		ASYNC_RETURN(-ENOMEM);
	}
	f->file->mode |= FILE_SEEK;
	file_count_writer(f->file);
	f->fd = fd_install(f->file, f->flags & MFD_CLOEXEC);
	if (f->fd < 0)
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->fd);
	ASYNC_END;
}

static void memfd_init(void)
{
	static struct filesystem fs = {.name = "memfd", .flags = FS_NO_CACHE | FS_TMPFILE};
	struct superblock *sb;

	fs.free_inode = tmpfs.free_inode;
	fs.statfs = tmpfs.statfs;
	sb = tmpfs_superblock(&fs);
	memfd_mount = sb ? mount_alloc(sb, sb->root, "memfd", 0) : NULL;
	if (!memfd_mount)
		panic("no memory for memfds");
	memfd_ops = *tmpfs_file_ops();
	memfd_ops.write = &memfd_write_fn;
	memfd_ops.mmap = memfd_mmap;
}
INITCALL(INIT_FS, memfd_init);
