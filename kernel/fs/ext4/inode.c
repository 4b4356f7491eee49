// SPDX-License-Identifier: MIT
/*
 * Inodes: from the disk into memory when they are looked up, back into their table's buffer within operations. Bytes of the disk's
 * inode that mean nothing here (and attributes that lie in it) are kept as they are.
 */
#include <lichen/crc.h>
#include <linux/stat.h>
#include "ext4.h"

#define EPOCH_MASK 3u
#define ISIZE_NOW  32u /* extra bytes of a new inode */

u64 inode_place(const struct ext4 *fs, u32 number, u32 *offset)
{
	u32 group = (number - 1) / fs->inodes_per_group, index = (number - 1) % fs->inodes_per_group;
	u64 bytes = (u64)index * fs->inode_size;

	*offset = (u32)(bytes & (fs->block_size - 1));
	return fs->group[group].inode_table + (bytes >> fs->block_bits);
}

static u32 node_seed(const struct ext4 *fs, u32 number, u32 generation)
{
	return crc32c(crc32c(fs->seed, &number, sizeof(number)), &generation, sizeof(generation));
}

static bool has_field(const struct ext4 *fs, u32 extra_isize, size_t end)
{
	return fs->inode_size > EXT4_GOOD_OLD_INODE && EXT4_GOOD_OLD_INODE + extra_isize >= end;
}
#define HAS_FIELD(fs, extra_isize, field)                                                          \
	has_field(fs, extra_isize, offsetof(struct ext4_disk_inode, field) + sizeof(((struct ext4_disk_inode *)0)->field))

/* With both checksum fields as zero. */
static u32 inode_checksum(const struct ext4 *fs, u32 seed, const char *raw, u32 extra_isize)
{
	size_t low = offsetof(struct ext4_disk_inode, checksum_lo), high = offsetof(struct ext4_disk_inode, checksum_hi);
	u16 zero = 0;
	u32 crc;

	crc = crc32c(seed, raw, low);
	crc = crc32c(crc, &zero, sizeof(zero));
	crc = crc32c(crc, raw + low + 2, EXT4_GOOD_OLD_INODE - low - 2);
	if (fs->inode_size == EXT4_GOOD_OLD_INODE)
		return crc;
	if (!HAS_FIELD(fs, extra_isize, checksum_hi))
		return crc32c(crc, raw + EXT4_GOOD_OLD_INODE, fs->inode_size - EXT4_GOOD_OLD_INODE);
	crc = crc32c(crc, raw + EXT4_GOOD_OLD_INODE, high - EXT4_GOOD_OLD_INODE);
	crc = crc32c(crc, &zero, sizeof(zero));
	return crc32c(crc, raw + high + 2, fs->inode_size - high - 2);
}

static bool inode_checksum_ok(const struct ext4 *fs, u32 seed, const char *raw, u32 extra_isize)
{
	const struct ext4_disk_inode *disk = (const struct ext4_disk_inode *)raw;
	u32 crc;

	if (!fs->has_checksums)
		return true;
	crc = inode_checksum(fs, seed, raw, extra_isize);
	if (HAS_FIELD(fs, extra_isize, checksum_hi))
		return crc == (disk->checksum_lo | (u32)disk->checksum_hi << 16);
	return (u16)crc == disk->checksum_lo;
}

/* Seconds are signed 32 bits, plus 34 bits' worth of epoch in the extra word; nanoseconds above it. */
static struct timespec64_ time_decode(u32 seconds, u32 extra, bool has_extra)
{
	struct timespec64_ t = {(s32)seconds, 0};

	if (has_extra) {
		t.sec += (s64)(extra & EPOCH_MASK) << 32;
		t.nsec = min(extra >> 2, 999999999u);
	}
	return t;
}

static u32 time_extra(struct timespec64_ t)
{
	return t.nsec << 2 | (u32)((t.sec - (s32)(u32)t.sec) >> 32 & EPOCH_MASK);
}

struct ext4_node *node_new(struct ext4 *fs, u32 number)
{
	struct ext4_node *node = kzalloc(sizeof(*node));

	if (!node)
		return NULL;
	inode_init(&node->inode, fs->sb, number);
	rwlock_init(&node->map_lock);
	list_init(&node->orphan_node);
	return node;
}

void ext4_free_inode(struct inode *inode)
{
	kfree(inode->target);
	kfree(node_of(inode));
}

