// SPDX-License-Identifier: MIT
/*
 * tmpfs: files that are only in the page cache, directories that are only in memory. Rootfs, devtmpfs and memfds are instances
 * of it.
 *
 *     directory inode -> struct tmpfs_directory -- by name: a red-black tree (hash, then name)
 *                                                \- by cookie: a radix tree, for readdir in the order of creation
 *     An entry holds a reference to its inode; a directory's entries go with the directory, or with the whole file system.
 *
 * A directory is guarded by its inode->lock, which the VFS takes; sb_lock guards the counts.
 */
#include "tmpfs.h"
#include <linux/fs.h>
#include <linux/magic.h>

struct tmpfs_entry {
	struct rb_node node;
	u64 cookie; /* position in the directory: 2 and up */
	struct inode *inode;
	struct name name;
	char text[];
};

static struct slab_cache *inode_cache;

void tmpfs_init(void);
void tmpfs_init(void)
{
	inode_cache = slab_cache_create("tmpfs_inode", sizeof(struct tmpfs_inode), 0);
}
static const struct inode_ops directory_ops, other_ops;
static const struct file_ops directory_file_ops, file_ops;

struct list *tmpfs_xattrs(struct inode *inode)
{
	return &tmpfs_inode_of(inode)->xattrs;
}

static struct tmpfs_directory *directory_of(struct inode *inode)
{
	return &tmpfs_inode_of(inode)->directory;
}

/* --- inodes --- */
static struct inode *make_inode(struct superblock *sb, mode_t mode, dev_t rdev, const char *target)
{
	struct tmpfs_sb *fs = sb->private;
	struct tmpfs_inode *t;
	struct inode *inode;
	bool full;

	spin_lock(&fs->lock);
	full = fs->max_inodes && fs->inodes >= fs->max_inodes;
	if (!full)
		fs->inodes++;
	spin_unlock(&fs->lock);
	if (full)
		return ERR_PTR(-ENOSPC);
	t = slab_zalloc(inode_cache);
	if (!t)
		goto no_memory;
	inode = &t->inode;
	spin_lock(&fs->lock);
	inode_init(inode, sb, ++fs->next_number);
	spin_unlock(&fs->lock);
	inode->mode = mode;
	inode->ops = &other_ops;
	if (S_ISDIR(mode)) {
		inode->ops = &directory_ops;
		inode->file_ops = &directory_file_ops;
		inode->nlink = 2;
		t->directory.next_cookie = 2;
	} else if (S_ISREG(mode)) {
		inode->file_ops = &file_ops;
		inode->cache.ops = &tmpfs_cache_ops;
	} else if (S_ISLNK(mode)) {
		inode->target = kstrdup(target);
		if (!inode->target) {
			inode_discard(inode); /* counts it out */
			return ERR_PTR(-ENOMEM);
		}
		inode->size = strlen(target);
	} else {
		inode_init_special(inode, mode, rdev);
	}
	return inode;
no_memory:
	spin_lock(&fs->lock);
	fs->inodes--;
	spin_unlock(&fs->lock);
	return ERR_PTR(-ENOMEM);
}

static void tmpfs_free_inode(struct inode *inode)
{
	struct tmpfs_sb *fs = inode->sb->private;
	struct tmpfs_inode *t = tmpfs_inode_of(inode);

	tmpfs_unreserve(inode, 0);
	spin_lock(&fs->lock);
	fs->inodes--;
	spin_unlock(&fs->lock);
	if (S_ISLNK(inode->mode))
		kfree(inode->target);
	tmpfs_xattrs_free(&t->xattrs);
	slab_free(inode_cache, t);
}

/* --- directories: the caller holds the inode's lock --- */
static int name_order(const struct name *a, const struct name *b)
{
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	if (a->length != b->length)
		return a->length < b->length ? -1 : 1;
	return memcmp(a->text, b->text, a->length);
}

static struct tmpfs_entry *find_entry(struct inode *dir, const struct name *name)
{
	struct rb_node *node = directory_of(dir)->names.root;

	while (node) {
		struct tmpfs_entry *entry = rb_entry(node, struct tmpfs_entry, node);
		int order = name_order(name, &entry->name);

		if (!order)
			return entry;
		node = order < 0 ? node->left : node->right;
	}
	return NULL;
}

