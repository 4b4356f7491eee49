/* SPDX-License-Identifier: MIT */
// kernel: mm/radix.c mm/pagecache.c mm/pagecache_read.c mm/pagecache_write.c mm/truncate.c mm/writeback.c mm/kiov.c fs/cached.c block/request.c block/crc.c block/direct.c fs/ext4/balloc.c fs/ext4/buffer.c fs/ext4/dir.c fs/ext4/extent.c fs/ext4/file.c fs/ext4/group.c fs/ext4/hash.c fs/ext4/htree.c fs/ext4/ialloc.c fs/ext4/indirect.c fs/ext4/inode.c fs/ext4/map.c fs/ext4/namei.c fs/ext4/orphan.c fs/ext4/super.c fs/ext4/xattr.c
// sources: tests/host/shim/fs.c
// cflags: -Ikernel/arch/arm64/include -Itests/host/shim -D_SYS_SELECT_H=1 -D__itimerspec_defined=1 -D__timeval_defined=1 -D_BITS_TIMEX_H=1 -include sys/stat.h
/*
 * ext4 against a model, on images that mke2fs makes: random operations on files and directories, with writeback, commits and eviction
 * going on; then the real e2fsck, a new mount, and every name and byte compared. ext4 SEED OPERATIONS repeats one run.
 */
#include "check.h"
#include "ext4-calls.h"
#include <stdlib.h>
#include <unistd.h>

/* What follows makes no sense once one failed. */
#undef CHECK
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define NODES	 600
#define ENTRIES	 3000
#define SIZE_MAX_ 400000u

/* --- the model --- */

struct node {
	char type; /* 0 free, 'd', 'f', 'l', 'n' */
	u32 nlink, size;
	char *data; /* of files, and links */
};
struct entry {
	int dir, node; /* node < 0: free */
	char name[64];
};
static struct node nodes[NODES];
static struct entry entries[ENTRIES];
static struct superblock *sb;
static u32 names;

static int node_take(char type)
{
	for (int i = 1; i < NODES; i++)
		if (!nodes[i].type) {
			nodes[i] = (struct node){.type = type, .nlink = 1};
			if (type == 'f')
				nodes[i].data = calloc(1, SIZE_MAX_);
			return i;
		}
	return -1;
}

static void node_drop(int i)
{
	if (--nodes[i].nlink == 0) {
		free(nodes[i].data);
		nodes[i] = (struct node){0};
	}
}

static int entry_take(int dir, int node, const char *name)
{
	for (int i = 0; i < ENTRIES; i++)
		if (entries[i].node < 0) {
			entries[i].dir = dir;
			entries[i].node = node;
			snprintf(entries[i].name, sizeof(entries[i].name), "%s", name);
			return i;
		}
	return -1;
}

/* A random entry of one of these types, or -1. */
static int entry_pick(const char *types)
{
	for (int tries = 0; tries < 200; tries++) {
		int i = rand() % ENTRIES;

		if (entries[i].node >= 0 && strchr(types, nodes[entries[i].node].type))
			return i;
	}
	return -1;
}

static int dir_pick(void)
{
	int e = rand() % 3 ? entry_pick("d") : -1;

	return e < 0 ? 0 : entries[e].node;
}

static bool dir_in_use(int dir)
{
	for (int i = 0; i < ENTRIES; i++)
		if (entries[i].node >= 0 && entries[i].dir == dir)
			return true;
	return false;
}

static int entry_of_dir(int dir)
{
	for (int i = 0; i < ENTRIES; i++)
		if (entries[i].node == dir)
			return i;
	return -1;
}

static bool dir_below(int dir, int above)
{
	while (dir) {
		if (dir == above)
			return true;
		dir = entries[entry_of_dir(dir)].dir;
	}
	return false;
}

/* --- the calls --- */

static void put(struct inode *inode)
{
	async_run(do_put, .inode = inode);
}

