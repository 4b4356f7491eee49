// SPDX-License-Identifier: MIT
/*
 * The cache of names: a hash of all dentries that can be found, the tree they form, and an LRU list of those that
 * nobody uses. It owns the lock under which whole paths are walked.
 *
 *     in use (refcount > 0) <----> unused, hashed: on the LRU list ----> freed (dcache_shrink)
 *              |                                                           ^
 *              +---- removed, or never hashed: freed with the last reference
 *
 * The LRU list is lazy: a dentry that came into use again leaves it when the shrinker meets it.
 */
#include "internal.h"

#define HASH_ORDER 5 /* pages of buckets: 128 KiB */
#define HASH_BITS  13
_Static_assert((PAGE_SIZE << HASH_ORDER) == sizeof(struct list) << HASH_BITS, "size of the hash");

spinlock_t dcache_lock = SPINLOCK_INIT;
static struct list *buckets;
static struct list lru = LIST_INIT(lru);
static u64 dentry_count, lru_count, lru_limit;
static struct slab_cache *dentry_cache;

void dcache_init(void);
void dcache_init(void)
{
	struct page *page = page_alloc(HASH_ORDER, 0);
	struct memory_info memory;

	if (!page)
		panic("no memory for the dentry hash");
	buckets = page_address(page);
	for (u32 i = 0; i < 1u << HASH_BITS; i++)
		list_init(&buckets[i]);
	dentry_cache = slab_cache_create("dentry", sizeof(struct dentry), 0);
	memory_info(&memory);
	lru_limit = min(max(memory.total / 16, 1024ul), 65536ul);
}

u32 name_hash(const char *text, u32 length)
{
	u32 h = 0;

	for (u32 i = 0; i < length; i++)
		h = (h ^ (u8)text[i]) * 0x01000193u;
	return h ^ length;
}

static struct list *bucket_of(const struct dentry *parent, u32 hash)
{
	u64 key = ((uintptr_t)parent >> 6) + hash;

	return &buckets[key * 0x9e3779b97f4a7c15ull >> (64 - HASH_BITS)];
}

struct dentry *dentry_alloc(struct superblock *sb, const struct name *name)
{
	struct dentry *dentry = slab_alloc(dentry_cache);
	char *text;

	if (!dentry)
		return NULL;
	text = dentry->inline_name;
	if (name->length >= sizeof(dentry->inline_name)) {
		text = kmalloc(name->length + 1);
		if (!text) {
			slab_free(dentry_cache, dentry);
			return NULL;
		}
	}
	memcpy(text, name->text, name->length);
	text[name->length] = 0;
	atomic_init(&dentry->refcount, 1);
	dentry->flags = 0;
	dentry->parent = dentry;
	dentry->inode = NULL;
	dentry->sb = sb;
	dentry->name = (struct name){text, name->length, name->hash};
	list_init(&dentry->hash_node);
	list_init(&dentry->child_node);
	list_init(&dentry->children);
	list_init(&dentry->lru_node);
	spin_lock(&dcache_lock);
	dentry_count++;
	spin_unlock(&dcache_lock);
	return dentry;
}

static void dentry_free(struct dentry *dentry)
{
	if (dentry->name.text != dentry->inline_name)
		kfree((char *)(uintptr_t)dentry->name.text);
	slab_free(dentry_cache, dentry);
}

void dentry_discard(struct dentry *dentry)
{
	spin_lock(&dcache_lock);
	dentry_count--;
	spin_unlock(&dcache_lock);
	dentry_free(dentry);
}

struct dentry *dentry_find(struct dentry *parent, const struct name *name)
{
	struct list *bucket = bucket_of(parent, name->hash);
	struct dentry *dentry;

	list_for_each(dentry, bucket, hash_node)
		if (dentry->parent == parent && name_equal(&dentry->name, name))
			return dentry;
	return NULL;
}

static void dentry_hash(struct dentry *dentry) REQUIRES(dcache_lock)
{
	list_add(bucket_of(dentry->parent, dentry->name.hash), &dentry->hash_node);
	dentry->flags |= DENTRY_HASHED;
}

static void dentry_unhash(struct dentry *dentry) REQUIRES(dcache_lock)
{
	list_remove(&dentry->hash_node);
	dentry->flags &= ~DENTRY_HASHED;
}

