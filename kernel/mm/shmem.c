/* SPDX-License-Identifier: MIT */
/*
 * Shared anonymous memory: a file without a name, whose page cache is all there is of it. Its mappings hold the file; the
 * last one takes the pages along.
 */
#include "internal.h"
#include <lichen/slab.h>
#include <asm/errno.h>

struct shmem {
	struct inode inode; /* never seen by the VFS: holds the size for the page cache */
};

static const struct page_cache_ops shmem_cache_ops; /* pages begin as zeroes and are never written back */

static long shmem_mmap(struct file *file, struct vma *vma)
{
	struct shmem *shmem = file->private;

	vma->cache = &shmem->inode.cache;
	return 0;
}

ASYNC(shmem_release, FILE_RELEASE_ARGS)
{
	ASYNC_BEGIN;
	AWAIT(page_cache_destroy, .cache = &((struct shmem *)f->file->private)->inode.cache);
	kfree(f->file->private);
	ASYNC_END;
}

static const struct file_ops shmem_file_ops = {
	.mmap = shmem_mmap,
	.release = &shmem_release_fn,
};

struct file *shmem_file(const char *name, u64 bytes)
{
	struct shmem *shmem = kzalloc(sizeof(*shmem));
	struct file *file;

	if (!shmem)
		return NULL;
	shmem->inode.mode = 0100600;
	shmem->inode.size = bytes;
	page_cache_init(&shmem->inode.cache, &shmem->inode, &shmem_cache_ops);
	file = file_anonymous(name, &shmem_file_ops, shmem, O_RDWR);
	if (!file)
		kfree(shmem);
	return file;
}

u64 shmem_pages(const struct file *file)
{
	const struct shmem *shmem = file->private;

	return shmem->inode.cache.count;
}
