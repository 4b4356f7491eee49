// SPDX-License-Identifier: MIT
/*
 * The tree of mounts. One namespace. Guarded by dcache_lock, so that walking a path crosses mounts under the lock it holds
 * anyway.
 *
 *     root_mount                    refcount: one for being in the tree, one for each path that points into it,
 *      |- /dev   (mount)            and one for each mount on it
 *      |- /proc  (mount)            A lazily detached mount lives on until its last path goes.
 */
#include "internal.h"

#define HASH_BITS 7

struct mount *root_mount;
static struct list buckets[1 << HASH_BITS];
static struct list all = LIST_INIT(all); /* by id */
static u32 last_id = 20;
static struct slab_cache *mount_cache;

void mount_init(void);
void mount_init(void)
{
	mount_cache = slab_cache_create("mount", sizeof(struct mount), 0);
}

static struct list *bucket_of(const struct mount *parent, const struct dentry *mountpoint) REQUIRES(dcache_lock)
{
	u64 key = ((uintptr_t)parent >> 6) + ((uintptr_t)mountpoint >> 4);
	struct list *bucket = &buckets[key * 0x9e3779b97f4a7c15ull >> (64 - HASH_BITS)];

	if (!bucket->next)
		list_init(bucket);
	return bucket;
}

struct mount *mount_alloc(struct superblock *sb, struct dentry *root, const char *source, u32 flags)
{
	struct mount *mount;

	mount = slab_zalloc(mount_cache);
	if (!mount)
		return NULL;
	atomic_init(&mount->refcount, 1);
	atomic_fetch_add(&sb->mounts, 1);
	mount->sb = sb;
	mount->root = root;
	dentry_get(root);
	mount->flags = flags;
	string_copy(mount->source, sizeof(mount->source), source);
	list_init(&mount->node);
	list_init(&mount->children);
	list_init(&mount->child_node);
	list_init(&mount->hash_node);
	spin_lock(&dcache_lock);
	mount->id = ++last_id;
	spin_unlock(&dcache_lock);
	return mount;
}

bool mount_put_fast(struct mount *mount)
{
	u32 n = atomic_load_explicit(&mount->refcount, memory_order_relaxed);

	while (n > 1)
		if (atomic_compare_exchange_weak_explicit(&mount->refcount, &n, n - 1,
			    memory_order_acq_rel, memory_order_relaxed))
			return true;
	return false;
}