/*
 * Takes a dead dentry (no references, not to be kept) out of everything and frees it. Its inode, to be put, or NULL;
 * *parent: whose reference must be dropped next, or NULL.
 */
static struct inode *dentry_kill(struct dentry *dentry, struct dentry **parent) REQUIRES(dcache_lock)
{
	struct inode *inode = dentry->inode;

	dentry_unhash(dentry);
	list_remove(&dentry->child_node);
	if (!list_empty(&dentry->lru_node)) {
		list_remove(&dentry->lru_node);
		lru_count--;
	}
	dentry_count--;
	*parent = dentry->parent == dentry ? NULL : dentry->parent;
	dentry_free(dentry);
	return inode;
}

/* Drops one reference. True: that was all. Else *inode (or NULL) must be put, then *next (or NULL) likewise. */
static bool dentry_unref(struct dentry *dentry, struct inode **inode, struct dentry **next)
{
	u32 n = atomic_load_explicit(&dentry->refcount, memory_order_relaxed);
	bool done = true;

	while (n > 1)
		if (atomic_compare_exchange_weak_explicit(&dentry->refcount, &n, n - 1,
			    memory_order_acq_rel, memory_order_relaxed))
			return true;
	spin_lock(&dcache_lock);
	if (atomic_fetch_sub_explicit(&dentry->refcount, 1, memory_order_acq_rel) == 1) {
		if (!(dentry->flags & DENTRY_HASHED)) {
			*inode = dentry_kill(dentry, next);
			done = false;
		} else if (list_empty(&dentry->lru_node)) {
			list_add_tail(&lru, &dentry->lru_node);
			lru_count++;
		}
	}
	spin_unlock(&dcache_lock);
	return done;
}

ASYNC_DEFINE(dentry_put)
{
	struct dentry *next;

	ASYNC_BEGIN;
	while (f->dentry) {
		if (dentry_unref(f->dentry, &f->inode, &next))
			break;
		f->dentry = next;
		if (f->inode && !inode_put_fast(f->inode))
			AWAIT(inode_put, .inode = f->inode);
	}
	ASYNC_END;
}

/* Links a fresh dentry under its parent, unless another is there by now: that one is returned, counted. */
static struct dentry *dentry_link(struct dentry *parent, struct dentry *fresh, bool hashed)
{
	struct dentry *other = NULL;

	spin_lock(&dcache_lock);
	if (hashed)
		other = dentry_find(parent, &fresh->name);
	if (other) {
		dentry_get(other);
	} else {
		dentry_get(parent);
		fresh->parent = parent;
		list_add(&parent->children, &fresh->child_node);
		if (hashed)
			dentry_hash(fresh);
	}
	spin_unlock(&dcache_lock);
	return other;
}

void dentry_hang(struct dentry *dentry, struct dentry *parent)
{
	spin_lock(&dcache_lock);
	dentry_get(parent);
	dentry->parent = parent;
	list_add(&parent->children, &dentry->child_node);
	spin_unlock(&dcache_lock);
}

ASYNC_DEFINE(dentry_lookup)
{
	struct inode *dir = f->parent->inode;
	struct dentry *other;
	bool hashed;

	ASYNC_BEGIN;
	spin_lock(&dcache_lock);
	f->dentry = dentry_find(f->parent, f->name);
	if (f->dentry)
		dentry_get(f->dentry);
	spin_unlock(&dcache_lock);
	if (f->dentry)
		ASYNC_RETURN((long)f->dentry);
	if (!dir->nlink)
		ASYNC_RETURN(-ENOENT);
	if (!dir->ops->lookup)
		ASYNC_RETURN(-ENOTDIR);
	AWAIT_OP(dir->ops->lookup, inode_lookup, .dir = f->parent->inode, .name = f->name);
	f->inode = IS_ERR(RESULT) ? NULL : (struct inode *)RESULT;
	/* Where nothing can be made, a missing name needs no dentry to make it on. */
	if (!f->inode && (RESULT != -ENOENT || ((dir->state & INODE_NO_NEGATIVE) && !dir->ops->create)))
		ASYNC_RETURN(RESULT);
	hashed = f->inode ? !(f->inode->state & INODE_NO_CACHE) : !(dir->state & INODE_NO_NEGATIVE);
	f->fresh = dentry_alloc(f->parent->sb, f->name);
	if (!f->fresh) {
		if (f->inode)
			AWAIT(inode_put, .inode = f->inode);
		ASYNC_RETURN(-ENOMEM);
	}
	f->fresh->inode = f->inode;
	other = dentry_link(f->parent, f->fresh, hashed);
	f->dentry = other ? other : f->fresh;
	if (other) /* somebody looked it up at the same time */
		AWAIT(dentry_put, .dentry = f->fresh);
	ASYNC_RETURN((long)f->dentry);
	ASYNC_END;
}