static void node_set_ops(struct inode *inode)
{
	if (S_ISREG(inode->mode)) {
		inode->ops = &ext4_file_inode_ops;
		inode->file_ops = &ext4_file_ops;
		inode->cache.ops = &ext4_page_ops;
	} else if (S_ISDIR(inode->mode)) {
		inode->ops = &ext4_dir_inode_ops;
		inode->file_ops = &ext4_dir_ops;
	} else if (S_ISLNK(inode->mode)) {
		inode->ops = &ext4_symlink_inode_ops;
	} else {
		inode->ops = &ext4_special_inode_ops;
		inode_init_special(inode, inode->mode, inode->rdev);
	}
}
void ext4_set_ops(struct ext4_node *node)
{
	node->seed = node_seed(ext4_of(&node->inode), (u32)node->inode.number, node->generation);
	node_set_ops(&node->inode);
}

static bool mode_known(u32 mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode);
}

/* A short symbolic link lies in the block pointers. */
static bool link_is_short(const struct ext4 *fs, const struct ext4_node *node)
{
	u64 xattr = node->xattr_block ? fs->sectors_per_block : 0;

	return S_ISLNK(node->inode.mode) && !has_extents(node) && node->inode.blocks <= xattr && node->inode.size < sizeof(node->data);
}

/* What the disk says about an inode, into the node: 0 or -EUCLEAN. */
static long inode_decode(struct ext4 *fs, struct ext4_node *node, const char *raw)
{
	const struct ext4_disk_inode *disk = (const struct ext4_disk_inode *)raw;
	struct inode *inode = &node->inode;
	u64 number = inode->number;
	u32 extra = 0;

	if (fs->inode_size > EXT4_GOOD_OLD_INODE) {
		extra = disk->extra_isize;
		if (EXT4_GOOD_OLD_INODE + extra > fs->inode_size || (extra & 3))
			return ext4_corrupt(fs, "inode %llu has %u extra bytes", (unsigned long long)number, extra);
	}
	node->extra_isize = (u16)extra;
	node->generation = disk->generation;
	node->seed = node_seed(fs, (u32)number, disk->generation);
	if (!inode_checksum_ok(fs, node->seed, raw, extra))
		return ext4_corrupt(fs, "inode %llu has a wrong checksum", (unsigned long long)number);
	inode->mode = disk->mode;
	inode->uid = disk->uid | (u32)disk->uid_high << 16;
	inode->gid = disk->gid | (u32)disk->gid_high << 16;
	inode->nlink = disk->links_count;
	node->flags = disk->flags;
	inode->size = disk->size_lo;
	if (S_ISREG(inode->mode) || S_ISDIR(inode->mode))
		inode->size |= (u64)disk->size_high << 32;
	inode->blocks = disk->blocks_lo;
	if (fs->ro_compat & RO_COMPAT_HUGE_FILE)
		inode->blocks |= (u64)disk->blocks_high << 32;
	if (node->flags & EXT4_HUGE_FILE_FL)
		inode->blocks *= fs->sectors_per_block;
	node->xattr_block = wide(disk->file_acl_lo, fs->incompat & INCOMPAT_64BIT ? disk->file_acl_high : 0);
	inode->atime = time_decode(disk->atime, disk->atime_extra, HAS_FIELD(fs, extra, atime_extra));
	inode->mtime = time_decode(disk->mtime, disk->mtime_extra, HAS_FIELD(fs, extra, mtime_extra));
	inode->ctime = time_decode(disk->ctime, disk->ctime_extra, HAS_FIELD(fs, extra, ctime_extra));
	inode->btime = (struct timespec64_){0, 0};
	if (HAS_FIELD(fs, extra, crtime))
		inode->btime = time_decode(disk->crtime, disk->crtime_extra, HAS_FIELD(fs, extra, crtime_extra));
	memcpy(node->data, disk->block, sizeof(node->data));
	node->disk_size = inode->size;
	node->on_disk = true;
	if (!mode_known(inode->mode) || (s64)inode->size < 0 || (node->flags & EXT4_INLINE_DATA_FL) ||
		(node->xattr_block && !block_valid(fs, node->xattr_block, 1)))
		return ext4_corrupt(fs, "inode %llu is damaged", (unsigned long long)number);
	if (S_ISDIR(inode->mode) && (inode->size & (fs->block_size - 1) || !inode->size || inode->size >> fs->block_bits > 1u << 28))
		return ext4_corrupt(fs, "directory %llu has an impossible size", (unsigned long long)number);
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
		inode->rdev = disk->block[0] ? MAKE_DEV(disk->block[0] >> 8 & 0xff, disk->block[0] & 0xff) : dev_decode(disk->block[1]);
		return 0;
	}
	if (S_ISLNK(inode->mode) && (inode->size >= fs->block_size || !inode->size))
		return ext4_corrupt(fs, "symbolic link %llu has an impossible length", (unsigned long long)number);
	if (link_is_short(fs, node)) {
		inode->target = kzalloc(inode->size + 1);
		if (!inode->target)
			return -ENOMEM;
		memcpy(inode->target, node->data, inode->size);
		return 0;
	}
	if (has_extents(node) && (S_ISREG(inode->mode) || S_ISDIR(inode->mode) || S_ISLNK(inode->mode)))
		return extent_root_check(fs, node);
	return 0;
}

