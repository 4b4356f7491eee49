// SPDX-License-Identifier: MIT
/*
 * The first file system: a tmpfs without limits, filled from the boot loader's cpio archive. Nobody else is there yet, so its
 * directories are changed without their locks.
 */
#include "internal.h"
#include <lichen/cpio.h>
#include <lichen/irq.h>
#include <linux/major.h>

static struct superblock *root_sb;

/* Files with more than one name, while the archive is read. */
struct hard_link {
	struct list node;
	u32 number, major, minor;
	struct inode *inode; /* counted by its first name */
};

/* The directory that a name lies in, made as needed, and the last part of the name. NULL if that is none. Not counted: the tree keeps it. */
static struct inode *directory_of_name(const char *path, struct name *last)
{
	struct inode *dir = root_sb->root->inode;

	for (;;) {
		const char *end;
		struct inode *next;

		while (*path == '/')
			path++;
		end = strchr(path, '/');
		*last = (struct name){path, end ? (u32)(end - path) : (u32)strlen(path), 0};
		if (!last->length || last->length > 255 || (last->length == 2 && path[0] == '.' && path[1] == '.'))
			return NULL;
		last->hash = name_hash(last->text, last->length);
		if (last->length == 1 && path[0] == '.') {
			if (!end)
				return NULL;
			path = end;
			continue;
		}
		while (end && *end == '/')
			end++;
		if (!end || !*end)
			return dir;
		next = tmpfs_find(dir, last);
		if (!next)
			next = tmpfs_make(dir, last, S_IFDIR | 0755, 0, NULL);
		if (IS_ERR(next))
			return NULL;
		inode_put_fast(next);
		if (!S_ISDIR(next->mode))
			return NULL;
		dir = next;
		path = end;
	}
}

static struct inode *find_link(struct list *links, const struct cpio_entry *entry)
{
	struct hard_link *link;

	list_for_each(link, links, node)
		if (link->number == entry->inode && link->major == entry->device_major && link->minor == entry->device_minor)
			return link->inode;
	return NULL;
}

static void remember_link(struct list *links, const struct cpio_entry *entry, struct inode *inode)
{
	struct hard_link *link = kmalloc(sizeof(*link));

	if (!link)
		return; /* its other names become files of their own */
	*link = (struct hard_link){.number = entry->inode, .major = entry->device_major, .minor = entry->device_minor, .inode = inode};
	list_add(links, &link->node);
}

/* Makes what an entry says, but for a file's bytes: its inode, counted, or an error pointer. */
static struct inode *make_entry(const struct cpio_entry *entry, struct list *links)
{
	struct name last;
	struct inode *dir = directory_of_name(entry->name, &last), *inode;
	bool linked = entry->links > 1 && !S_ISDIR(entry->mode);
	char target[256];

	if (!dir) {
		/* "." itself has attributes too. */
		if (strcmp(entry->name, ".") && strcmp(entry->name, "/"))
			return ERR_PTR(-EINVAL);
		inode = root_sb->root->inode;
		inode_get(inode);
		goto attributes;
	}
	inode = linked ? find_link(links, entry) : NULL;
	if (inode) {
		long error = tmpfs_add_link(dir, &last, inode);

		inode_get(inode);
		return error ? ERR_PTR(error) : inode;
	}
	inode = tmpfs_find(dir, &last);
	if (inode && S_ISDIR(inode->mode) && S_ISDIR(entry->mode))
		goto attributes;
	if (inode) {
		/* A later archive replaces what an earlier one brought. */
		inode_put_fast(inode);
		if (S_ISDIR(inode->mode))
			return ERR_PTR(-EISDIR);
		tmpfs_forget(dir, &last);
	}
	if (S_ISLNK(entry->mode)) {
		if (!entry->size || entry->size >= sizeof(target))
			return ERR_PTR(-ENAMETOOLONG);
		memcpy(target, entry->data, entry->size);
		target[entry->size] = 0;
	}
	inode = tmpfs_make(dir, &last, entry->mode, MAKE_DEV(entry->rdev_major, entry->rdev_minor), target);
	if (IS_ERR(inode))
		return inode;
	if (linked)
		remember_link(links, entry, inode);
attributes:
	inode->mode = entry->mode;
	inode->uid = entry->uid;
	inode->gid = entry->gid;
	inode->mtime = inode->ctime = inode->atime = (struct timespec64_){.sec = entry->mtime};
	return inode;
}

