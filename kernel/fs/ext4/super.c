// SPDX-License-Identifier: MIT
/*
 * Mounting and unmounting: what the superblock says is checked here, so that the rest can rely on it. While it is mounted for
 * writing, the state on the disk is "not valid"; a clean unmount, or remounting read-only, puts back what it was before.
 */
#include <lichen/crc.h>
#include <lichen/irq.h>
#include <lichen/task.h>
#include <lichen/timer.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include "ext4.h"

#define SUPER_SECTOR	2
#define SUPER_BYTES	1024u
#define COMMIT_INTERVAL (5 * NSEC_PER_SEC)
#define MARGIN_SHARE	64	/* one block in so many is not given to delayed data */
#define MARGIN_MAX	4096u
#define ERRORS_CONTINUE 1

/* --- errors --- */

static void note_error(struct ext4 *fs)
{
	fs->error_count++;
	if (fs->super && !fs->read_only) {
		/* Racy by nature: whoever commits next takes it along. */
		fs->super->state |= EXT4_ERROR_FS;
		buffer_dirty(fs, fs->super_buffer);
		if (fs->super->errors != ERRORS_CONTINUE)
			fs->failed = true;
	}
}

long ext4_corrupt(struct ext4 *fs, const char *format, ...)
{
	static struct log_limit limit;
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (log_limit_pass(&limit))
		log_line(LOG_ERR, "ext4 %s: %s: the file system is damaged, run e2fsck", fs->device->name, text);
	note_error(fs);
	return -EFSCORRUPTED;
}

long ext4_write_failed(struct ext4 *fs, const char *what)
{
	if (!fs->failed)
		log_err("ext4 %s: %s cannot be written; nothing more will be", fs->device->name, what);
	fs->failed = true;
	return -EIO;
}

/* --- the superblock --- */

static u32 super_checksum(const struct ext4_super *super)
{
	return crc32c(~0u, super, offsetof(struct ext4_super, checksum));
}

void super_seal(struct ext4 *fs)
{
	struct ext4_super *super = fs->super;
	u64 free = atomic_load(&fs->free_blocks);

	if (!(atomic_load(&fs->super_buffer->state) & BUFFER_DIRTY))
		return;
	super->free_blocks_count_lo = (u32)free;
	if (fs->incompat & INCOMPAT_64BIT)
		super->free_blocks_count_hi = (u32)(free >> 32);
	super->free_inodes_count = (u32)atomic_load(&fs->free_inodes);
	super->wtime = (u32)(time_realtime() / NSEC_PER_SEC);
	if (fs->has_checksums)
		super->checksum = super_checksum(super);
}

static long refuse(struct ext4 *fs, const char *why)
{
	log_err("ext4 %s: %s", fs->device->name, why);
	return -EINVAL;
}

static bool power_of_two(u32 n)
{
	return n && !(n & (n - 1));
}

/* Features: 0, -EINVAL; those that allow reading alone make `*read_only` true, or refuse if writing was asked for. */
static long check_features(struct ext4 *fs, const struct ext4_super *super, bool read_only)
{
	u32 unknown = super->feature_incompat & ~INCOMPAT_SUPPORTED;

	if (super->rev_level > 1)
		return refuse(fs, "unknown revision of the format");
	if (unknown & INCOMPAT_RECOVER)
		return refuse(fs, "the journal must be replayed first, which this kernel cannot do yet: run e2fsck -p on it, or mount it with Linux once");
	if (unknown) {
		log_err("ext4 %s: has incompatible features %#x that are not supported", fs->device->name, unknown);
		return -EINVAL;
	}
	unknown = super->feature_ro_compat & ~RO_COMPAT_SUPPORTED;
	if (unknown && !read_only) {
		log_err("ext4 %s: has features %#x that allow read-only mounts alone", fs->device->name, unknown);
		return -EROFS;
	}
	if ((super->feature_ro_compat & RO_COMPAT_METADATA_CSUM) && super->checksum_type != 1)
		return refuse(fs, "unknown type of checksums");
	if ((super->feature_ro_compat & RO_COMPAT_METADATA_CSUM) && super_checksum(super) != super->checksum)
		return refuse(fs, "the superblock has a wrong checksum, run e2fsck");
	return 0;
}