ASYNC_DEFINE(ext4_iget)
{
	u32 offset;

	ASYNC_BEGIN;
	if (!f->number || f->number > f->fs->inodes || (f->number < f->fs->first_ino && f->number != EXT4_ROOT_INO && !f->orphan))
		ASYNC_RETURN(ext4_corrupt(f->fs, "a name leads to inode %u", f->number));
	for (;;) {
		AWAIT(inode_find, .sb = f->fs->sb, .number = f->number);
		if (RESULT)
			ASYNC_RETURN(RESULT);
		AWAIT(buffer_get, .fs = f->fs, .block = inode_place(f->fs, f->number, &offset));
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		f->buffer = (struct buffer *)RESULT;
		f->node = node_new(f->fs, f->number);
		if (!f->node) {
			buffer_put(f->fs, f->buffer);
			ASYNC_RETURN(-ENOMEM);
		}
		inode_place(f->fs, f->number, &offset);
		f->error = inode_decode(f->fs, f->node, f->buffer->data + offset);
		buffer_put(f->fs, f->buffer);
		if (!f->error && !f->node->inode.nlink && !f->orphan)
			f->error = ext4_corrupt(f->fs, "a name leads to inode %u, which is free", f->number);
		if (!f->error) {
			node_set_ops(&f->node->inode);
			f->error = inode_hash(&f->node->inode);
			if (!f->error)
				ASYNC_RETURN((long)&f->node->inode);
		}
		/* Wrong, or somebody else has read it meanwhile. */
		atomic_fetch_or(&f->node->inode.state, INODE_BAD);
		AWAIT(inode_put, .inode = &f->node->inode);
		if (f->error != -EEXIST)
			ASYNC_RETURN(f->error);
	}
	ASYNC_END;
}

/* Fills the disk's inode; all that it does not know stays. */
static void inode_encode(struct ext4 *fs, struct ext4_node *node, char *raw, bool fresh)
{
	struct ext4_disk_inode *disk = (struct ext4_disk_inode *)raw;
	struct inode *inode = &node->inode;
	u64 blocks = inode->blocks - min(inode->blocks, (u64)node->delayed_blocks * fs->sectors_per_block);
	u64 size = S_ISREG(inode->mode) ? node->disk_size : inode->size;
	u32 extra = node->extra_isize, crc;

	if (fresh) {
		memset(raw, 0, fs->inode_size);
		disk->generation = node->generation;
	}
	disk->mode = (u16)inode->mode;
	disk->uid = (u16)inode->uid;
	disk->uid_high = (u16)(inode->uid >> 16);
	disk->gid = (u16)inode->gid;
	disk->gid_high = (u16)(inode->gid >> 16);
	disk->size_lo = (u32)size;
	if (S_ISREG(inode->mode) || S_ISDIR(inode->mode))
		disk->size_high = (u32)(size >> 32);
	disk->links_count = (u16)(S_ISDIR(inode->mode) && inode->nlink > 65000 ? 1 : inode->nlink);
	node->flags &= ~EXT4_HUGE_FILE_FL;
	if (blocks >> 48) {
		node->flags |= EXT4_HUGE_FILE_FL;
		blocks /= fs->sectors_per_block;
	}
	disk->blocks_lo = (u32)blocks;
	disk->blocks_high = (u16)(blocks >> 32);
	disk->flags = node->flags;
	disk->file_acl_lo = (u32)node->xattr_block;
	disk->file_acl_high = (u16)(node->xattr_block >> 32);
	disk->atime = (u32)inode->atime.sec;
	disk->mtime = (u32)inode->mtime.sec;
	disk->ctime = (u32)inode->ctime.sec;
	disk->dtime = node->dtime;
	if (fs->inode_size > EXT4_GOOD_OLD_INODE)
		disk->extra_isize = (u16)extra;
	if (HAS_FIELD(fs, extra, ctime_extra))
		disk->ctime_extra = time_extra(inode->ctime);
	if (HAS_FIELD(fs, extra, mtime_extra))
		disk->mtime_extra = time_extra(inode->mtime);
	if (HAS_FIELD(fs, extra, atime_extra))
		disk->atime_extra = time_extra(inode->atime);
	if (HAS_FIELD(fs, extra, crtime))
		disk->crtime = (u32)inode->btime.sec;
	if (HAS_FIELD(fs, extra, crtime_extra))
		disk->crtime_extra = time_extra(inode->btime);
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
		bool old = DEV_MAJOR(inode->rdev) < 256 && DEV_MINOR(inode->rdev) < 256;

		memset(node->data, 0, sizeof(node->data));
		node->data[old ? 0 : 1] = dev_encode(inode->rdev);
	}
	memcpy(disk->block, node->data, sizeof(node->data));
	if (fs->has_checksums) {
		crc = inode_checksum(fs, node->seed, raw, extra);
		disk->checksum_lo = (u16)crc;
		if (HAS_FIELD(fs, extra, checksum_hi))
			disk->checksum_hi = (u16)(crc >> 16);
	}
}