ASYNC_DEFINE(dentry_ask)
{
	ASYNC_BEGIN;
	do {
		INODE_LOCK_READ(f->parent->inode);
		AWAIT(dentry_lookup, .parent = f->parent, .name = f->name);
		f->found = RESULT;
		INODE_UNLOCK_READ(f->parent->inode);
	} while (f->found == -EAGAIN);
	if (unlikely(lru_count > lru_limit))
		AWAIT(vfs_shrink, .n = 128);
	ASYNC_RETURN(f->found);
	ASYNC_END;
}

void dentry_instantiate(struct dentry *dentry, struct inode *inode)
{
	spin_lock(&dcache_lock);
	dentry->inode = inode;
	if (!(dentry->flags & (DENTRY_HASHED | DENTRY_UNHASHED)))
		dentry_hash(dentry);
	spin_unlock(&dcache_lock);
}

ASYNC_DEFINE(dentry_remove)
{
	ASYNC_BEGIN;
	if (S_ISDIR(f->dentry->inode->mode))
		AWAIT(dentry_prune_tree, .root = f->dentry);
	spin_lock(&dcache_lock);
	if (atomic_load(&f->dentry->refcount) == 1 && !S_ISDIR(f->dentry->inode->mode) &&
		!(f->dentry->parent->inode->state & INODE_NO_NEGATIVE)) {
		/* Nobody else: the name is known to be free from now on. */
		f->inode = f->dentry->inode;
		f->dentry->inode = NULL;
	} else {
		dentry_unhash(f->dentry);
		f->dentry->flags |= DENTRY_UNHASHED;
	}
	spin_unlock(&dcache_lock);
	if (f->inode && !inode_put_fast(f->inode))
		AWAIT(inode_put, .inode = f->inode);
	ASYNC_END;
}

/* Makes the name and parent of a the ones of b, and the other way round. Whether inline or not, text moves along. */
static void dentry_swap_places(struct dentry *a, struct dentry *b) REQUIRES(dcache_lock)
{
	struct dentry *parent = a->parent;
	struct name name = a->name;
	char inline_name[sizeof(a->inline_name)];

	memcpy(inline_name, a->inline_name, sizeof(inline_name));
	memcpy(a->inline_name, b->inline_name, sizeof(inline_name));
	memcpy(b->inline_name, inline_name, sizeof(inline_name));
	a->name = b->name;
	if (b->name.text == b->inline_name)
		a->name.text = a->inline_name;
	b->name = name;
	if (name.text == a->inline_name)
		b->name.text = b->inline_name;
	a->parent = b->parent;
	b->parent = parent;
	list_remove(&a->child_node);
	list_remove(&b->child_node);
	list_add(&a->parent->children, &a->child_node);
	list_add(&b->parent->children, &b->child_node);
}

/*
 * After the swap `over` stands where `from` was. Not exchanging: the old place of `from` is no name any more, and `over`,
 * what was replaced (or the negative dentry that stood there), has none.
 */
ASYNC_DEFINE(dentry_move)
{
	ASYNC_BEGIN;
	if (!f->exchange && f->over->inode && S_ISDIR(f->over->inode->mode))
		AWAIT(dentry_prune_tree, .root = f->over);
	spin_lock(&dcache_lock);
	dentry_unhash(f->from);
	dentry_unhash(f->over);
	dentry_swap_places(f->from, f->over);
	dentry_hash(f->from);
	if (f->exchange) {
		dentry_hash(f->over);
	} else if (f->over->inode || (f->over->parent->inode->state & INODE_NO_NEGATIVE)) {
		f->over->flags |= DENTRY_UNHASHED;
	} else {
		dentry_hash(f->over); /* negative: the old name is free */
	}
	spin_unlock(&dcache_lock);
	ASYNC_END;
}

