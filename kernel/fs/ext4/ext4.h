/* SPDX-License-Identifier: MIT */
/*
 * ext4, read and write. The files, from the disk up:
 *
 *     format.h    what lies on the disk          buffer.c   metadata blocks, operations, commits
 *     super.c     mounting, features, sync       group.c    group descriptors and bitmaps, their checksums
 *     balloc.c    blocks                         ialloc.c   inodes
 *     extent.c    extent trees; indirect.c: classic block maps (read, freed)
 *     map.c       file blocks: lookup, allocation, delayed allocation; the page cache's operations
 *     inode.c     inodes to and from the disk    file.c     open files
 *     dir.c       directory blocks               htree.c    hashed directories; hash.c
 *     namei.c     names                          orphan.c   unlinked but open;  xattr.c
 *
 * There is no journal yet: its presence is tolerated when it is empty, and it stays as it is.
 *
 * Lock order: inode->lock, page locks and writeback; ext4_begin; node->map_lock; fs->alloc_lock; a buffer.
 * Everything that is read from the disk is checked before it is believed: ext4_corrupt() logs and yields -EUCLEAN.
 */
#ifndef EXT4_EXT4_H
#define EXT4_EXT4_H

#include <lichen/block.h>
#include <lichen/printk.h>
#include <lichen/rbtree.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/vfs.h>
#include <asm/errno.h>
#include "buffer.h"
#include "format.h"

#define EFSCORRUPTED EUCLEAN

struct ext4_group {
	u64 block_bitmap, inode_bitmap, inode_table;
	u32 free_blocks, free_inodes, used_dirs, itable_unused;
	u16 flags;
	bool dirty;	      /* descriptor and bitmap checksums are computed at the commit; fs->alloc_lock */
	bool bad;	      /* damaged: nothing is allocated here */
	bool blocks_checked, inodes_checked;
	struct buffer *blocks_buffer, *inodes_buffer; /* bitmaps, once changed, until committed */
};

struct ext4 {
	struct superblock *sb;
	struct block_device *device;
	struct buffer_cache buffers;
	struct buffer *super_buffer;
	struct ext4_super *super; /* in super_buffer */
	u32 block_size, block_bits, sectors_per_block;
	u64 blocks;
	u32 groups, blocks_per_group, inodes_per_group, inodes;
	u32 inode_size, desc_size, descs_per_block;
	u32 first_data_block, first_ino;
	u32 compat, incompat, ro_compat;
	bool has_checksums; /* METADATA_CSUM */
	u32 seed;
	u32 hash_seed[4];
	bool hash_unsigned;
	u8 hash_default;
	bool read_only; /* now; ext4_begin refuses */
	bool was_valid; /* the state on the disk, before it was mounted for writing */
	u64 overhead;	/* blocks of metadata, for statfs */
	bool failed;	/* an error was found: nothing is written any more */
	u32 desc_blocks;
	bool groups_dirty;
	struct buffer **descs;
	struct ext4_group *group;
	struct mutex alloc_lock; /* bitmaps, groups, `super`'s counters */
	_Atomic u64 free_blocks, free_inodes;
	_Atomic u64 reserved;	/* blocks that delayed data will take */
	u64 margin;		/* kept free of delayed data: extent tree blocks */
	u64 root_blocks;	/* kept for root */
	u32 last_group;		/* where the last new directory went */
	struct mutex orphan_lock;
	struct list orphans; /* ext4_node.orphan_node, newest first: the order on the disk */
	struct task *flusher;
	_Atomic bool unmounting;
	struct wait_queue flusher_wait;
	u32 error_count;
};

/* A range of delayed blocks: dirty pages without blocks, for which space is reserved. */
struct ext4_delayed {
	struct rb_node node;
	u32 start, end;
};