/* The geometry, each number checked before it is used: 0 or -EINVAL. */
static long check_geometry(struct ext4 *fs, const struct ext4_super *super)
{
	u64 groups;

	if (super->log_block_size > 2)
		return refuse(fs, "blocks larger than 4 KiB are not supported");
	fs->block_bits = 10 + super->log_block_size;
	fs->block_size = 1u << fs->block_bits;
	fs->sectors_per_block = fs->block_size / BLOCK_SECTOR;
	if (fs->device->logical_block > fs->block_size)
		return refuse(fs, "its blocks are smaller than the device's");
	fs->compat = super->feature_compat;
	fs->incompat = super->feature_incompat;
	fs->ro_compat = super->feature_ro_compat;
	fs->has_checksums = fs->ro_compat & RO_COMPAT_METADATA_CSUM;
	fs->blocks = wide(super->blocks_count_lo, fs->incompat & INCOMPAT_64BIT ? super->blocks_count_hi : 0);
	fs->first_data_block = super->first_data_block;
	fs->blocks_per_group = super->blocks_per_group;
	fs->inodes_per_group = super->inodes_per_group;
	fs->inodes = super->inodes_count;
	fs->inode_size = super->rev_level ? super->inode_size : EXT4_GOOD_OLD_INODE;
	fs->first_ino = super->rev_level ? super->first_ino : 11;
	fs->desc_size = fs->incompat & INCOMPAT_64BIT ? super->desc_size : 32;
	if (fs->first_data_block != (fs->block_size == 1024) || fs->blocks <= fs->first_data_block)
		return refuse(fs, "impossible number of blocks");
	if (fs->blocks > fs->device->sectors / fs->sectors_per_block)
		return refuse(fs, "is larger than its device");
	if (!power_of_two(fs->inode_size) || fs->inode_size < EXT4_GOOD_OLD_INODE || fs->inode_size > fs->block_size)
		return refuse(fs, "impossible size of inodes");
	if (!power_of_two(fs->desc_size) || fs->desc_size < (fs->incompat & INCOMPAT_64BIT ? 64 : 32) || fs->desc_size > fs->block_size)
		return refuse(fs, "impossible size of group descriptors");
	if (fs->blocks_per_group < 8 || fs->blocks_per_group > 8 * fs->block_size || fs->blocks_per_group % 8)
		return refuse(fs, "impossible number of blocks a group");
	if (fs->inodes_per_group < fs->block_size / fs->inode_size || fs->inodes_per_group > 8 * fs->block_size || fs->inodes_per_group % 8)
		return refuse(fs, "impossible number of inodes a group");
	groups = (fs->blocks - fs->first_data_block + fs->blocks_per_group - 1) / fs->blocks_per_group;
	if (groups * fs->inodes_per_group != fs->inodes || fs->first_ino < 11 || fs->first_ino > fs->inodes)
		return refuse(fs, "the number of inodes does not fit the number of groups");
	if (groups * sizeof(struct ext4_group) > (4u << 20))
		return refuse(fs, "has more groups than this kernel can keep in memory");
	fs->groups = (u32)groups;
	fs->descs_per_block = fs->block_size / fs->desc_size;
	fs->desc_blocks = (fs->groups + fs->descs_per_block - 1) / fs->descs_per_block;
	if (super->reserved_gdt_blocks > fs->block_size / 4)
		return refuse(fs, "impossible number of reserved blocks");
	fs->seed = fs->incompat & INCOMPAT_CSUM_SEED ? super->checksum_seed : crc32c(~0u, super->uuid, sizeof(super->uuid));
	memcpy(fs->hash_seed, super->hash_seed, sizeof(fs->hash_seed));
	fs->hash_default = super->def_hash_version <= HASH_TEA ? super->def_hash_version : HASH_HALF_MD4;
	fs->hash_unsigned = super->flags & EXT4_FLAGS_UNSIGNED_HASH;
	return 0;
}