char *dentry_name(struct dentry *dentry, char *buf, size_t bytes)
{
	char *p = buf + bytes - 1;

	*p = 0;
	spin_lock(&dcache_lock);
	if (dentry == dentry->parent)
		*--p = '/';
	for (; dentry != dentry->parent && (size_t)(p - buf) > dentry->name.length; dentry = dentry->parent) {
		p -= dentry->name.length;
		memcpy(p, dentry->name.text, dentry->name.length);
		*--p = '/';
	}
	spin_unlock(&dcache_lock);
	return p;
}

bool dentry_is_below(struct dentry *dentry, struct dentry *ancestor)
{
	bool below;

	spin_lock(&dcache_lock);
	while (dentry != ancestor && dentry != dentry->parent)
		dentry = dentry->parent;
	below = dentry == ancestor;
	spin_unlock(&dcache_lock);
	return below;
}

/* The next dentry of a tree after this one, without its children: NULL at the end. */
static struct dentry *tree_skip(struct dentry *dentry, struct dentry *root) REQUIRES(dcache_lock)
{
	while (dentry != root) {
		if (dentry->child_node.next != &dentry->parent->children)
			return list_entry(dentry->child_node.next, struct dentry, child_node);
		dentry = dentry->parent;
	}
	return NULL;
}

/* An unused leaf below root, dead now: its inode in *inode. False: there is none. */
static bool prune_one(struct dentry *root, struct inode **inode)
{
	struct dentry *dentry, *parent;

	*inode = NULL;
	spin_lock(&dcache_lock);
	dentry = root;
	while (dentry && (dentry == root || atomic_load(&dentry->refcount))) {
		if (list_empty(&dentry->children))
			dentry = tree_skip(dentry, root);
		else
			dentry = list_first(&dentry->children, struct dentry, child_node);
	}
	if (dentry) {
		*inode = dentry_kill(dentry, &parent);
		/* A parent that only its children kept is unused now: the next round finds it. */
		if (atomic_fetch_sub(&parent->refcount, 1) == 1 && (parent->flags & DENTRY_HASHED) &&
			list_empty(&parent->lru_node)) {
			list_add_tail(&lru, &parent->lru_node);
			lru_count++;
		}
	}
	spin_unlock(&dcache_lock);
	return dentry;
}

ASYNC_DEFINE(dentry_prune_tree)
{
	ASYNC_BEGIN;
	while (prune_one(f->root, &f->inode)) {
		if (f->inode && !inode_put_fast(f->inode))
			AWAIT(inode_put, .inode = f->inode);
	}
	ASYNC_RETURN(list_empty(&f->root->children));
	ASYNC_END;
}

/* The oldest unused dentry dies: its inode and parent. False: there is none. */
static bool shrink_one(struct inode **inode, struct dentry **parent)
{
	bool found = false;

	spin_lock(&dcache_lock);
	while (!list_empty(&lru) && !found) {
		struct dentry *dentry = list_first(&lru, struct dentry, lru_node);

		if (atomic_load(&dentry->refcount)) {
			list_remove(&dentry->lru_node);
			lru_count--;
		} else {
			*inode = dentry_kill(dentry, parent);
			found = true;
		}
	}
	spin_unlock(&dcache_lock);
	return found;
}

ASYNC_DEFINE(vfs_shrink)
{
	ASYNC_BEGIN;
	for (; f->n; f->n--) {
		f->inode = NULL;
		f->dentry = NULL;
		if (!shrink_one(&f->inode, &f->dentry))
			break;
		if (f->inode && !inode_put_fast(f->inode))
			AWAIT(inode_put, .inode = f->inode);
		if (f->dentry)
			AWAIT(dentry_put, .dentry = f->dentry);
	}
	AWAIT(inode_shrink, .n = f->n);
	ASYNC_END;
}

void dentry_forget(struct dentry *root, const struct name *name)
{
	struct dentry *dentry;

	spin_lock(&dcache_lock);
	dentry = dentry_find(root, name);
	if (dentry) {
		dentry_unhash(dentry);
		dentry->flags |= DENTRY_UNHASHED;
	}
	spin_unlock(&dcache_lock);
}

void dcache_stats(u64 *dentries, u64 *unused)
{
	spin_lock(&dcache_lock);
	*dentries = dentry_count;
	*unused = lru_count;
	spin_unlock(&dcache_lock);
}
