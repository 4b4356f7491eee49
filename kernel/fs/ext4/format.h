/* SPDX-License-Identifier: MIT */
/* What lies on an ext4 disk: little endian throughout. Names follow the kernel's documentation of the format. */
#ifndef EXT4_FORMAT_H
#define EXT4_FORMAT_H

#include <lichen/types.h>

#define EXT4_MAGIC	0xef53
#define EXT4_ROOT_INO	2
#define EXT4_LABEL_BYTES 16

struct ext4_super {
	u32 inodes_count, blocks_count_lo, r_blocks_count_lo, free_blocks_count_lo;
	u32 free_inodes_count, first_data_block, log_block_size, log_cluster_size;
	u32 blocks_per_group, clusters_per_group, inodes_per_group, mtime;
	u32 wtime;
	u16 mnt_count, max_mnt_count, magic, state, errors, minor_rev_level;
	u32 lastcheck, checkinterval, creator_os, rev_level;
	u16 def_resuid, def_resgid;
	u32 first_ino;
	u16 inode_size, block_group_nr;
	u32 feature_compat, feature_incompat, feature_ro_compat;
	u8 uuid[16];
	char volume_name[EXT4_LABEL_BYTES];
	char last_mounted[64];
	u32 algorithm_usage_bitmap;
	u8 prealloc_blocks, prealloc_dir_blocks;
	u16 reserved_gdt_blocks;
	u8 journal_uuid[16];
	u32 journal_inum, journal_dev, last_orphan;
	u32 hash_seed[4];
	u8 def_hash_version, jnl_backup_type;
	u16 desc_size;
	u32 default_mount_opts, first_meta_bg, mkfs_time;
	u32 jnl_blocks[17];
	u32 blocks_count_hi, r_blocks_count_hi, free_blocks_count_hi;
	u16 min_extra_isize, want_extra_isize;
	u32 flags;
	u16 raid_stride, mmp_interval;
	u64 mmp_block;
	u32 raid_stripe_width;
	u8 log_groups_per_flex, checksum_type, encryption_level, reserved_pad;
	u64 kbytes_written;
	u32 snapshot_inum, snapshot_id;
	u64 snapshot_r_blocks_count;
	u32 snapshot_list;
	u32 error_count, first_error_time, first_error_ino;
	u64 first_error_block;
	u8 first_error_func[32];
	u32 first_error_line, last_error_time, last_error_ino, last_error_line;
	u64 last_error_block;
	u8 last_error_func[32];
	u8 mount_opts[64];
	u32 usr_quota_inum, grp_quota_inum, overhead_clusters;
	u32 backup_bgs[2];
	u8 encrypt_algos[4], encrypt_pw_salt[16];
	u32 lpf_ino, prj_quota_inum, checksum_seed;
	u8 wtime_hi, mtime_hi, mkfs_time_hi, lastcheck_hi, first_error_time_hi, last_error_time_hi;
	u8 first_error_errcode, last_error_errcode;
	u16 encoding, encoding_flags;
	u32 orphan_file_inum;
	u32 reserved[94];
	u32 checksum;
} __packed;
_Static_assert(sizeof(struct ext4_super) == 1024, "the superblock has 1024 bytes");

#define EXT4_VALID_FS  1 /* state: unmounted cleanly */
#define EXT4_ERROR_FS  2
#define EXT4_ORPHAN_FS 4
#define EXT4_FLAGS_SIGNED_HASH	 1
#define EXT4_FLAGS_UNSIGNED_HASH 2

#define COMPAT_HAS_JOURNAL   0x4u
#define COMPAT_DIR_INDEX     0x20u
#define COMPAT_SPARSE_SUPER2 0x200u
#define COMPAT_ORPHAN_FILE   0x1000u

#define INCOMPAT_FILETYPE   0x2u
#define INCOMPAT_RECOVER    0x4u
#define INCOMPAT_META_BG    0x10u
#define INCOMPAT_EXTENTS    0x40u
#define INCOMPAT_64BIT	    0x80u
#define INCOMPAT_FLEX_BG    0x200u
#define INCOMPAT_CSUM_SEED  0x2000u
#define INCOMPAT_LARGEDIR   0x4000u
#define INCOMPAT_SUPPORTED                                                                         \
	(INCOMPAT_FILETYPE | INCOMPAT_META_BG | INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG |   \
		INCOMPAT_CSUM_SEED | INCOMPAT_LARGEDIR)

#define RO_COMPAT_SPARSE_SUPER	 0x1u
#define RO_COMPAT_LARGE_FILE	 0x2u
#define RO_COMPAT_HUGE_FILE	 0x8u
#define RO_COMPAT_GDT_CSUM	 0x10u
#define RO_COMPAT_DIR_NLINK	 0x20u
#define RO_COMPAT_EXTRA_ISIZE	 0x40u
#define RO_COMPAT_BIGALLOC	 0x200u
#define RO_COMPAT_METADATA_CSUM	 0x400u
#define RO_COMPAT_ORPHAN_PRESENT 0x10000u
#define RO_COMPAT_SUPPORTED                                                                        \
	(RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE | RO_COMPAT_HUGE_FILE | RO_COMPAT_GDT_CSUM |      \
		RO_COMPAT_DIR_NLINK | RO_COMPAT_EXTRA_ISIZE | RO_COMPAT_METADATA_CSUM | RO_COMPAT_ORPHAN_PRESENT)