struct ext4_node {
	struct inode inode; /* first */
	u32 flags, generation;
	u16 extra_isize;
	u64 xattr_block;
	u32 data[EXT4_N_BLOCKS]; /* the root of the extent tree, block pointers, or a short symlink */
	u32 seed;	 /* of checksums of what belongs to it */
	u64 disk_size;	 /* what the disk may say: data up to there was written */
	struct rwlock map_lock; /* the tree, `delayed` */
	struct rb_tree delayed;
	struct ext4_delayed *last_delayed;
	u32 delayed_blocks;
	u32 lost_delayed; /* reserved, but in no range: memory was out */
	u64 goal;	 /* where the next block should lie; 0: ask the group */
	u64 hint_start, hint_end; /* blocks that are known to be mapped or delayed: skips lookups */
	struct list orphan_node;
	u32 dtime;	 /* when it was freed; in the list of orphans: the next one */
	u64 changed;	 /* the commit that brings its inode to the disk */
	u64 layout_changed; /* the same for what fdatasync needs: blocks and size */
	bool on_disk; /* its inode was once written whole */
	bool dir_indexed_bad; /* its index is damaged: read linearly, not changed */
	u32 dir_free_hint; /* block where an entry found room last */
};

static inline struct ext4 *ext4_of(const struct inode *inode)
{
	return inode->sb->private;
}
static inline struct ext4_node *node_of(const struct inode *inode)
{
	return (struct ext4_node *)(uintptr_t)inode;
}

/* The disk says something that cannot be: a log line, writing ends, and -EUCLEAN. */
long ext4_corrupt(struct ext4 *fs, const char *format, ...) __printf(2, 3);
/* A write failed: the same with -EIO. */
long ext4_write_failed(struct ext4 *fs, const char *what);

static inline bool block_valid(const struct ext4 *fs, u64 block, u64 count)
{
	return block > fs->first_data_block && block < fs->blocks && count <= fs->blocks - block;
}

/* --- group.c --- */
ASYNC_DECLARE(groups_load, struct ext4 *fs; u32 i; struct buffer *buffer;);
void groups_free(struct ext4 *fs);
bool group_has_super(const struct ext4 *fs, u32 group);
static inline u64 group_first_block(const struct ext4 *fs, u32 group)
{
	return fs->first_data_block + (u64)group * fs->blocks_per_group;
}
static inline u32 group_blocks(const struct ext4 *fs, u32 group)
{
	return group == fs->groups - 1 ? (u32)(fs->blocks - group_first_block(fs, group)) : fs->blocks_per_group;
}
/* The bitmap's buffer (as long), checked; uninitialised ones are made. -EUCLEAN marks the group bad. fs->alloc_lock held. */
ASYNC_DECLARE(group_block_bitmap, struct ext4 *fs; u32 group; bool change; struct buffer *buffer;);
ASYNC_DECLARE(group_inode_bitmap, struct ext4 *fs; u32 group; bool change; struct buffer *buffer;);
/* A group's counts or bitmaps changed, in an operation; fs->alloc_lock held. */
void group_dirty(struct ext4 *fs, u32 group);
/* At the commit: descriptors of dirty groups, their checksums, the superblock's counters. No operation runs. */
void groups_seal(struct ext4 *fs);
void super_seal(struct ext4 *fs);
u16 crc16(u16 crc, const void *bytes, size_t n);

/* --- balloc.c --- in an operation --- */
/*
 * Up to `want` consecutive blocks, near `goal`: their number in RESULT, the first in *first. -ENOSPC, -EIO, -EUCLEAN. `reserved`: they
 * were reserved before (delayed allocation).
 */
ASYNC_DECLARE(blocks_alloc, struct ext4 *fs; u64 goal; u32 want; bool reserved; u64 *first; u32 group; u32 start; u32 tried; u32 pass;
	u32 wanted; struct buffer *bitmap; u32 found; u32 count; long error;);
ASYNC_DECLARE(blocks_free, struct ext4 *fs; u64 first; u64 count; bool metadata; struct buffer *bitmap; u32 group; u32 n;);
/* For delayed data: true, and n blocks are set aside. */
bool blocks_reserve(struct ext4 *fs, u64 n);
void blocks_unreserve(struct ext4 *fs, u64 n);

/* --- ialloc.c --- in an operation --- */
/* A free inode number (as long) for an inode of this mode in `dir`, and *generation. -ENOSPC. */
ASYNC_DECLARE(inode_alloc, struct ext4 *fs; struct inode *dir; mode_t mode; u32 group; u32 tried; u32 bit; struct buffer *bitmap;);
ASYNC_DECLARE(inode_free, struct ext4 *fs; u32 number; bool directory; struct buffer *bitmap; u32 group;);