/* What is set aside is never more than what there is. */
static void set_limits(struct ext4 *fs)
{
	u64 kept = wide(fs->super->r_blocks_count_lo, fs->incompat & INCOMPAT_64BIT ? fs->super->r_blocks_count_hi : 0);

	fs->root_blocks = min(kept, fs->blocks / 2);
	fs->margin = min(fs->blocks / MARGIN_SHARE, (u64)MARGIN_MAX);
}

/* --- the flusher: what operations leave dirty is committed within some seconds; nothing dirty, nothing to do --- */

ASYNC(ext4_flusher, struct ext4 *fs; u32 ticket;)
{
	ASYNC_BEGIN;
	while (!atomic_load(&f->fs->unmounting)) {
		f->ticket = wait_ticket(&f->fs->flusher_wait);
		if (!f->fs->buffers.dirty_count) {
			AWAIT(wait_on, .queue = &f->fs->flusher_wait, .ticket = f->ticket, .uninterruptible = true);
			continue;
		}
		AWAIT(wait_on, .queue = &f->fs->flusher_wait, .ticket = wait_ticket(&f->fs->flusher_wait), .uninterruptible = true,
			.deadline = time_monotonic() + COMMIT_INTERVAL);
		if (!f->fs->failed)
			AWAIT(ext4_commit, .fs = f->fs);
		else
			AWAIT(wait_on, .queue = &f->fs->flusher_wait, .ticket = wait_ticket(&f->fs->flusher_wait), .uninterruptible = true,
				.deadline = time_monotonic() + COMMIT_INTERVAL);
	}
	f->fs->flusher = NULL;
	wait_wake_all(&f->fs->flusher_wait);
	ASYNC_END;
}
struct ext4_flusher_args {
	struct ext4 *fs;
};

/* --- mount --- */

/* Writing begins: the disk says so from now on. */
ASYNC(writable_begin, struct ext4 *fs;)
{
	struct ext4_super *super = f->fs->super;

	ASYNC_BEGIN;
	if (!(super->state & EXT4_VALID_FS) || (super->state & EXT4_ERROR_FS))
		log_warn("ext4 %s: was not unmounted cleanly, or has errors: e2fsck is recommended", f->fs->device->name);
	f->fs->read_only = false;
	f->fs->was_valid = super->state & EXT4_VALID_FS;
	super->state &= (u16)~EXT4_VALID_FS;
	super->mnt_count++;
	super->mtime = (u32)(time_realtime() / NSEC_PER_SEC);
	buffer_dirty(f->fs, f->fs->super_buffer);
	AWAIT(orphans_clean, .fs = f->fs);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(ext4_commit, .fs = f->fs);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->fs->flusher = task_spawn("ext4-commit", &ext4_flusher_fn, &(struct ext4_flusher_args){f->fs}, sizeof(struct ext4_flusher_args));
	ASYNC_RETURN(f->fs->flusher ? 0 : -ENOMEM);
	ASYNC_END;
}

