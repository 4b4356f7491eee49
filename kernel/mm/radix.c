/* SPDX-License-Identifier: MIT */
/*
 * The radix tree: nodes of 64 children, as high as the largest key needs. A node knows which of its children exist and
 * which lead to a marked item, one bit each, so that searches skip what is empty. It never locks and never frees items.
 */
#include <lichen/radix.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <asm/errno.h>

#define BITS  6
#define SLOTS 64

struct radix_node {
	u64 present; /* children that are not NULL */
	u64 marked;  /* children that are marked, or lead to one that is */
	void *slot[SLOTS];
};

/* A key of 64 bits needs 11 levels. */
#define HEIGHT_MAX 11

static inline u32 slot_of(u64 key, u32 level)
{
	return (key >> (level * BITS)) & (SLOTS - 1);
}

static inline bool key_fits(const struct radix_tree *tree, u64 key)
{
	return tree->height * BITS >= 64 || !(key >> (tree->height * BITS));
}

void *radix_find(const struct radix_tree *tree, u64 key)
{
	struct radix_node *node = tree->root;
	u32 level = tree->height;

	if (!node || !key_fits(tree, key))
		return NULL;
	while (level-- > 0) {
		node = node->slot[slot_of(key, level)];
		if (!node)
			return NULL;
	}
	return node;
}

void *const *radix_leaf(const struct radix_tree *tree, u64 key)
{
	struct radix_node *node = tree->root;
	u32 level = tree->height;

	if (!node || !key_fits(tree, key))
		return NULL;
	while (--level > 0) {
		node = node->slot[slot_of(key, level)];
		if (!node)
			return NULL;
	}
	return node->slot;
}

/* Room for the key: nodes above the root, none of them without a child. */
static long grow(struct radix_tree *tree, u64 key)
{
	struct radix_node *node;

	while (!tree->root || !key_fits(tree, key)) {
		if (tree->root && !tree->root->present) { /* what a failed insertion left */
			tree->height++;
			continue;
		}
		node = kzalloc(sizeof(*node));
		if (!node)
			return -ENOMEM;
		if (tree->root) {
			node->slot[0] = tree->root;
			node->present = 1;
			node->marked = tree->root->marked ? 1 : 0;
		}
		tree->root = node;
		tree->height++;
	}
	return 0;
}

/* The nodes from the root (path[height - 1]) to the leaf (path[0]); false if one is missing. */
static bool find_path(const struct radix_tree *tree, u64 key, struct radix_node **path)
{
	struct radix_node *node = tree->root;

	if (!node || !key_fits(tree, key))
		return false;
	for (u32 level = tree->height; level-- > 0;) {
		if (!node)
			return false;
		path[level] = node;
		node = node->slot[slot_of(key, level)];
	}
	return node != NULL;
}

static void unmark(const struct radix_tree *tree, u64 key, struct radix_node **path)
{
	for (u32 level = 0; level < tree->height; level++) {
		path[level]->marked &= ~BIT(slot_of(key, level));
		if (path[level]->marked)
			return;
	}
}

/* Frees nodes on the way to `key` that have nothing below them. */
static void prune(struct radix_tree *tree, u64 key)
{
	struct radix_node *path[HEIGHT_MAX], *node = tree->root;
	u32 level = tree->height, depth = level;

	while (depth > 0 && node) {
		path[--depth] = node;
		node = depth ? node->slot[slot_of(key, depth)] : NULL;
	}
	for (; depth < level && !path[depth]->present; depth++) {
		kfree(path[depth]);
		if (depth + 1 == level) {
			tree->root = NULL;
			tree->height = 0;
			return;
		}
		path[depth + 1]->slot[slot_of(key, depth + 1)] = NULL;
		path[depth + 1]->present &= ~BIT(slot_of(key, depth + 1));
	}
}

/* The leaf for `key`, made if need be; NULL without memory. */
static struct radix_node *leaf_make(struct radix_tree *tree, u64 key)
{
	struct radix_node *node;