/* A new entry; takes over a reference to the inode when it succeeds. 0 or -ENOMEM. The name is not there. */
static long add_entry(struct inode *dir, const struct name *name, struct inode *inode)
{
	struct tmpfs_directory *d = directory_of(dir);
	struct tmpfs_entry *entry = kmalloc(sizeof(*entry) + name->length);
	struct rb_node **link = &d->names.root, *parent = NULL;
	long error;

	if (!entry)
		return -ENOMEM;
	entry->cookie = d->next_cookie;
	error = radix_insert(&d->cookies, entry->cookie, entry);
	if (error) {
		kfree(entry);
		return error;
	}
	d->next_cookie++;
	memcpy(entry->text, name->text, name->length);
	entry->name = (struct name){entry->text, name->length, name->hash};
	entry->inode = inode;
	while (*link) {
		parent = *link;
		link = name_order(name, &rb_entry(parent, struct tmpfs_entry, node)->name) < 0 ? &parent->left : &parent->right;
	}
	rb_insert(&d->names, &entry->node, parent, link);
	d->count++;
	if (S_ISDIR(inode->mode))
		dir->nlink++;
	dir->size += 20;
	dir->version++;
	return 0;
}

/* Its inode, whose reference is the caller's now. */
static struct inode *remove_entry(struct inode *dir, struct tmpfs_entry *entry)
{
	struct tmpfs_directory *d = directory_of(dir);
	struct inode *inode = entry->inode;

	rb_erase(&d->names, &entry->node);
	radix_remove(&d->cookies, entry->cookie);
	d->count--;
	if (S_ISDIR(inode->mode))
		dir->nlink--;
	dir->size -= 20;
	dir->version++;
	kfree(entry);
	return inode;
}

ASYNC(tmpfs_lookup, INODE_LOOKUP_ARGS)
{
	struct tmpfs_entry *entry;

	ASYNC_BEGIN;
	entry = find_entry(f->dir, f->name);
	if (!entry)
		ASYNC_RETURN(-ENOENT);
	inode_get(entry->inode);
	ASYNC_RETURN((long)entry->inode);
	ASYNC_END;
}

static struct inode *tmpfs_add(struct inode *dir, const struct name *name, mode_t mode, dev_t rdev, const char *target, bool owned)
{
	struct inode *inode = make_inode(dir->sb, mode, rdev, target);
	long error;

	if (IS_ERR(inode))
		return inode;
	if (owned)
		inode_init_owner(inode, dir, mode);
	if (!name) {
		inode->nlink = 0;
		return inode;
	}
	inode_get(inode);
	if (S_ISDIR(mode))
		atomic_fetch_or(&inode->state, dir->state & INODE_NO_NEGATIVE);
	error = add_entry(dir, name, inode);
	if (error) {
		inode_discard(inode);
		return ERR_PTR(error);
	}
	inode_touch(dir, ATTR_MTIME | ATTR_CTIME);
	return inode;
}

ASYNC(tmpfs_create, INODE_CREATE_ARGS)
{
	ASYNC_BEGIN;
	ASYNC_RETURN((long)tmpfs_add(f->dir, f->name, f->mode, f->rdev, f->target, true));
	ASYNC_END;
}

ASYNC(tmpfs_link, INODE_LINK_ARGS)
{
	long error;

	ASYNC_BEGIN;
	error = add_entry(f->dir, f->name, f->inode);
	if (error)
		ASYNC_RETURN(error);
	inode_get(f->inode);
	f->inode->nlink++;
	inode_touch(f->inode, ATTR_CTIME);
	inode_touch(f->dir, ATTR_MTIME | ATTR_CTIME);
	ASYNC_END;
}

/* Its nlink after its name went. */
static void count_unlink(struct inode *inode)
{
	if (S_ISDIR(inode->mode))
		inode->nlink = 0;
	else
		inode->nlink--;
	inode_touch(inode, ATTR_CTIME);
}

ASYNC(tmpfs_unlink, INODE_UNLINK_ARGS)
{
	struct tmpfs_entry *entry;

	ASYNC_BEGIN;
	entry = find_entry(f->dir, f->name);
	if (!entry)
		ASYNC_RETURN(-ENOENT);
	if (S_ISDIR(f->inode->mode) && directory_of(f->inode)->count)
		ASYNC_RETURN(-ENOTEMPTY);
	remove_entry(f->dir, entry);
	count_unlink(f->inode);
	inode_touch(f->dir, ATTR_MTIME | ATTR_CTIME);
	AWAIT(inode_put, .inode = f->inode);
	ASYNC_END;
}