static struct name as_name(const char *text)
{
	return (struct name){text, (u32)strlen(text), 0};
}

static struct inode *lookup(struct inode *dir, const char *text)
{
	struct name name = as_name(text);

	return (struct inode *)async_run(do_lookup, .dir = dir, .name = &name);
}

/* The directory's inode, with a reference. */
static struct inode *open_dir(int dir)
{
	struct inode *parent, *inode;
	int e;

	if (!dir) {
		inode_get(sb->root->inode);
		return sb->root->inode;
	}
	e = entry_of_dir(dir);
	CHECK(e >= 0);
	parent = open_dir(entries[e].dir);
	inode = lookup(parent, entries[e].name);
	CHECK(!IS_ERR(inode));
	put(parent);
	return inode;
}

static struct inode *open_entry(int e)
{
	struct inode *dir = open_dir(entries[e].dir), *inode = lookup(dir, entries[e].name);

	if (IS_ERR(inode))
		fprintf(stderr, "%s: error %ld\n", entries[e].name, PTR_ERR(inode));
	CHECK(!IS_ERR(inode));
	put(dir);
	return inode;
}

static void new_name(char *text, size_t bytes)
{
	static const char fill[] = "aeinrstlou-0123456789";
	u32 n = (u32)snprintf(text, bytes, "n%u", names++), more = (u32)rand() % 40;

	while (more-- && n < bytes - 1)
		text[n++] = fill[(u32)rand() % (sizeof(fill) - 1)];
	text[n] = 0;
}

/* --- operations --- */

static bool full; /* the image is: errors are right */

static bool fine(long result)
{
	if (result == -28) {
		full = true;
		return false;
	}
	if (result < 0)
		fprintf(stderr, "error %ld\n", result);
	CHECK(result >= 0);
	return true;
}

static void op_create(void)
{
	static const char types[] = "ffffffddlln";
	char text[64], target[600];
	int dir = dir_pick(), node;
	struct inode *d, *inode;
	struct name name;
	char type = types[(u32)rand() % (sizeof(types) - 1)];
	mode_t mode = type == 'd' ? S_IFDIR | 0755 : type == 'l' ? S_IFLNK | 0777 : type == 'n' ? S_IFBLK | 0600 : S_IFREG | 0644;

	node = node_take(type);
	if (node < 0)
		return;
	new_name(text, sizeof(text));
	name = as_name(text);
	memset(target, 'x', sizeof(target));
	target[rand() % 3 ? 1 + rand() % 80 : 1 + rand() % 590] = 0;
	d = open_dir(dir);
	inode = (struct inode *)async_run(do_create, .dir = d, .name = &name, .mode = mode, .target = target);
	put(d);
	if (IS_ERR(inode) && fine(PTR_ERR(inode)))
		CHECK(0);
	if (IS_ERR(inode)) {
		node_drop(node);
		return;
	}
	if (type == 'l')
		nodes[node].data = strdup(target);
	CHECK(entry_take(dir, node, text) >= 0);
	put(inode);
}

static void op_link(void)
{
	int e = entry_pick("f"), dir = dir_pick();
	struct inode *inode, *d;
	struct name name;
	char text[64];

	if (e < 0)
		return;
	new_name(text, sizeof(text));
	name = as_name(text);
	inode = open_entry(e);
	d = open_dir(dir);
	if (fine(async_run(do_link, .dir = d, .name = &name, .inode = inode))) {
		nodes[entries[e].node].nlink++;
		entry_take(dir, entries[e].node, text);
	}
	put(d);
	put(inode);
}

static void op_unlink(void)
{
	int e = entry_pick("flnd");
	struct inode *inode, *d;
	struct name name;
	long result;

	if (e < 0)
		return;
	name = as_name(entries[e].name);
	inode = open_entry(e);
	d = open_dir(entries[e].dir);
	result = async_run(do_unlink, .dir = d, .name = &name, .inode = inode);
	if (nodes[entries[e].node].type == 'd' && dir_in_use(entries[e].node)) {
		CHECK(result == -39);
	} else if (fine(result)) {
		node_drop(entries[e].node);
		entries[e].node = -1;
	}
	put(d);
	put(inode);
}