/* --- inode.c --- */
/* The inode with a reference (as long), or -errno. -ESTALE: it is free. */
ASYNC_DECLARE(ext4_iget, struct ext4 *fs; u32 number; bool orphan; struct buffer *buffer; struct ext4_node *node; struct inode *inode; long error;);
/* A node in memory for a new inode: NULL without memory. */
struct ext4_node *node_new(struct ext4 *fs, u32 number);
/* Writes the inode into its table's buffer, in an operation: 0 or -errno. */
ASYNC_DECLARE(ext4_store, struct ext4 *fs; struct ext4_node *node; bool fresh; struct buffer *buffer;);
/* Where an inode lies: its block, *offset in it. */
u64 inode_place(const struct ext4 *fs, u32 number, u32 *offset);
extern const struct inode_ops ext4_file_inode_ops, ext4_dir_inode_ops, ext4_symlink_inode_ops, ext4_special_inode_ops;
extern const struct file_ops ext4_file_ops, ext4_dir_ops;
extern const struct page_cache_ops ext4_page_ops;
extern const struct async_fn ext4_write_inode_fn, ext4_evict_inode_fn, ext4_setattr_fn, ext4_fsync_fn;
void ext4_free_inode(struct inode *inode);
/* Operations and checksum seed by what mode and generation say: for new inodes. */
void ext4_set_ops(struct ext4_node *node);
u16 inode_extra_bytes(const struct ext4 *fs);
static inline void ext4_layout_changed(struct ext4 *fs, struct ext4_node *node)
{
	node->layout_changed = atomic_load(&fs->buffers.commits_begun) + 1;
}
#define MAP_READ_LOCK(n)                                                                           \
	do {                                                                                       \
		if (!rwlock_try_read(&(n)->map_lock))                                              \
			AWAIT(rwlock_read, .lock = &(n)->map_lock);                                \
	} while (0)
#define MAP_WRITE_LOCK(n)                                                                          \
	do {                                                                                       \
		if (!rwlock_try_write(&(n)->map_lock, self))                                       \
			AWAIT(rwlock_write, .lock = &(n)->map_lock);                               \
	} while (0)

/* --- extent.c, indirect.c --- node->map_lock held --- */
enum map_state { MAP_HOLE, MAP_WRITTEN, MAP_UNWRITTEN };
struct ext4_map {
	u32 logical, length;	/* blocks; a hole's length goes up to the next extent */
	u64 physical;
	u32 state;
};
/* What lies at `logical`: *map begins there. Without I/O: 0, -EAGAIN, or an error. */
long extent_find_fast(struct ext4 *fs, struct ext4_node *node, u32 logical, struct ext4_map *map);
ASYNC_DECLARE(extent_find, struct ext4 *fs; struct ext4_node *node; u32 logical; struct ext4_map *map; struct buffer *buffer;
	u32 depth; u32 limit; u64 child;);
/* Adds blocks to a hole, in an operation, lock held for writing. */
ASYNC_DECLARE(extent_insert, struct ext4 *fs; struct ext4_node *node; u32 logical; u64 physical; u32 length; bool unwritten;
	struct buffer *path[EXT4_EXTENT_DEPTH + 1]; u32 depth; u32 level; u64 block; struct buffer *buffer; struct buffer *second; long error; u32 rounds; u64 goal;);
/* Takes [start, end) out; the blocks are freed if free_blocks. Stops after a bounded amount of work with -EAGAIN: begin a new operation, call again. */
ASYNC_DECLARE(extent_remove, struct ext4 *fs; struct ext4_node *node; u32 start; u64 end; bool keep_blocks; u32 logical; struct buffer *path[EXT4_EXTENT_DEPTH + 1];
	u32 depth; u32 level; u32 rounds; u64 block; u32 count; u32 tail_logical; u64 tail_block; u32 tail_length; bool tail_unwritten; long error;);
/* [start, start + length), all unwritten, were written. */
ASYNC_DECLARE(extent_written, struct ext4 *fs; struct ext4_node *node; u32 start; u32 length; struct ext4_map map; u32 at; u32 n; u64 physical;);
void extent_init(struct ext4_node *node);
long extent_root_check(struct ext4 *fs, struct ext4_node *node);
ASYNC_DECLARE(indirect_find, struct ext4 *fs; struct ext4_node *node; u32 logical; struct ext4_map *map; struct buffer *buffer;
	u32 level; u64 index; u64 block; u64 span;);