/* Two entries exchange their inodes; no memory is needed. */
static void exchange(struct inode *from_dir, struct tmpfs_entry *from, struct inode *to_dir, struct tmpfs_entry *to)
{
	struct inode *inode = from->inode;

	from_dir->nlink += (u32)S_ISDIR(to->inode->mode) - (u32)S_ISDIR(inode->mode);
	to_dir->nlink += (u32)S_ISDIR(inode->mode) - (u32)S_ISDIR(to->inode->mode);
	from->inode = to->inode;
	to->inode = inode;
	from_dir->version++;
	to_dir->version++;
}

ASYNC(tmpfs_rename, INODE_RENAME_ARGS)
{
	struct tmpfs_entry *from, *to;
	long error;

	ASYNC_BEGIN;
	from = find_entry(f->from_dir, f->from);
	to = find_entry(f->to_dir, f->to);
	if (!from)
		ASYNC_RETURN(-ENOENT);
	if (f->over && !(f->flags & RENAME_EXCHANGE) && S_ISDIR(f->over->mode) && directory_of(f->over)->count)
		ASYNC_RETURN(-ENOTEMPTY);
	if (f->over) {
		exchange(f->from_dir, from, f->to_dir, to);
	} else {
		error = add_entry(f->to_dir, f->to, f->inode);
		if (error)
			ASYNC_RETURN(error);
	}
	inode_touch(f->inode, ATTR_CTIME);
	inode_touch(f->from_dir, ATTR_MTIME | ATTR_CTIME);
	inode_touch(f->to_dir, ATTR_MTIME | ATTR_CTIME);
	if (f->flags & RENAME_EXCHANGE) {
		inode_touch(f->over, ATTR_CTIME);
		ASYNC_RETURN(0);
	}
	remove_entry(f->from_dir, from);
	if (f->over) {
		count_unlink(f->over);
		AWAIT(inode_put, .inode = f->over);
	}
	ASYNC_END;
}

ASYNC(tmpfs_readdir, FILE_READDIR_ARGS)
{
	struct inode *dir = f->file->inode;
	struct tmpfs_entry *entry;
	u64 cookie;

	ASYNC_BEGIN;
	if (!dir_emit_dots(f->file, f->to))
		ASYNC_RETURN(0);
	for (;;) {
		cookie = f->to->pos;
		entry = radix_next(&directory_of(dir)->cookies, &cookie);
		if (!entry)
			break;
		if (!f->to->emit(f->to, entry->text, entry->name.length, entry->inode->number, cookie + 1,
			    dir_type(entry->inode->mode)))
			break;
		f->to->pos = cookie + 1;
	}
	ASYNC_END;
}

ASYNC(tmpfs_fsync, FILE_FSYNC_ARGS)
{
	ASYNC_BEGIN;
	ASYNC_END;
}

static void tmpfs_statfs(struct superblock *sb, struct kstatfs_ *st)
{
	struct tmpfs_sb *fs = sb->private;

	st->type = TMPFS_MAGIC;
	st->bsize = PAGE_SIZE;
	st->namelen = 255;
	spin_lock(&fs->lock);
	if (fs->max_pages) {
		st->blocks = fs->max_pages;
		st->bfree = st->bavail = fs->max_pages - min(fs->max_pages, fs->pages);
	}
	if (fs->max_inodes) {
		st->files = fs->max_inodes;
		st->ffree = fs->max_inodes - min(fs->max_inodes, fs->inodes);
	}
	spin_unlock(&fs->lock);
}

static const struct inode_ops directory_ops = {
	.lookup = &tmpfs_lookup_fn,
	.create = &tmpfs_create_fn,
	.link = &tmpfs_link_fn,
	.unlink = &tmpfs_unlink_fn,
	.rename = &tmpfs_rename_fn,
	.setattr = &tmpfs_setattr_fn,
	.getxattr = &tmpfs_getxattr_fn,
	.setxattr = &tmpfs_setxattr_fn,
	.listxattr = &tmpfs_listxattr_fn,
};
static const struct inode_ops other_ops = {
	.setattr = &tmpfs_setattr_fn,
	.getxattr = &tmpfs_getxattr_fn,
	.setxattr = &tmpfs_setxattr_fn,
	.listxattr = &tmpfs_listxattr_fn,
	.refresh = tmpfs_refresh,
};
static const struct file_ops directory_file_ops = {
	.readdir = &tmpfs_readdir_fn,
	.fsync = &tmpfs_fsync_fn,
};
static const struct file_ops file_ops = {
	.read = &file_read_cached_fn,
	.write = &file_write_cached_fn,
	.fsync = &tmpfs_fsync_fn,
	.fallocate = &tmpfs_fallocate_fn,
	.mmap = file_mmap_cached,
};