static void op_rename(void)
{
	int e = entry_pick("ffld"), over = rand() % 3 ? -1 : entry_pick("fld"), dir;
	bool swap = rand() % 3 == 0;
	struct inode *inode, *other = NULL, *from, *to;
	struct name name, new;
	char text[64];
	long result;

	if (e < 0)
		return;
	dir = over >= 0 ? entries[over].dir : dir_pick();
	/* What the VFS refuses. */
	if (nodes[entries[e].node].type == 'd' && dir_below(dir, entries[e].node))
		return;
	if (over >= 0 && (over == e || entries[over].node == entries[e].node || (!swap && (nodes[entries[over].node].type == 'd') != (nodes[entries[e].node].type == 'd'))))
		return;
	if (over >= 0 && nodes[entries[over].node].type == 'd' && dir_below(entries[e].dir, entries[over].node))
		return;
	new_name(text, sizeof(text));
	name = as_name(entries[e].name);
	new = as_name(over >= 0 ? entries[over].name : text);
	inode = open_entry(e);
	if (over >= 0)
		other = open_entry(over);
	from = open_dir(entries[e].dir);
	to = open_dir(dir);
	result = async_run(do_rename, .from_dir = from, .from = &name, .inode = inode, .to_dir = to, .to = &new, .over = other,
		.flags = over >= 0 && swap ? RENAME_EXCHANGE : 0);
	if (over >= 0 && !swap && nodes[entries[over].node].type == 'd' && dir_in_use(entries[over].node)) {
		CHECK(result == -39);
	} else if (fine(result)) {
		if (over >= 0 && swap) {
			int node = entries[e].node;

			entries[e].node = entries[over].node;
			entries[over].node = node;
		} else {
			if (over >= 0) {
				node_drop(entries[over].node);
				entries[over].node = entries[e].node;
			} else {
				entry_take(dir, entries[e].node, text);
			}
			entries[e].node = -1;
		}
	}
	put(from);
	put(to);
	put(inode);
	if (other)
		put(other);
}

static u32 position(u32 size)
{
	u32 r = (u32)rand();

	return r % 4 == 0 ? size : r % 4 == 1 ? 0 : (u32)rand() % (SIZE_MAX_ / 2);
}

static void op_write(void)
{
	int e = entry_pick("f");
	bool direct = rand() % 6 == 0;
	struct page *page = page_alloc(4, ALLOC_POOL);
	char *buf = page_address(page);
	struct node *node;
	struct inode *inode;
	u32 pos, n;
	long done;

	if (e < 0)
		goto out;
	node = &nodes[entries[e].node];
	pos = position(node->size);
	n = 1 + (u32)rand() % (rand() % 4 ? 3000 : 65000);
	if (direct) {
		pos &= ~511u;
		n = align_up(n, 512u);
	}
	if (pos + n > SIZE_MAX_ || n > 65536)
		goto out;
	for (u32 i = 0; i < n; i++)
		buf[i] = (char)rand();
	inode = open_entry(e);
	TELL("%llu write %u+%u%s size %u\n", (unsigned long long)inode->number, pos, n, direct ? " direct" : "", node->size);
	done = async_run(do_io, .inode = inode, .write = true, .flags = direct ? O_DIRECT : 0, .buf = buf, .n = n, .pos = pos);
	if (fine(done)) {
		if (done < (long)n)
			full = true;
		memcpy(node->data + pos, buf, (size_t)done);
		node->size = max(node->size, pos + (u32)done);
	}
	CHECK(inode->size == node->size);
	put(inode);
out:
	page_put(page);
}