/* Frees all blocks of a block-mapped file. */
ASYNC_DECLARE(indirect_free, struct ext4 *fs; struct ext4_node *node; u32 i; struct buffer *path[3]; u32 at[3]; u32 level; u64 block;);
static inline bool has_extents(const struct ext4_node *node)
{
	return node->flags & EXT4_EXTENTS_FL;
}

/* --- map.c --- */
/* extent_find or indirect_find, fast if possible. map_lock held (any). */
ASYNC_DECLARE(ext4_map_find, struct ext4 *fs; struct ext4_node *node; u32 logical; struct ext4_map *map;);
/*
 * Blocks of [logical, +length) as *map says at logical, holes filled (unwritten if asked): in an operation, map_lock held for
 * writing. `reserved`: by delayed allocation. -ENOSPC and others.
 */
ASYNC_DECLARE(ext4_map_alloc, struct ext4 *fs; struct ext4_node *node; u32 logical; u32 length; bool unwritten; struct ext4_map *map; u32 delayed;
	u64 first; long error;);
/* Blocks of directories: the buffer (as long) of block `logical`; -EUCLEAN for a hole. */
ASYNC_DECLARE(ext4_dir_block, struct inode *dir; u32 logical; struct ext4_map map; struct ext4_node *node;);
/* A new block at the end of a directory, zeroed, size extended, in an operation: buffer. */
ASYNC_DECLARE(ext4_dir_append, struct inode *dir; u32 logical; struct ext4_map map; long error;);
/* Frees blocks from byte `size` on; begins operations itself. The page cache was truncated. 0 or -errno. */
ASYNC_DECLARE(ext4_free_blocks_from, struct inode *inode; u64 size; u32 start; long error;);
/* The same for a range of whole blocks. */
ASYNC_DECLARE(ext4_free_range, struct inode *inode; u32 start; u64 end; bool begun; long error;);
/* Blocks [start, start + length) that were unwritten have their data now, and the file is at least `size` long on the disk. */
ASYNC_DECLARE(ext4_blocks_written, struct inode *inode; u32 start; u32 length; u64 size; long error;);
void delayed_drop(struct ext4 *fs, struct ext4_node *node, u32 start, u64 end);
static inline u64 blocks_of(const struct ext4 *fs, u64 bytes)
{
	return (bytes + fs->block_size - 1) >> fs->block_bits;
}

/* --- dir.c, htree.c, hash.c --- */
struct dir_slot { /* where an entry is */
	struct buffer *buffer;
	u32 block;  /* logical */
	u32 offset; /* in the buffer */
};
/* An entry of a checked block, at `offset`. */
static inline struct ext4_dir_entry *dir_entry(const struct buffer *buffer, u32 offset)
{
	return (struct ext4_dir_entry *)(buffer->data + offset);
}
static inline u32 dir_entry_bytes(u32 name_len)
{
	return (8 + name_len + 3) & ~3u;
}
u32 dir_rec_len(const struct ext4 *fs, const struct ext4_dir_entry *entry);
void dir_set_rec_len(const struct ext4 *fs, struct ext4_dir_entry *entry, u32 bytes);
/* Bytes of a leaf block that entries may use. */
u32 dir_room(const struct ext4 *fs);
/* Entries and checksum are sound: 0 or -EUCLEAN. Once a buffer. */
long dir_check(struct ext4 *fs, struct ext4_node *dir, struct buffer *buffer, u32 logical);
/* In one leaf: the offset of the entry, or -ENOENT. */
long dir_search(struct ext4 *fs, const struct buffer *buffer, const struct name *name);
/* The checksum of an empty leaf's tail, and one entry over all of the rest. */
void dir_leaf_init(struct ext4 *fs, struct ext4_node *dir, struct buffer *buffer);
/* Puts an entry into a leaf: 0 or -ENOSPC. The caller dirties. */
long dir_insert(struct ext4 *fs, struct buffer *buffer, const char *name, u32 length, u32 number, u8 type);
/* Takes the entry at `offset` away. */
void dir_delete(struct ext4 *fs, struct buffer *buffer, u32 offset);
void dir_seal(struct ext4 *fs, struct buffer *buffer);
u8 dir_file_type(mode_t mode);