/* --- the file system --- */
static long set_up(struct superblock *sb, const struct tmpfs_options *o)
{
	struct tmpfs_sb *fs = kzalloc(sizeof(*fs));
	struct inode *root;

	if (!fs)
		return -ENOMEM;
	spin_init(&fs->lock);
	fs->max_pages = o->max_pages;
	fs->max_inodes = o->max_inodes;
	sb->private = fs;
	root = make_inode(sb, S_IFDIR | o->mode, 0, NULL);
	if (IS_ERR(root)) {
		kfree(fs);
		return PTR_ERR(root);
	}
	root->uid = o->uid;
	root->gid = o->gid;
	if (superblock_set_root(sb, root)) {
		inode_discard(root);
		kfree(fs);
		return -ENOMEM;
	}
	fs->root = root;
	inode_get(root);
	if (o->max_pages)
		snprintf(sb->options, sizeof(sb->options), ",size=%lluk", (unsigned long long)o->max_pages * 4);
	return 0;
}

ASYNC(tmpfs_mount, FS_MOUNT_ARGS struct tmpfs_options options;)
{
	long error;

	ASYNC_BEGIN;
	error = tmpfs_parse_options(f->data, &f->options);
	ASYNC_RETURN(error ? error : set_up(f->sb, &f->options));
	ASYNC_END;
}

ASYNC(tmpfs_remount, FS_SB_ARGS)
{
	ASYNC_BEGIN;
	ASYNC_END;
}

/* The deepest last entry of a tree, taken out: its inode. NULL: the directory is empty. */
static struct inode *take_leaf(struct inode *dir)
{
	for (;;) {
		struct rb_node *node = rb_last(&directory_of(dir)->names);
		struct tmpfs_entry *entry;

		if (!node)
			return NULL;
		entry = rb_entry(node, struct tmpfs_entry, node);
		if (S_ISDIR(entry->inode->mode) && directory_of(entry->inode)->count) {
			dir = entry->inode;
			continue;
		}
		return remove_entry(dir, entry);
	}
}

/* Nobody looks any more: the entries' references are the last, but for the root's. */
ASYNC(tmpfs_unmount, FS_SB_ARGS struct inode *inode;)
{
	struct tmpfs_sb *fs = f->sb->private;

	ASYNC_BEGIN;
	for (;;) {
		f->inode = take_leaf(fs->root);
		if (!f->inode)
			break;
		AWAIT(inode_put, .inode = f->inode);
	}
	AWAIT(inode_put, .inode = fs->root);
	kfree(fs);
	ASYNC_END;
}

struct filesystem tmpfs = {
	.name = "tmpfs",
	.flags = FS_NO_CACHE | FS_TMPFILE,
	.mount = &tmpfs_mount_fn,
	.unmount = &tmpfs_unmount_fn,
	.remount = &tmpfs_remount_fn,
	.free_inode = tmpfs_free_inode,
	.statfs = tmpfs_statfs,
};

/* --- for the kernel itself --- */
struct superblock *tmpfs_superblock(struct filesystem *fs)
{
	struct tmpfs_options o = {.mode = 0755};
	struct superblock *sb = superblock_alloc(fs);

	return sb && !set_up(sb, &o) ? sb : NULL;
}

struct inode *tmpfs_make(struct inode *dir, const struct name *name, mode_t mode, dev_t rdev, const char *target)
{
	if (find_entry(dir, name))
		return ERR_PTR(-EEXIST);
	return tmpfs_add(dir, name, mode, rdev, target, false);
}

const struct file_ops *tmpfs_file_ops(void)
{
	return &file_ops;
}

long tmpfs_add_link(struct inode *dir, const struct name *name, struct inode *inode)
{
	long error = find_entry(dir, name) ? -EEXIST : add_entry(dir, name, inode);

	if (!error) {
		inode_get(inode);
		inode->nlink++;
	}
	return error;
}

struct inode *tmpfs_find(struct inode *dir, const struct name *name)
{
	struct tmpfs_entry *entry = find_entry(dir, name);

	if (entry)
		inode_get(entry->inode);
	return entry ? entry->inode : NULL;
}

long tmpfs_forget(struct inode *dir, const struct name *name)
{
	struct tmpfs_entry *entry = find_entry(dir, name);
	struct inode *inode;

	if (!entry)
		return -ENOENT;
	inode = remove_entry(dir, entry);
	count_unlink(inode);
	if (!inode_put_fast(inode))
		inode_discard(inode);
	return 0;
}