static void compare(struct inode *inode, struct node *node, u32 pos, u32 n, bool direct)
{
	struct page *page = page_alloc(7, ALLOC_POOL);
	char *buf = page_address(page);
	u32 want = pos >= node->size ? 0 : min(n, node->size - pos);
	long done = async_run(do_io, .inode = inode, .flags = direct ? O_DIRECT : 0, .buf = buf, .n = n, .pos = pos);

	if (done != (long)want)
		fprintf(stderr, "read %ld, not %u (pos %u n %u size %u)\n", done, want, pos, n, node->size);
	CHECK(done == (long)want);
	for (u32 i = 0; i < want; i++)
		if (buf[i] != node->data[pos + i]) {
			fprintf(stderr, "inode %llu differs at %u: %02x, not %02x%s\n", (unsigned long long)inode->number, pos + i, (u8)buf[i], (u8)node->data[pos + i], direct ? " (direct)" : "");
			abort();
		}
	page_put(page);
}

static void op_read(void)
{
	int e = entry_pick("f");
	bool direct = rand() % 4 == 0;
	struct inode *inode;
	u32 pos, n;

	if (e < 0)
		return;
	inode = open_entry(e);
	pos = position(nodes[entries[e].node].size);
	n = 1 + (u32)rand() % 100000;
	if (direct) {
		pos &= ~511u;
		n = align_up(n, 512u);
	}
	TELL("%llu read %u+%u%s\n", (unsigned long long)inode->number, pos, n, direct ? " direct" : "");
	compare(inode, &nodes[entries[e].node], pos, n, direct);
	put(inode);
}

static void op_truncate(void)
{
	int e = entry_pick("f");
	struct inode *inode;
	struct node *node;
	u32 size;

	if (e < 0)
		return;
	node = &nodes[entries[e].node];
	size = rand() % 3 ? (u32)rand() % (node->size + 1) : (u32)rand() % SIZE_MAX_;
	inode = open_entry(e);
	TELL("%llu truncate %u, from %u\n", (unsigned long long)inode->number, size, node->size);
	if (fine(async_run(do_size, .inode = inode, .size = size))) {
		if (size < node->size)
			memset(node->data + size, 0, node->size - size);
		node->size = size;
	}
	put(inode);
}

static void op_fallocate(void)
{
	static const u32 modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE};
	int e = entry_pick("f");
	u32 mode = modes[rand() % 4], pos, n;
	struct inode *inode;
	struct node *node;
	long result;

	if (e < 0)
		return;
	node = &nodes[entries[e].node];
	pos = position(node->size);
	n = 1 + (u32)rand() % 100000;
	if (pos + n > SIZE_MAX_)
		return;
	inode = open_entry(e);
	TELL("%llu fallocate %x %u+%u size %u\n", (unsigned long long)inode->number, mode, pos, n, node->size);
	result = async_run(do_fallocate, .inode = inode, .mode = mode, .pos = pos, .n = n);
	if (fine(result)) {
		if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
			memset(node->data + pos, 0, n);
		if (!(mode & FALLOC_FL_KEEP_SIZE))
			node->size = max(node->size, pos + n);
	} else if (mode & FALLOC_FL_ZERO_RANGE) {
		memset(node->data + pos, 0, pos < node->size ? min(n, node->size - pos) : 0);
	}
	put(inode);
}

static void op_sync(void)
{
	int e = entry_pick("fd");
	struct inode *inode;
	u32 r = (u32)rand() % 6;

	if (r == 0) {
		async_run(do_sync, .sb = sb);
	} else if (r < 3 && e >= 0) {
		inode = open_entry(e);
		CHECK(!async_run(do_fsync, .inode = inode, .data = r == 1));
		put(inode);
	} else if (r == 3) {
		/* Also while the writers that come by the clock are at the same inodes. */
		if (rand() % 2)
			shim_clock_advance(40 * NSEC_PER_SEC);
		async_run(do_evict, .sb = sb);
	} else {
		async_run(do_idle, .n = 20);
	}
}

