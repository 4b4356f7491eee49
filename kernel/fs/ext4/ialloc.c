// SPDX-License-Identifier: MIT
/*
 * Inode numbers. Files go into the group of their directory, directories of the root are spread over all groups, others stay near
 * their parent: what is used together lies together.
 */
#include <lichen/irq.h>
#include "ext4.h"

static u32 group_of(const struct ext4 *fs, ino_t number)
{
	return (u32)((number - 1) / fs->inodes_per_group);
}

/* The group with more free inodes than average and most free blocks: for directories of the root. */
static u32 emptiest(const struct ext4 *fs)
{
	u64 average = atomic_load(&fs->free_inodes) / fs->groups;
	u32 best = 0;

	for (u32 i = 0; i < fs->groups; i++) {
		const struct ext4_group *group = &fs->group[i], *than = &fs->group[best];

		if (group->bad || group->free_inodes < average || !group->free_inodes)
			continue;
		if (than->bad || !than->free_inodes || group->used_dirs < than->used_dirs ||
			(group->used_dirs == than->used_dirs && group->free_blocks > than->free_blocks))
			best = i;
	}
	return best;
}

/* The first free inode of a bitmap, or fs->inodes_per_group. */
static u32 free_bit(const struct ext4 *fs, u32 group, const char *bitmap)
{
	u32 from = group ? 0 : fs->first_ino - 1;

	for (u32 i = from; i < fs->inodes_per_group; i++) {
		if (is_aligned(i, 8) && (u8)bitmap[i / 8] == 0xff)
			i += 7;
		else if (!(bitmap[i / 8] >> i % 8 & 1))
			return i;
	}
	return fs->inodes_per_group;
}

ASYNC_DEFINE(inode_alloc)
{
	struct ext4 *fs = f->fs;
	struct ext4_group *group;
	u32 used;

	ASYNC_BEGIN;
	AWAIT(mutex_lock, .mutex = &f->fs->alloc_lock);
	fs = f->fs;
	f->group = S_ISDIR(f->mode) && f->dir->number == EXT4_ROOT_INO ? emptiest(fs) : group_of(fs, f->dir->number);
	for (f->tried = 0; f->tried < f->fs->groups; f->tried++) {
		if (f->fs->group[f->group].free_inodes && !f->fs->group[f->group].bad) {
			AWAIT(group_inode_bitmap, .fs = f->fs, .group = f->group, .change = true);
			if (IS_ERR((void *)RESULT)) {
				if (RESULT == -EFSCORRUPTED)
					goto next;
				mutex_unlock(&f->fs->alloc_lock);
				ASYNC_RETURN(RESULT);
			}
			f->bitmap = (struct buffer *)RESULT;
			f->bit = free_bit(f->fs, f->group, f->bitmap->data);
			if (f->bit < f->fs->inodes_per_group)
				goto found;
			buffer_put(f->fs, f->bitmap);
		}
next:
		f->group = f->group + 1 == f->fs->groups ? 0 : f->group + 1;
	}
	mutex_unlock(&f->fs->alloc_lock);
	ASYNC_RETURN(-ENOSPC);
found:
	f->bitmap->data[f->bit / 8] = (char)(f->bitmap->data[f->bit / 8] | 1 << f->bit % 8);
	buffer_put(f->fs, f->bitmap);
	/* A group that holds inodes has a block bitmap, too. */
	if (f->fs->group[f->group].flags & BG_BLOCK_UNINIT) {
		AWAIT(group_block_bitmap, .fs = f->fs, .group = f->group, .change = true);
		if (!IS_ERR((void *)RESULT))
			buffer_put(f->fs, (struct buffer *)RESULT);
	}
	fs = f->fs;
	group = &fs->group[f->group];
	group->free_inodes--;
	atomic_fetch_sub(&fs->free_inodes, 1);
	if (S_ISDIR(f->mode))
		group->used_dirs++;
	used = fs->inodes_per_group - group->itable_unused;
	if (f->bit >= used)
		group->itable_unused = fs->inodes_per_group - f->bit - 1;
	group_dirty(fs, f->group);
	mutex_unlock(&fs->alloc_lock);
	ASYNC_RETURN((long)f->group * fs->inodes_per_group + f->bit + 1);
	ASYNC_END;
}

ASYNC_DEFINE(inode_free)
{
	struct ext4_group *group;
	char *byte;
	u32 bit;

	ASYNC_BEGIN;
	AWAIT(mutex_lock, .mutex = &f->fs->alloc_lock);
	f->group = group_of(f->fs, f->number);
	AWAIT(group_inode_bitmap, .fs = f->fs, .group = f->group, .change = true);
	if (IS_ERR((void *)RESULT)) {
		mutex_unlock(&f->fs->alloc_lock);
		ASYNC_RETURN(RESULT);
	}
	f->bitmap = (struct buffer *)RESULT;
	group = &f->fs->group[f->group];
	bit = (f->number - 1) % f->fs->inodes_per_group;
	byte = &f->bitmap->data[bit / 8];
	if (!(*byte >> bit % 8 & 1)) {
		ext4_corrupt(f->fs, "inode %u was free already", f->number);
	} else {
		*byte = (char)(*byte & ~(1 << bit % 8));
		group->free_inodes++;
		atomic_fetch_add(&f->fs->free_inodes, 1);
		if (f->directory && group->used_dirs)
			group->used_dirs--;
	}
	buffer_put(f->fs, f->bitmap);
	mutex_unlock(&f->fs->alloc_lock);
	ASYNC_RETURN(0);
	ASYNC_END;
}