ASYNC_DEFINE(ext4_store)
{
	u32 offset;

	ASYNC_BEGIN;
	AWAIT(buffer_get, .fs = f->fs, .block = inode_place(f->fs, (u32)f->node->inode.number, &offset));
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(RESULT);
	f->buffer = (struct buffer *)RESULT;
	BUFFER_ACCESS(f->fs, f->buffer);
	inode_place(f->fs, (u32)f->node->inode.number, &offset);
	inode_encode(f->fs, f->node, f->buffer->data + offset, f->fresh);
	f->node->on_disk = true;
	buffer_dirty(f->fs, f->buffer);
	buffer_put(f->fs, f->buffer);
	f->node->changed = atomic_load(&f->fs->buffers.commits_begun) + 1;
	ASYNC_END;
}

/* How many extra bytes a new inode has. */
u16 inode_extra_bytes(const struct ext4 *fs)
{
	return fs->inode_size > EXT4_GOOD_OLD_INODE ? (u16)min(ISIZE_NOW, fs->inode_size - EXT4_GOOD_OLD_INODE) : 0;
}

ASYNC_DECLARE(ext4_write_inode, FS_INODE_ARGS);
ASYNC_DEFINE(ext4_write_inode)
{
	ASYNC_BEGIN;
	if (!node_of(f->inode)->on_disk || (f->inode->state & INODE_BAD))
		ASYNC_RETURN(0);
	AWAIT(ext4_begin, .fs = ext4_of(f->inode));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(ext4_store, .fs = ext4_of(f->inode), .node = node_of(f->inode));
	ext4_end(ext4_of(f->inode));
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* The last reference is gone. Unlinked: its blocks, attributes and number come free; the page cache is empty already. */
ASYNC_DECLARE(ext4_evict_inode, FS_INODE_ARGS struct ext4 *fs; struct ext4_node *node; long error;);
ASYNC_DEFINE(ext4_evict_inode)
{
	ASYNC_BEGIN;
	f->fs = ext4_of(f->inode);
	f->node = node_of(f->inode);
	if (f->node->delayed.root)
		delayed_drop(f->fs, f->node, 0, ~0ull);
	if (f->inode->nlink || (f->inode->state & INODE_BAD) || f->fs->read_only)
		ASYNC_RETURN(0);
	/* A short link's text is no tree, a device's number no block. */
	if (S_ISREG(f->inode->mode) || S_ISDIR(f->inode->mode) || (S_ISLNK(f->inode->mode) && !link_is_short(f->fs, f->node))) {
		f->inode->size = f->node->disk_size = 0;
		AWAIT(ext4_free_range, .inode = f->inode, .start = 0, .end = ~0ull);
		f->error = RESULT;
	}
	AWAIT(ext4_begin, .fs = f->fs);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (f->node->xattr_block)
		AWAIT(xattr_free, .fs = f->fs, .node = f->node);
	AWAIT(orphan_remove, .fs = f->fs, .node = f->node);
	f->node->dtime = (u32)(time_realtime() / NSEC_PER_SEC);
	AWAIT(ext4_store, .fs = f->fs, .node = f->node);
	if (!f->error)
		AWAIT(inode_free, .fs = f->fs, .number = (u32)f->inode->number, .directory = S_ISDIR(f->inode->mode));
	ext4_end(f->fs);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