/* --- comparison of all --- */

struct listing {
	struct dir_emit to;
	int dir;
	u32 count;
	bool seen[ENTRIES];
};

static bool list_one(struct dir_emit *to, const char *name, u32 length, ino_t ino, u64 next, u8 type)
{
	struct listing *list = container_of(to, struct listing, to);

	if (rand() % 50 == 0)
		return false; /* the buffer is full: to be continued */
	if (!list->dir && length == 10 && !memcmp(name, "lost+found", 10))
		return true;
	for (int i = 0; i < ENTRIES; i++)
		if (entries[i].node >= 0 && entries[i].dir == list->dir && strlen(entries[i].name) == length && !memcmp(entries[i].name, name, length)) {
			CHECK(!list->seen[i]);
			list->seen[i] = true;
			list->count++;
			return true;
		}
	fprintf(stderr, "readdir: %.*s is not there\n", (int)length, name);
	abort();
}

static void verify_dir(int dir)
{
	struct listing *list = calloc(1, sizeof(*list));
	struct inode *inode = open_dir(dir);
	u32 count = 0;
	u64 at;

	list->dir = dir;
	list->to.emit = list_one;
	do {
		at = list->to.pos;
		CHECK(!async_run(do_readdir, .inode = inode, .to = &list->to));
	} while (list->to.pos < inode->size || at != list->to.pos);
	for (int i = 0; i < ENTRIES; i++)
		count += entries[i].node >= 0 && entries[i].dir == dir;
	if (count != list->count)
		fprintf(stderr, "directory has %u names, not %u\n", list->count, count);
	CHECK(count == list->count);
	put(inode);
	free(list);
}

static void verify(void)
{
	char buf[1024];

	verify_dir(0);
	for (int e = 0; e < ENTRIES; e++) {
		struct inode *inode;
		struct node *node;
		long n;

		if (entries[e].node < 0)
			continue;
		node = &nodes[entries[e].node];
		inode = open_entry(e);
		if (node->type == 'd')
			verify_dir(entries[e].node);
		if (node->type == 'f') {
			CHECK(inode->nlink == node->nlink && inode->size == node->size);
			compare(inode, node, 0, SIZE_MAX_, false);
		}
		if (node->type == 'n')
			CHECK(S_ISBLK(inode->mode) && inode->rdev == MAKE_DEV(8, 3));
		if (node->type == 'l') {
			n = async_run(do_readlink, .inode = inode, .buf = buf, .bytes = sizeof(buf));
			CHECK(n == (long)strlen(node->data) && !memcmp(buf, node->data, (size_t)n));
		}
		put(inode);
	}
}

/* --- images --- */

static char image_path[] = "/tmp/lichen-ext4-XXXXXX";
static char *image;
static size_t image_bytes;

static void run(const char *format, ...)
{
	char command[600];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command)) {
		fprintf(stderr, "failed: %s\n", command);
		abort();
	}
}

static void image_make(const char *options, size_t mib)
{
	FILE *file;

	image_bytes = mib << 20;
	run("truncate -s 0 %s; truncate -s %zuM %s; PATH=$PATH:/sbin:/usr/sbin mke2fs -q -F -t ext4 %s %s", image_path, mib, image_path, options, image_path);
	image = malloc(image_bytes);
	file = fopen(image_path, "r");
	CHECK(file && fread(image, 1, image_bytes, file) == image_bytes);
	fclose(file);
}

static void image_check(void)
{
	FILE *file = fopen(image_path, "w");

	CHECK(file && fwrite(image, 1, image_bytes, file) == image_bytes);
	fclose(file);
	run("PATH=$PATH:/sbin:/usr/sbin e2fsck -fn %s >%s.log 2>&1 || { cat %s.log; false; }", image_path, image_path, image_path);
}