/* inode->lock of the directory held. 0 and *slot with a referenced buffer, or -ENOENT and others. */
ASYNC_DECLARE(dir_find, struct inode *dir; const struct name *name; struct dir_slot *slot; u32 block; u32 blocks; u32 begun; long error;);
/* In an operation: adds an entry; the name is not there. 0, -ENOSPC, ... */
ASYNC_DECLARE(dir_add, struct inode *dir; const struct name *name; u32 number; u8 type; u32 block; u32 blocks; struct buffer *buffer; long error;);
/* In an operation: removes what dir_find found. */
ASYNC_DECLARE(dir_remove, struct inode *dir; struct dir_slot *slot;);
/* 1: nothing but . and .. is in it; 0; -errno. */
ASYNC_DECLARE(dir_is_empty, struct inode *dir; u32 block; u32 blocks;);
extern const struct async_fn ext4_readdir_fn;

struct dx_hash {
	u32 hash, minor;
};
/* 0, or -EUCLEAN for a version that does not exist. */
long dx_hash(const struct ext4 *fs, u32 version, const char *name, u32 length, struct dx_hash *hash);
bool dir_indexed(const struct ext4 *fs, const struct inode *dir);
#define DX_LEVELS 3
struct dx_path { /* from the root down: the index blocks, and the entry chosen in each */
	struct buffer *buffer;
	struct ext4_dx_entry *entries, *at;
	u32 block;
};
struct dx_walk {
	struct dx_path level[DX_LEVELS];
	u32 levels;
	u32 version;
	struct dx_hash hash;
};
/* As dir_find, by the index. */
ASYNC_DECLARE(dx_find, struct inode *dir; const struct name *name; struct dir_slot *slot; struct dx_walk walk; long error;);
ASYNC_DECLARE(dx_add, struct inode *dir; const struct name *name; u32 number; u8 type; struct dx_walk walk; struct buffer *leaf;
	struct buffer *fresh; u32 fresh_block; long error; u32 level; u32 rounds; struct buffer *second;);
/* A linear directory of one block becomes indexed: in an operation. */
ASYNC_DECLARE(dx_convert, struct inode *dir; struct buffer *root; struct buffer *leaf; long error;);
void dx_seal(struct ext4 *fs, struct buffer *buffer);
/* Is this block of an indexed directory an index node (not a leaf)? Checks it. */
bool dx_is_index(const struct ext4 *fs, const struct buffer *buffer, u32 logical);
long dx_check(struct ext4 *fs, struct ext4_node *dir, struct buffer *buffer, u32 logical);

/* --- orphan.c --- in an operation --- */
ASYNC_DECLARE(orphan_add, struct ext4 *fs; struct ext4_node *node;);
ASYNC_DECLARE(orphan_remove, struct ext4 *fs; struct ext4_node *node; struct ext4_node *previous; u32 next;);
/* At mount: frees what was unlinked but open at the last power-off. */
ASYNC_DECLARE(orphans_clean, struct ext4 *fs; u32 number; u32 next; struct inode *inode; u32 cleaned; struct inode *file; u32 i; u32 at;
	struct buffer *buffer; struct ext4_map map; u32 guard; long error;);

/* --- xattr.c --- */
extern const struct async_fn ext4_getxattr_fn;
/* In an operation: drops a reference to the inode's block of attributes. */
ASYNC_DECLARE(xattr_free, struct ext4 *fs; struct ext4_node *node; struct buffer *buffer; u64 block;);
long xattr_check(struct ext4 *fs, struct buffer *buffer);
void xattr_seal(struct ext4 *fs, struct buffer *buffer);

/* extent.c: a tree block's checksum. */
void extent_seal(struct ext4 *fs, struct buffer *buffer);
/* buffer.c calls it at the commit. */
static inline void buffer_seal(struct ext4 *fs, struct buffer *buffer)
{
	if (buffer->kind == KIND_EXTENTS)
		extent_seal(fs, buffer);
	else if (buffer->kind == KIND_DIRECTORY)
		dir_seal(fs, buffer);
	else if (buffer->kind == KIND_DX_ROOT || buffer->kind == KIND_DX_NODE)
		dx_seal(fs, buffer);
	else if (buffer->kind == KIND_XATTR)
		xattr_seal(fs, buffer);
}

#endif