static void make_console(void)
{
	struct name last;
	struct inode *dir = directory_of_name("dev/console", &last);
	struct inode *inode = dir ? tmpfs_make(dir, &last, S_IFCHR | 0600, MAKE_DEV(TTYAUX_MAJOR, 1), NULL) : NULL;

	if (inode && !IS_ERR(inode))
		inode_put_fast(inode);
}

ASYNC_DEFINE(initramfs_unpack)
{
	struct cpio_entry entry;
	struct hard_link *link, *next;

	ASYNC_BEGIN;
	list_init(&f->links);
	for (;;) {
		f->at = cpio_next(f->archive, f->bytes, (size_t)f->at, &entry);
		if (f->at <= 0)
			break;
		f->inode = make_entry(&entry, &f->links);
		if (IS_ERR(f->inode)) {
			log_warn("initramfs: %s: error %ld", entry.name, -PTR_ERR(f->inode));
			continue;
		}
		f->files++;
		f->left = S_ISREG(f->inode->mode) ? entry.size : 0;
		f->data = entry.data;
		f->pos = 0;
		while (f->left) {
			kiov_init_kernel(&f->iov, (void *)(uintptr_t)f->data, f->left);
			AWAIT(page_cache_write, .cache = &f->inode->cache, .from = &f->iov, .pos = f->pos);
			if (RESULT <= 0)
				break;
			f->data += RESULT;
			f->pos += (u64)RESULT;
			f->left -= (u32)RESULT;
		}
		if (f->left)
			log_err("initramfs: no memory for inode %llu", (unsigned long long)f->inode->number);
		AWAIT(inode_put, .inode = f->inode);
	}
	list_for_each_safe(link, next, &f->links, node)
		kfree(link);
	make_console();
	if (f->at < 0)
		log_err("initramfs: the archive is damaged; %u files were unpacked", f->files);
	ASYNC_RETURN(f->at);
	ASYNC_END;
}

ASYNC_DEFINE(open_console)
{
	int fd;

	ASYNC_BEGIN;
	AWAIT(file_open, .dirfd = AT_FDCWD, .name = "/dev/console", .flags = O_RDWR);
	if (IS_ERR(RESULT)) {
		log_warn("no console for the first program: error %ld", -RESULT);
		ASYNC_RETURN(RESULT);
	}
	f->file = (struct file *)RESULT;
	for (int i = 0; i < 3 && f->error >= 0; i++) {
		file_get(f->file);
		fd = fd_install(f->file, false);
		if (fd < 0) {
			file_put_fast(f->file);
			f->error = fd;
		}
	}
	AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

struct filesystem rootfs = {.name = "rootfs", .flags = FS_NO_CACHE | FS_TMPFILE};

void dcache_init(void);
void path_init(void);
void file_init(void);
void mount_init(void);
void tmpfs_init(void);
void devtmpfs_init(void);
void memdev_init(void);
void mount_set_root(struct mount *mount);

static void vfs_init(void)
{
	struct mount *mount;

	dcache_init();
	path_init();
	mount_init();
	tmpfs_init();
	file_init();
	filesystem_register(&tmpfs);
	devtmpfs_init();
	memdev_init();
	rootfs.free_inode = tmpfs.free_inode;
	rootfs.statfs = tmpfs.statfs;
	root_sb = tmpfs_superblock(&rootfs);
	mount = root_sb ? mount_alloc(root_sb, root_sb->root, "rootfs", 0) : NULL;
	if (!mount)
		panic("no memory for the root file system");
	mount_set_root(mount);
}
INITCALL(INIT_CORE, vfs_init);