static void test(const char *options, size_t mib, u32 seed, u32 operations)
{
	void (*const ops[])(void) = {op_create, op_create, op_write, op_write, op_write, op_read, op_truncate, op_unlink, op_rename, op_link, op_fallocate, op_sync};
	struct memory_disk disk;
	size_t before;

	srand(seed);
	image_make(options, mib);
	memory_disk_init(&disk, image, image_bytes);
	disk.immediate = seed % 3 == 0;
	for (int i = 0; i < ENTRIES; i++)
		entries[i].node = -1;
	nodes[0] = (struct node){.type = 'd', .nlink = 1};
	full = false;
	before = shim_allocated();
	for (u32 round = 0; round < 2; round++) {
		CHECK(!fs_mount(&disk, false, &sb));
		if (round)
			verify();
		for (u32 i = 0; i < operations; i++)
			ops[(u32)rand() % ARRAY_SIZE(ops)]();
		verify();
		CHECK(!fs_unmount(sb));
		image_check();
	}
	CHECK(!fs_mount(&disk, true, &sb));
	verify();
	CHECK(!fs_unmount(sb));
	if (shim_allocated() > before + 8)
		fprintf(stderr, "allocated: %zu, %zu before\n", shim_allocated(), before);
	for (int i = 1; i < NODES; i++)
		if (nodes[i].type) {
			nodes[i].nlink = 1;
			node_drop(i);
		}
	free(image);
	printf("ok: %s, %zu MiB, seed %u%s\n", *options ? options : "default", mib, seed, full ? ", full" : "");
	fflush(stdout);
}

/* A fresh file system with one empty file, which is returned with a reference. */
static struct inode *mount_one_file(const char *options, struct memory_disk *disk)
{
	struct name name = as_name("file");
	struct inode *inode;

	image_make(options, 16);
	memory_disk_init(disk, image, image_bytes);
	CHECK(!fs_mount(disk, false, &sb));
	inode = (struct inode *)async_run(do_create, .dir = sb->root->inode, .name = &name, .mode = S_IFREG | 0644);
	CHECK(!IS_ERR(inode));
	return inode;
}

static void unmount_one_file(struct inode *inode)
{
	put(inode);
	CHECK(!fs_unmount(sb));
	image_check();
	free(image);
}

/*
 * A direct write of half blocks that begins and ends in holes and meets written blocks between them, all in pages with both: what goes by
 * way of the page cache leaves no page behind that would be written once more.
 */
static void test_direct_parts(const char *options)
{
	struct memory_disk disk;
	struct page *page = page_alloc(7, ALLOC_POOL);
	char *data = page_address(page);
	struct node node = {.type = 'f', .size = 86753, .data = calloc(1, 86753)};
	struct inode *inode = mount_one_file(options, &disk);

	memset(node.data + 50656, 'o', 875);
	CHECK(async_run(do_io, .inode = inode, .write = true, .buf = node.data + 50656, .n = 875, .pos = 50656) == 875);
	CHECK(!async_run(do_size, .inode = inode, .size = node.size) && !async_run(do_fsync, .inode = inode));
	for (u32 i = 0; i < 26624; i++)
		data[i] = node.data[35328 + i] = (char)(i / 512 + 1);
	CHECK(async_run(do_io, .inode = inode, .write = true, .flags = O_DIRECT, .buf = data, .n = 26624, .pos = 35328) == 26624);
	compare(inode, &node, 0, node.size, true);
	compare(inode, &node, 0, node.size, false);
	unmount_one_file(inode);
	page_put(page);
	free(node.data);
	printf("ok: a direct write in parts, %s\n", options);
}