ASYNC_DEFINE(mount_put)
{
	bool last;

	ASYNC_BEGIN;
	if (mount_put_fast(f->mount))
		ASYNC_RETURN(0);
	spin_lock(&dcache_lock);
	last = atomic_fetch_sub(&f->mount->refcount, 1) == 1;
	spin_unlock(&dcache_lock);
	if (!last)
		ASYNC_RETURN(0);
	f->sb = f->mount->sb;
	AWAIT(dentry_put, .dentry = f->mount->root);
	slab_free(mount_cache, f->mount);
	AWAIT(superblock_put, .sb = f->sb);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

void mount_put_later(struct mount *mount)
{
	if (!mount_put_fast(mount) && !task_spawn("mount-put", &mount_put_fn, &mount, sizeof(mount)))
		log_ratelimited(LOG_ERR, "no memory to end a mount of %s: it stays", mount->source);
}

struct mount *mount_at(struct mount *parent, struct dentry *mountpoint)
{
	struct list *bucket = bucket_of(parent, mountpoint);
	struct mount *mount;

	list_for_each(mount, bucket, hash_node)
		if (mount->parent == parent && mount->mountpoint == mountpoint)
			return mount;
	return NULL;
}

void path_follow_mounts(struct path *path)
{
	while (path->dentry->flags & DENTRY_MOUNTED) {
		struct mount *mount = mount_at(path->mount, path->dentry);

		if (!mount)
			break; /* mounted in another place of this file system */
		path->mount = mount;
		path->dentry = mount->root;
	}
}

static void insert_by_id(struct mount *mount) REQUIRES(dcache_lock)
{
	struct list *node = all.prev;

	while (node != &all && list_entry(node, struct mount, node)->id > mount->id)
		node = node->prev;
	list_add(node, &mount->node);
}

/* Whether a mount is `ancestor`, or lies on it at any depth. */
static bool mount_is_below(struct mount *mount, struct mount *ancestor) REQUIRES(dcache_lock)
{
	while (mount && mount != ancestor)
		mount = mount->parent;
	return mount;
}

static void link_mount(struct mount *mount, struct path at) REQUIRES(dcache_lock)
{
	mount_get(at.mount);
	dentry_get(at.dentry);
	mount->parent = at.mount;
	mount->mountpoint = at.dentry;
	at.dentry->flags |= DENTRY_MOUNTED;
	list_add_tail(&at.mount->children, &mount->child_node);
	list_add(bucket_of(at.mount, at.dentry), &mount->hash_node);
	if (list_empty(&mount->node))
		insert_by_id(mount);
}

/* The parent and the mountpoint, whose references become the caller's. */
static struct path unlink_mount(struct mount *mount) REQUIRES(dcache_lock)
{
	struct path at = {mount->parent, mount->mountpoint};
	struct mount *other;
	bool used = false;

	list_remove(&mount->child_node);
	list_remove(&mount->hash_node);
	mount->parent = NULL;
	mount->mountpoint = NULL;
	list_for_each(other, &all, node)
		used |= other->mountpoint == at.dentry;
	if (!used)
		at.dentry->flags &= ~DENTRY_MOUNTED;
	return at;
}

static long may_attach(struct mount *mount, struct path *at) REQUIRES(dcache_lock)
{
	path_follow_mounts(at);
	if (S_ISDIR(at->dentry->inode->mode) != S_ISDIR(mount->root->inode->mode))
		return -ENOTDIR;
	if (at->dentry->flags & DENTRY_UNHASHED)
		return -ENOENT;
	return 0;
}

long mount_attach(struct mount *mount, const struct path *where)
{
	struct path at = *where;
	long error;

	spin_lock(&dcache_lock);
	error = may_attach(mount, &at);
	/* The same thing twice on the same place. */
	if (!error && at.dentry == at.mount->root && at.mount->root == mount->root)
		error = -EBUSY;
	if (!error)
		link_mount(mount, at);
	spin_unlock(&dcache_lock);
	return error;
}

/*
 * The references to parent and mountpoint can't be the last: a mount in the tree is kept by the tree, and a hashed dentry goes
 * to the LRU list. Only those of a removed mountpoint would need a wait, and a mounted-on dentry can't be removed.
 */
static void drop_place(struct path at) REQUIRES(dcache_lock)
{
	atomic_fetch_sub(&at.mount->refcount, 1);
	atomic_fetch_sub(&at.dentry->refcount, 1);
}

long mount_detach(struct mount *mount, bool lazy)
{
	long error = 0;

	spin_lock(&dcache_lock);
	if (list_empty(&mount->node))
		error = -EINVAL;
	else if (!lazy && (!list_empty(&mount->children) || atomic_load(&mount->refcount) > 2))
		error = -EBUSY; /* 2: the tree, and the caller */
	else if (!mount->parent)
		error = -EINVAL; /* the root of all */
	if (!error) {
		struct path at = unlink_mount(mount);

		drop_place(at);
		list_remove(&mount->node);
	}
	spin_unlock(&dcache_lock);
	return error;
}

long mount_move(struct mount *mount, const struct path *to)
{
	struct path at = *to;
	long error;

	spin_lock(&dcache_lock);
	error = !mount->parent ? -EINVAL : may_attach(mount, &at);
	if (!error && mount_is_below(at.mount, mount))
		error = -ELOOP;
	if (!error) {
		drop_place(unlink_mount(mount));
		link_mount(mount, at);
	}
	spin_unlock(&dcache_lock);
	return error;
}

/* Hangs copies of all that is mounted on `from`, below `root`, into `copy`. */
static bool copy_children(struct mount *from, struct dentry *root, struct mount *copy)
{
	struct mount *child = NULL, *twin;
	struct list *node;
	bool below;

	/* One at a time, since allocating takes the lock. New mounts go to the end, where `copy` has no part in this list. */
	spin_lock(&dcache_lock);
	for (node = from->children.next; node != &from->children; node = node->next) {
		struct dentry *d;

		child = list_entry(node, struct mount, child_node);
		for (d = child->mountpoint; d != root && d != d->parent; d = d->parent)
			;
		below = d == root;
		if (!below)
			continue;
		mount_get(child);
		spin_unlock(&dcache_lock);
		twin = mount_copy(child, child->root, true);
		spin_lock(&dcache_lock);
		if (twin)
			link_mount(twin, (struct path){copy, child->mountpoint});
		atomic_fetch_sub(&child->refcount, 1);
		if (!twin || list_empty(&child->child_node))
			break; /* no memory, or it went away meanwhile */
	}
	spin_unlock(&dcache_lock);
	return true;
}

struct mount *mount_copy(struct mount *from, struct dentry *root, bool recursive)
{
	struct mount *copy = mount_alloc(from->sb, root, from->source, from->flags);

	if (copy && recursive)
		copy_children(from, root, copy);
	return copy;
}

struct mount *mount_child(struct mount *mount)
{
	struct mount *child = NULL;

	spin_lock(&dcache_lock);
	if (!list_empty(&mount->children)) {
		child = list_last(&mount->children, struct mount, child_node);
		mount_get(child);
	}
	spin_unlock(&dcache_lock);
	return child;
}

long mount_pivot(const struct path *new_root, const struct path *put_old)
{
	struct mount *mount = new_root->mount, *old = root_mount;
	struct path at = *put_old;
	struct dentry *d;
	long error = 0;

	spin_lock(&dcache_lock);
	for (d = at.dentry; d != new_root->dentry && d != d->parent; d = d->parent)
		;
	if (new_root->dentry != mount->root || !mount->parent)
		error = -EINVAL; /* not a mountpoint, or the root already */
	else if (mount == old || at.mount == old)
		error = -EBUSY;
	else if (at.mount != mount || d != new_root->dentry)
		error = -EINVAL; /* put_old must lie in the new root */
	if (!error) {
		drop_place(unlink_mount(mount));
		root_mount = mount;
		link_mount(old, at);
	}
	spin_unlock(&dcache_lock);
	return error;
}

struct mount *mount_next(u32 after)
{
	struct mount *mount, *found = NULL;

	spin_lock(&dcache_lock);
	list_for_each(mount, &all, node) {
		if (mount->id > after) {
			found = mount;
			mount_get(mount);
			break;
		}
	}
	spin_unlock(&dcache_lock);
	return found;
}

/* The first mount of all: its reference goes to the tree. */
void mount_set_root(struct mount *mount);
void mount_set_root(struct mount *mount)
{
	spin_lock(&dcache_lock);
	root_mount = mount;
	insert_by_id(mount);
	spin_unlock(&dcache_lock);
}