/* The first 32 bytes alone without 64BIT. */
struct ext4_group_desc {
	u32 block_bitmap_lo, inode_bitmap_lo, inode_table_lo;
	u16 free_blocks_lo, free_inodes_lo, used_dirs_lo, flags;
	u32 exclude_bitmap_lo;
	u16 block_bitmap_csum_lo, inode_bitmap_csum_lo, itable_unused_lo, checksum;
	u32 block_bitmap_hi, inode_bitmap_hi, inode_table_hi;
	u16 free_blocks_hi, free_inodes_hi, used_dirs_hi, itable_unused_hi;
	u32 exclude_bitmap_hi;
	u16 block_bitmap_csum_hi, inode_bitmap_csum_hi;
	u32 reserved;
} __packed;
_Static_assert(sizeof(struct ext4_group_desc) == 64, "a group descriptor has 64 bytes");

#define BG_INODE_UNINIT 1
#define BG_BLOCK_UNINIT 2
#define BG_INODE_ZEROED 4

#define EXT4_N_BLOCKS 15

struct ext4_disk_inode {
	u16 mode, uid;
	u32 size_lo, atime, ctime, mtime, dtime;
	u16 gid, links_count;
	u32 blocks_lo, flags, version;
	u32 block[EXT4_N_BLOCKS];
	u32 generation, file_acl_lo, size_high, obso_faddr;
	u16 blocks_high, file_acl_high, uid_high, gid_high, checksum_lo, reserved;
	/* beyond the first 128 bytes: as far as extra_isize says */
	u16 extra_isize, checksum_hi;
	u32 ctime_extra, mtime_extra, atime_extra, crtime, crtime_extra, version_hi, projid;
} __packed;
_Static_assert(sizeof(struct ext4_disk_inode) == 160, "the known part of an inode has 160 bytes");
#define EXT4_GOOD_OLD_INODE 128

#define EXT4_IMMUTABLE_FL  0x10u
#define EXT4_APPEND_FL	   0x20u
#define EXT4_INDEX_FL	   0x1000u
#define EXT4_HUGE_FILE_FL  0x40000u
#define EXT4_EXTENTS_FL	   0x80000u
#define EXT4_EA_INODE_FL   0x200000u
#define EXT4_INLINE_DATA_FL 0x10000000u
/* What a new inode inherits of its directory. */
#define EXT4_INHERITED_FL  (0x1u | 0x2u | 0x4u | 0x8u | 0x40u | 0x80u | 0x400u | 0x4000u | 0x10000u)

#define EXT4_EXTENT_MAGIC   0xf30a
#define EXT4_EXTENT_DEPTH   5
#define EXT4_EXTENT_LENGTH  32768u /* of a written extent; an unwritten one has one less */

struct ext4_extent_header {
	u16 magic, entries, max, depth;
	u32 generation;
} __packed;
struct ext4_extent {
	u32 block;
	u16 len; /* > EXT4_EXTENT_LENGTH: unwritten, of len - EXT4_EXTENT_LENGTH */
	u16 start_hi;
	u32 start_lo;
} __packed;
struct ext4_extent_index {
	u32 block, leaf_lo;
	u16 leaf_hi, unused;
} __packed;

struct ext4_dir_entry {
	u32 inode;
	u16 rec_len;
	u8 name_len, file_type;
	char name[];
} __packed;
struct ext4_dir_tail {
	u32 zero1;
	u16 rec_len;
	u8 zero2, reserved_ft; /* 0xde */
	u32 checksum;
} __packed;
#define EXT4_TAIL_TYPE 0xde
#define EXT4_DIR_PAD   4u

struct ext4_dx_entry {
	u32 hash, block;
} __packed;
/* Lies over the hash of the first entry. */
struct ext4_dx_countlimit {
	u16 limit, count;
} __packed;
/* In the root after the entries of "." and "..". */
struct ext4_dx_info {
	u32 zero;
	u8 hash_version, info_length, indirect_levels, unused_flags;
} __packed;
struct ext4_dx_tail {
	u32 reserved, checksum;
} __packed;
enum { HASH_LEGACY, HASH_HALF_MD4, HASH_TEA, HASH_LEGACY_UNSIGNED, HASH_HALF_MD4_UNSIGNED, HASH_TEA_UNSIGNED };

struct ext4_xattr_entry {
	u8 name_len, name_index;
	u16 value_offs;
	u32 value_inum, value_size, hash;
	char name[];
} __packed;
struct ext4_xattr_header {
	u32 magic, refcount, blocks, hash, checksum, reserved[3];
} __packed;
#define EXT4_XATTR_MAGIC 0xea020000u

struct ext4_orphan_tail {
	u32 magic, checksum;
} __packed;
#define EXT4_ORPHAN_MAGIC 0x0b10ca04u

static inline u64 wide(u32 low, u32 high)
{
	return (u64)high << 32 | low;
}

#endif