ASYNC(do_fill, struct inode *inode; struct page **pages; u32 count; u64 index;)
{
	ASYNC_BEGIN;
	AWAIT_OP(f->inode->cache.ops->read, page_cache_read, .cache = &f->inode->cache, .pages = f->pages, .count = f->count, .index = f->index);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* Read-ahead that was under way when the file was truncated: pages in part or wholly behind its end. */
static void test_read_behind_end(const char *options, u32 size, u64 index)
{
	struct memory_disk disk;
	struct page *pages[4];
	char *content = malloc(size + 1);
	struct inode *inode = mount_one_file(options, &disk);

	memset(content, 'x', size);
	CHECK(!size || async_run(do_io, .inode = inode, .write = true, .buf = content, .n = size) == size);
	CHECK(!async_run(do_fsync, .inode = inode));
	for (u32 i = 0; i < ARRAY_SIZE(pages); i++) {
		pages[i] = page_alloc(0, ALLOC_POOL);
		memset(page_address(pages[i]), 0xaa, PAGE_SIZE);
		page_set(pages[i], PAGE_LOCKED);
		page_get(pages[i]); /* filled, they are let go */
	}
	CHECK(!async_run(do_fill, .inode = inode, .pages = pages, .count = ARRAY_SIZE(pages), .index = index));
	for (u32 i = 0; i < ARRAY_SIZE(pages); i++) {
		const char *data = page_address(pages[i]);

		for (u32 at = 0; at < PAGE_SIZE; at++)
			CHECK(data[at] == ((index + i) * PAGE_SIZE + at < size ? 'x' : 0));
	}
	unmount_one_file(inode);
	free(content);
	printf("ok: pages from %llu on of a file of %u bytes, %s\n", (unsigned long long)index, size, options);
}

/* One directory with so many names that its index gets a second level. */
static void test_names(const char *options, size_t mib, u32 count)
{
	struct memory_disk disk;
	struct inode *root, *dir, *file, *found;
	struct listing *list = calloc(1, sizeof(*list));
	char text[64];
	struct name name = as_name("names");

	srand(count);
	image_make(options, mib);
	memory_disk_init(&disk, image, image_bytes);
	disk.immediate = true;
	CHECK(!fs_mount(&disk, false, &sb));
	root = sb->root->inode;
	dir = (struct inode *)async_run(do_create, .dir = root, .name = &name, .mode = S_IFDIR | 0755);
	name = as_name("file");
	file = (struct inode *)async_run(do_create, .dir = root, .name = &name, .mode = S_IFREG | 0644);
	CHECK(!IS_ERR(dir) && !IS_ERR(file));
	for (u32 step = 0; step < 3; step++) {
		for (u32 i = 0; i < count; i++) {
			snprintf(text, sizeof(text), "%u-name-%x", i, i * 2654435761u);
			name = as_name(text);
			if (step == 0)
				CHECK(!async_run(do_link, .dir = dir, .name = &name, .inode = file));
			found = lookup(dir, text);
			if (step == 2 && i % 2)
				CHECK(PTR_ERR(found) == -2);
			else
				CHECK(found == file);
			if (!IS_ERR(found))
				put(found);
			if ((step == 1 && i % 2) || (step == 2 && i % 2 == 0))
				CHECK(!async_run(do_unlink, .dir = dir, .name = &name, .inode = file));
		}
		CHECK(file->nlink == (step == 0 ? count + 1 : step == 1 ? count / 2 + 1 : 1));
		CHECK(!async_run(do_sync, .sb = sb));
		image_check();
	}
	put(dir);
	put(file);
	CHECK(!fs_unmount(sb));
	image_check();
	free(list);
	free(image);
	printf("ok: %u names, %s\n", count, options);
	fflush(stdout);
}

/* Power fails in the middle: what was fsynced before is there, and no access goes wrong; e2fsck may repair the rest. */
static void test_power_cut(u32 seed)
{
	struct memory_disk disk;
	char text[64], *content = malloc(5000);
	struct inode *inode;
	struct name name;
	u32 i;

	srand(seed);
	image_make("-b 4096", 64);
	memory_disk_init(&disk, image, image_bytes);
	CHECK(!fs_mount(&disk, false, &sb));
	for (i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), "kept%u", i);
		name = as_name(text);
		memset(content, 'a' + (int)i % 26, 5000);
		inode = (struct inode *)async_run(do_create, .dir = sb->root->inode, .name = &name, .mode = S_IFREG | 0644);
		CHECK(async_run(do_io, .inode = inode, .write = true, .buf = content, .n = 5000) == 5000);
		if (i < 20)
			CHECK(!async_run(do_fsync, .inode = inode));
		put(inode);
	}
	/* The disk as it is now, and what of the last commit reached it. */
	disk.writes_left = (u32)rand() % 8;
	async_run(do_sync, .sb = sb);
	fs_unmount(sb);
	run("cp /dev/null %s.log", image_path);
	{
		FILE *file = fopen(image_path, "w");

		CHECK(file && fwrite(image, 1, image_bytes, file) == image_bytes);
		fclose(file);
	}
	run("PATH=$PATH:/sbin:/usr/sbin; e2fsck -fy %s >%s.log 2>&1; test $? -le 1 || { cat %s.log; false; }", image_path, image_path, image_path);
	{
		FILE *file = fopen(image_path, "r");

		CHECK(file && fread(image, 1, image_bytes, file) == image_bytes);
		fclose(file);
	}
	memory_disk_init(&disk, image, image_bytes);
	CHECK(!fs_mount(&disk, true, &sb));
	for (i = 0; i < 20; i++) {
		char *buf = malloc(5001);

		snprintf(text, sizeof(text), "kept%u", i);
		inode = lookup(sb->root->inode, text);
		CHECK(!IS_ERR(inode));
		memset(content, 'a' + (int)i % 26, 5000);
		CHECK(async_run(do_io, .inode = inode, .buf = buf, .n = 5001) == 5000 && !memcmp(buf, content, 5000));
		put(inode);
		free(buf);
	}
	CHECK(!fs_unmount(sb));
	free(content);
	free(image);
	printf("ok: power cut, seed %u\n", seed);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *options;
		size_t mib;
	} variants[] = {
		{"-b 4096", 64},
		{"-b 1024", 48},
		{"-b 2048 -O ^metadata_csum", 48},
		{"-b 4096 -O ^64bit,^flex_bg,uninit_bg,^metadata_csum", 64},
		{"-b 1024 -g 1024 -O ^has_journal,sparse_super2", 32},
		{"-b 4096 -O metadata_csum_seed,^has_journal -I 128", 24},
		{"-b 1024 -O ^has_journal -N 400", 4},
	};
	u32 seed = argc > 1 ? (u32)atoi(argv[1]) : 0, operations = argc > 2 ? (u32)atoi(argv[2]) : 1200;
	int fd = mkstemp(image_path);

	CHECK(fd >= 0);
	close(fd);
	shim_start(1);
	for (const struct initcall *call = shim_initcalls_start; call < shim_initcalls_end; call++)
		call->call();
	for (u32 i = 0; i < ARRAY_SIZE(variants); i++)
		if (argc <= 1 || i == seed % ARRAY_SIZE(variants))
			test(variants[i].options, variants[i].mib, argc > 1 ? seed : i, operations);
	if (argc <= 1) {
		test_names("-b 1024", 32, 12000);
		test_names("-b 4096 -O ^metadata_csum", 32, 4000);
		test_direct_parts("-b 1024");
		test_direct_parts("-b 2048");
		test_read_behind_end("-b 4096", 0, 0);
		test_read_behind_end("-b 4096", 0, 9);
		test_read_behind_end("-b 1024", 5000, 1);
		test_read_behind_end("-b 1024", 5000, 3);
		test_read_behind_end("-b 4096", 50000, 10);
		test_read_behind_end("-b 4096", 50000, 13);
		for (u32 i = 0; i < 8; i++)
			test_power_cut(i);
	}
	run("rm -f %s %s.log", image_path, image_path);
	return 0;
}