	if (grow(tree, key))
		return NULL;
	node = tree->root;
	for (u32 level = tree->height - 1; level > 0; level--) {
		u32 i = slot_of(key, level);

		if (!node->slot[i]) {
			node->slot[i] = kzalloc(sizeof(*node));
			if (!node->slot[i]) {
				prune(tree, key);
				return NULL;
			}
			node->present |= BIT(i);
		}
		node = node->slot[i];
	}
	return node;
}

long radix_insert(struct radix_tree *tree, u64 key, void *item)
{
	struct radix_node *leaf = leaf_make(tree, key);

	if (!leaf)
		return -ENOMEM;
	if (leaf->slot[slot_of(key, 0)])
		return -EEXIST;
	leaf->slot[slot_of(key, 0)] = item;
	leaf->present |= BIT(slot_of(key, 0));
	return 0;
}

long radix_insert_run(struct radix_tree *tree, u64 key, void *const *items, u32 n)
{
	u32 done = 0;

	while (done < n) {
		u32 slot = slot_of(key + done, 0), room = min(n - done, SLOTS - slot);
		struct radix_node *leaf = leaf_make(tree, key + done);
		u64 taken;

		if (!leaf)
			return done ? (long)done : -ENOMEM;
		taken = leaf->present >> slot;
		if (taken)
			room = min(room, (u32)__builtin_ctzll(taken));
		if (!room)
			break;
		memcpy(&leaf->slot[slot], items + done, room * sizeof(*items));
		leaf->present |= ~0ull >> (SLOTS - room) << slot;
		done += room;
	}
	return done;
}

void *radix_remove(struct radix_tree *tree, u64 key)
{
	struct radix_node *path[HEIGHT_MAX];
	void *item;

	if (!find_path(tree, key, path))
		return NULL;
	item = path[0]->slot[slot_of(key, 0)];
	unmark(tree, key, path);
	path[0]->slot[slot_of(key, 0)] = NULL;
	path[0]->present &= ~BIT(slot_of(key, 0));
	prune(tree, key);
	return item;
}

void *radix_replace(struct radix_tree *tree, u64 key, void *item)
{
	struct radix_node *path[HEIGHT_MAX];
	void *old;

	if (!find_path(tree, key, path))
		return NULL;
	old = path[0]->slot[slot_of(key, 0)];
	path[0]->slot[slot_of(key, 0)] = item;
	return old;
}

bool radix_mark(struct radix_tree *tree, u64 key, bool mark)
{
	struct radix_node *path[HEIGHT_MAX];
	bool was;

	if (!find_path(tree, key, path))
		return false;
	was = path[0]->marked & BIT(slot_of(key, 0));
	if (was && !mark)
		unmark(tree, key, path);
	for (u32 level = 0; mark && !was && level < tree->height; level++)
		path[level]->marked |= BIT(slot_of(key, level));
	return was;
}

/* Depth first, never deeper than the height: the path is kept, not recursed. */
static void *next(const struct radix_tree *tree, u64 *key, bool marked)
{
	struct radix_node *path[HEIGHT_MAX];
	u64 at = *key;
	u32 level;

	if (!tree->root || !key_fits(tree, at))
		return NULL;
	level = tree->height - 1;
	path[level] = tree->root;
	for (;;) {
		u32 i = slot_of(at, level);
		u64 set = (marked ? path[level]->marked : path[level]->present) & (~0ull << i);

		if (set) {
			u32 found = (u32)__builtin_ctzll(set);

			if (found != i) /* the first key below that child */
				at = (((at >> (level * BITS)) & ~(u64)(SLOTS - 1)) | found) << (level * BITS);
			if (!level) {
				*key = at;
				return path[0]->slot[found];
			}
			path[level - 1] = path[level]->slot[found];
			level--;
			continue;
		}
		/* Nothing left here: the next child of the nearest node above that has one. */
		do {
			if (++level >= tree->height)
				return NULL;
		} while (slot_of(at, level) == SLOTS - 1);
		at = ((at >> (level * BITS)) + 1) << (level * BITS);
		if (!at) /* the highest node is not full of slots: 64 is no multiple of 6 */
			return NULL;
	}
}

void *radix_next(const struct radix_tree *tree, u64 *key)
{
	return next(tree, key, false);
}

void *radix_next_marked(const struct radix_tree *tree, u64 *key)
{
	return next(tree, key, true);
}
