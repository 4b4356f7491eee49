/* SPDX-License-Identifier: MIT */
// kernel: mm/radix.c mm/pagecache.c mm/pagecache_read.c mm/pagecache_write.c mm/truncate.c mm/writeback.c mm/kiov.c fs/cached.c block/request.c block/crc.c block/direct.c fs/ext4/balloc.c fs/ext4/buffer.c fs/ext4/dir.c fs/ext4/extent.c fs/ext4/file.c fs/ext4/group.c fs/ext4/hash.c fs/ext4/htree.c fs/ext4/ialloc.c fs/ext4/indirect.c fs/ext4/inode.c fs/ext4/map.c fs/ext4/namei.c fs/ext4/orphan.c fs/ext4/super.c fs/ext4/xattr.c
// sources: tests/host/shim/fs.c
// cflags: -Ikernel/arch/arm64/include -Itests/host/shim -D_SYS_SELECT_H=1 -D__itimerspec_defined=1 -D__timeval_defined=1 -D_BITS_TIMEX_H=1 -include sys/stat.h
/*
 * ext4 on damaged images. A small image of mke2fs, with and without checksums, gets the input's bytes written over its metadata; then
 * it is mounted, everything in it is read, and something is done to everything. Nothing may crash, hang, or be accessed outside;
 * inodes must all go at the end.
 *
 * Input: the number of the image, then records of 2 bytes (which of the 8-byte pieces that are not zero) and 8 bytes to put there.
 */
#include "ext4-calls.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define IMAGES 3
#define PIECE  8
#define BUFFER 65536

static struct {
	char *data;
	size_t bytes;
	u32 *pieces; /* offsets of what is not zero */
	u32 count;
} images[IMAGES];
static char *work;
static u32 budget; /* calls left: a damaged directory may lead round in circles */

static void image_load(u32 i, const char *options)
{
	char path[] = "/tmp/lichen-fuzz-XXXXXX", command[2000];
	FILE *file;
	int fd = mkstemp(path);

	if (fd < 0)
		abort();
	close(fd);
	snprintf(command, sizeof(command),
		"set -e; d=$(mktemp -d); mkdir $d/a $d/a/b; seq 1 400 > $d/a/f; ln -s f $d/a/s; ln $d/a/f $d/hard;"
		"ln -s $(seq -s - 1 90) $d/long; for i in $(seq 1 60); do : > $d/a/b/some-name-that-is-long-$i; done;"
		"for i in 1 3 5 7 9 11 13 15 17 19; do dd if=/dev/zero bs=1024 count=1 seek=$i of=$d/holes conv=notrunc status=none;"
		" echo x | dd bs=1 seek=$((i * 1024)) of=$d/holes conv=notrunc status=none; done;"
		"truncate -s 1M %s; PATH=$PATH:/sbin:/usr/sbin mke2fs -q -F -t ext4 -b 1024 -N 120 -d $d %s %s;"
		"PATH=$PATH:/sbin:/usr/sbin e2fsck -fyD %s >/dev/null 2>&1 || true; rm -r $d",
		path, options, path, path);
	if (system(command))
		abort();
	file = fopen(path, "r");
	images[i].bytes = 1 << 20;
	images[i].data = malloc(images[i].bytes);
	if (!file || fread(images[i].data, 1, images[i].bytes, file) != images[i].bytes)
		abort();
	fclose(file);
	unlink(path);
	images[i].pieces = malloc(images[i].bytes / PIECE * sizeof(u32));
	for (u32 at = 0; at < images[i].bytes; at += PIECE)
		for (u32 k = 0; k < PIECE; k++)
			if (images[i].data[at + k]) {
				images[i].pieces[images[i].count++] = at;
				break;
			}
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	image_load(0, "-O ^has_journal,^metadata_csum,^64bit,uninit_bg");
	image_load(1, "-O ^has_journal,^metadata_csum");
	image_load(2, "-O ^has_journal,metadata_csum");
	work = malloc(1 << 20);
	shim_start(1);
	for (const struct initcall *call = shim_initcalls_start; call < shim_initcalls_end; call++)
		call->call();
	return 0;
}

/* --- everything is done to everything --- */

static struct name as_name(const char *text, u32 length)
{
	return (struct name){text, length, 0};
}

struct names {
	struct dir_emit to;
	u32 count;
	struct {
		char text[256];
		u32 length;
	} name[64];
};