/* Writing ends: everything is on the disk, and the disk says so. */
ASYNC(writable_end, struct ext4 *fs; u32 ticket; long error;)
{
	ASYNC_BEGIN;
	atomic_store(&f->fs->unmounting, true);
	for (;;) {
		f->ticket = wait_ticket(&f->fs->flusher_wait);
		if (!f->fs->flusher)
			break;
		wait_wake_all(&f->fs->flusher_wait);
		f->ticket = wait_ticket(&f->fs->flusher_wait);
		if (!f->fs->flusher)
			break;
		AWAIT(wait_on, .queue = &f->fs->flusher_wait, .ticket = f->ticket, .uninterruptible = true,
			.deadline = time_monotonic() + NSEC_PER_SEC / 100);
	}
	AWAIT(ext4_commit, .fs = f->fs);
	f->error = RESULT;
	if (!f->error && f->fs->was_valid) {
		f->fs->super->state |= EXT4_VALID_FS;
		buffer_dirty(f->fs, f->fs->super_buffer);
		AWAIT(ext4_commit, .fs = f->fs);
		f->error = RESULT;
	}
	f->fs->read_only = true;
	atomic_store(&f->fs->unmounting, false);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

static void fs_free(struct ext4 *fs)
{
	if (fs->super_buffer)
		buffer_put(fs, fs->super_buffer);
	groups_free(fs);
	if (fs->buffers.hash)
		buffers_destroy(fs);
	kfree(fs);
}

/* All but the root directory: the superblock, groups, buffers. The struct ext4 *, or -errno. */
ASYNC(ext4_load, struct superblock *sb; struct ext4 *fs; struct page *page; struct block_segment segment; long error;)
{
	const struct ext4_super *super;

	ASYNC_BEGIN;
	f->page = page_alloc(0, ALLOC_POOL | ALLOC_ZERO);
	f->fs = kzalloc(sizeof(*f->fs));
	if (!f->page || !f->fs) {
		if (f->page)
			page_put(f->page);
		kfree(f->fs);
		ASYNC_RETURN(-ENOMEM);
	}
	f->fs->sb = f->sb;
	f->fs->device = f->sb->device;
	f->fs->read_only = true;
	mutex_init(&f->fs->alloc_lock);
	mutex_init(&f->fs->orphan_lock);
	list_init(&f->fs->orphans);
	wait_queue_init(&f->fs->flusher_wait);
	/* A device with blocks larger than the superblock gives the block around it. */
	f->segment = (struct block_segment){page_phys(f->page), PAGE_SIZE};
	AWAIT(block_io, .device = f->sb->device, .op = BLOCK_READ, .sector = 0, .segments = &f->segment, .segment_count = 1);
	f->error = RESULT;
	super = (const struct ext4_super *)((const char *)page_address(f->page) + SUPER_BYTES);
	if (!f->error && super->magic != EXT4_MAGIC)
		f->error = -EINVAL;
	if (!f->error)
		f->error = check_features(f->fs, super, f->sb->flags & MS_RDONLY);
	if (!f->error)
		f->error = check_geometry(f->fs, super);
	page_put(f->page);
	if (!f->error)
		f->error = buffers_init(f->fs);
	if (!f->error) {
		AWAIT(buffer_get, .fs = f->fs, .block = f->fs->first_data_block);
		f->error = IS_ERR((void *)RESULT) ? RESULT : 0;
	}
	if (!f->error) {
		f->fs->super_buffer = (struct buffer *)RESULT;
		f->fs->super = (struct ext4_super *)(f->fs->super_buffer->data + (f->fs->block_size > SUPER_BYTES ? SUPER_BYTES : 0));
		set_limits(f->fs);
		AWAIT(groups_load, .fs = f->fs);
		f->error = RESULT;
	}
	if (f->error) {
		fs_free(f->fs);
		ASYNC_RETURN(f->error);
	}
	ASYNC_RETURN((long)f->fs);
	ASYNC_END;
}

/* What of the device is metadata, for statfs. */
static u64 overhead(const struct ext4 *fs)
{
	u64 itable = (u64)fs->inodes_per_group * fs->inode_size / fs->block_size, sum = fs->first_data_block;

	if (fs->super->overhead_clusters && fs->super->overhead_clusters < fs->blocks)
		return fs->super->overhead_clusters;
	for (u32 i = 0; i < fs->groups; i++)
		sum += 2 + itable + (group_has_super(fs, i) ? 1 + fs->desc_blocks + fs->super->reserved_gdt_blocks : 0);
	return min(sum, fs->blocks);
}

ASYNC(ext4_mount, FS_MOUNT_ARGS struct ext4 *fs; struct inode *root; long error;)
{
	ASYNC_BEGIN;
	f->error = block_claim(f->sb->device, f->sb);
	if (f->error)
		ASYNC_RETURN(f->error);
	AWAIT(ext4_load, .sb = f->sb);
	f->error = RESULT;
	if (IS_ERR((void *)RESULT)) {
		block_release(f->sb->device, f->sb);
		ASYNC_RETURN(f->error);
	}
	f->fs = (struct ext4 *)RESULT;
	f->error = 0;
	f->sb->private = f->fs;
	f->sb->block_size = f->fs->block_size;
	f->fs->overhead = overhead(f->fs);
	if (f->sb->device->read_only && !(f->sb->flags & MS_RDONLY))
		f->error = -EROFS;
	if (!f->error) {
		AWAIT(ext4_iget, .fs = f->fs, .number = EXT4_ROOT_INO);
		f->error = IS_ERR((void *)RESULT) ? RESULT : 0;
	}
	if (!f->error) {
		f->root = (struct inode *)RESULT;
		if (!S_ISDIR(f->root->mode))
			f->error = ext4_corrupt(f->fs, "the root is no directory");
		if (!f->error && !(f->sb->flags & MS_RDONLY)) {
			AWAIT(writable_begin, .fs = f->fs);
			f->error = RESULT;
		}
		if (!f->error)
			f->error = superblock_set_root(f->sb, f->root);
		if (f->error) {
			/* Not to be kept: its superblock goes. */
			atomic_fetch_or(&f->root->state, INODE_BAD);
			AWAIT(inode_put, .inode = f->root);
			if (!f->fs->read_only)
				AWAIT(writable_end, .fs = f->fs);
		}
	}
	if (f->error) {
		fs_free(f->fs);
		f->sb->private = NULL;
		block_release(f->sb->device, f->sb);
		ASYNC_RETURN(f->error);
	}
	log_info("ext4 %s: mounted%s, %llu MiB, %llu MiB free", f->sb->device->name, f->fs->read_only ? " read-only" : "",
		(unsigned long long)(f->fs->blocks << f->fs->block_bits >> 20),
		(unsigned long long)(atomic_load(&f->fs->free_blocks) << f->fs->block_bits >> 20));
	ASYNC_END;
}

ASYNC(ext4_unmount, FS_SB_ARGS struct ext4 *fs; long error;)
{
	ASYNC_BEGIN;
	f->fs = f->sb->private;
	if (!f->fs->read_only) {
		AWAIT(writable_end, .fs = f->fs);
		f->error = RESULT;
	}
	fs_free(f->fs);
	f->sb->private = NULL;
	block_release(f->sb->device, f->sb);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC(ext4_sync, FS_SB_ARGS)
{
	ASYNC_BEGIN;
	if (((struct ext4 *)f->sb->private)->read_only)
		ASYNC_RETURN(0);
	AWAIT(ext4_commit, .fs = f->sb->private);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC(ext4_remount, FS_SB_ARGS struct ext4 *fs;)
{
	ASYNC_BEGIN;
	f->fs = f->sb->private;
	if (f->sb->flags & MS_RDONLY) {
		if (f->fs->read_only)
			ASYNC_RETURN(0);
		AWAIT(inode_sync_all, .sb = f->sb);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		AWAIT(writable_end, .fs = f->fs);
		ASYNC_RETURN(RESULT);
	}
	if (!f->fs->read_only)
		ASYNC_RETURN(0);
	if (f->sb->device->read_only || f->fs->failed)
		ASYNC_RETURN(-EROFS);
	RESULT = check_features(f->fs, f->fs->super, false);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(writable_begin, .fs = f->fs);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

static void ext4_statfs(struct superblock *sb, struct kstatfs_ *st)
{
	struct ext4 *fs = sb->private;
	u64 free = atomic_load(&fs->free_blocks), taken = atomic_load(&fs->reserved);
	const u64 *uuid = (const u64 *)fs->super->uuid;

	free -= min(free, taken);
	*st = (struct kstatfs_){
		.type = EXT4_MAGIC,
		.blocks = fs->blocks - fs->overhead,
		.bfree = free,
		.bavail = free - min(free, fs->root_blocks + fs->margin),
		.files = fs->inodes,
		.ffree = atomic_load(&fs->free_inodes),
		.bsize = fs->block_size,
		.namelen = 255,
		.fsid = uuid[0] ^ uuid[1],
	};
}

static struct filesystem ext4_filesystem = {
	.name = "ext4",
	.flags = FS_NEEDS_DEVICE,
	.mount = &ext4_mount_fn,
	.unmount = &ext4_unmount_fn,
	.sync = &ext4_sync_fn,
	.remount = &ext4_remount_fn,
	.write_inode = &ext4_write_inode_fn,
	.evict_inode = &ext4_evict_inode_fn,
	.free_inode = ext4_free_inode,
	.statfs = ext4_statfs,
};

static void ext4_init(void)
{
	filesystem_register(&ext4_filesystem);
}
INITCALL(INIT_FS, ext4_init);