static bool take(struct dir_emit *to, const char *name, u32 length, ino_t ino, u64 next, u8 type)
{
	struct names *names = container_of(to, struct names, to);

	if (names->count == 64 || !length || length > 255)
		return false;
	memcpy(names->name[names->count].text, name, length);
	names->name[names->count++].length = length;
	return true;
}

static void put(struct inode *inode)
{
	async_run(do_put, .inode = inode);
}

static void use_file(struct inode *inode)
{
	static char buffer[BUFFER];

	async_run(do_io, .inode = inode, .buf = buffer, .n = sizeof(buffer), .pos = 0);
	async_run(do_io, .inode = inode, .buf = buffer, .n = 4096, .pos = inode->size / 2);
	async_run(do_io, .inode = inode, .write = true, .buf = buffer, .n = 3000, .pos = 2000);
	async_run(do_io, .inode = inode, .write = true, .buf = buffer, .n = 3000, .pos = 70000);
	async_run(do_fallocate, .inode = inode, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, .pos = 1024, .n = 5000);
	async_run(do_fallocate, .inode = inode, .mode = 0, .pos = 90000, .n = 5000);
	async_run(do_fsync, .inode = inode, .data = false);
	async_run(do_size, .inode = inode, .size = 4000);
}

static void use_dir(struct inode *dir, u32 depth)
{
	struct names *names = calloc(1, sizeof(*names));
	struct inode *made, *inode;
	struct name name = as_name("made", 4), other = as_name("moved", 5);
	static char target[256];

	names->to.emit = take;
	async_run(do_readdir, .inode = dir, .to = &names->to);
	made = (struct inode *)async_run(do_create, .dir = dir, .name = &name, .mode = S_IFREG | 0644);
	if (!IS_ERR(made)) {
		use_file(made);
		async_run(do_rename, .from_dir = dir, .from = &name, .inode = made, .to_dir = dir, .to = &other);
		put(made);
	}
	for (u32 i = 0; i < names->count && budget; i++, budget--) {
		name = as_name(names->name[i].text, names->name[i].length);
		inode = (struct inode *)async_run(do_lookup, .dir = dir, .name = &name);
		if (IS_ERR(inode))
			continue;
		async_run(do_getxattr, .inode = inode, .key = "user.x", .buf = target, .bytes = sizeof(target));
		if (S_ISREG(inode->mode))
			use_file(inode);
		else if (S_ISLNK(inode->mode))
			async_run(do_readlink, .inode = inode, .buf = target, .bytes = sizeof(target));
		else if (S_ISDIR(inode->mode) && depth < 6 && inode != dir)
			use_dir(inode, depth + 1);
		if (i % 2)
			async_run(do_unlink, .dir = dir, .name = &name, .inode = inode);
		put(inode);
	}
	name = as_name("subdirectory", 12);
	made = (struct inode *)async_run(do_create, .dir = dir, .name = &name, .mode = S_IFDIR | 0755);
	if (!IS_ERR(made))
		put(made);
	free(names);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n);
int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	struct memory_disk disk;
	struct superblock *sb;
	static size_t before;
	u32 i;

	if (n < 1 + 2 + PIECE)
		return 0;
	if (!before) { /* the first mount starts tasks that stay */
		memcpy(work, images[0].data, images[0].bytes);
		memory_disk_init(&disk, work, images[0].bytes);
		disk.immediate = true;
		budget = 300;
		if (fs_mount(&disk, false, &sb))
			abort();
		use_dir(sb->root->inode, 0);
		if (fs_unmount(sb))
			abort();
		before = shim_allocated();
	}
	i = data[0] % IMAGES;
	memcpy(work, images[i].data, images[i].bytes);
	for (size_t at = 1; at + 2 + PIECE <= n; at += 2 + PIECE)
		memcpy(work + images[i].pieces[(data[at] | data[at + 1] << 8) % images[i].count], data + at + 2, PIECE);
	memory_disk_init(&disk, work, images[i].bytes);
	disk.immediate = true;
	budget = 300;
	if (!fs_mount(&disk, data[0] & 0x40, &sb)) {
		use_dir(sb->root->inode, 0);
		async_run(do_sync, .sb = sb);
		fs_unmount(sb);
	}
	async_run(do_idle, .n = 4); /* tasks that were told to end */
	if (shim_allocated() > before) {
		fprintf(stderr, "%zu objects are left, %zu before\n", shim_allocated(), before);
		abort();
	}
	return 0;
}
