/* SPDX-License-Identifier: MIT */
/* A radix tree from u64 to pointers, 64 children a node. Items may be marked, and marked ones found fast. The owner locks. */
#ifndef LICHEN_RADIX_H
#define LICHEN_RADIX_H

#include <lichen/types.h>

struct radix_node;
struct radix_tree {
	struct radix_node *root;
	u32 height;
};

void *radix_find(const struct radix_tree *tree, u64 key);
#define RADIX_LEAF 64u
/* The 64 slots of keys align_down(key, 64) and up (NULL where there is no item), or NULL if there are none. */
void *const *radix_leaf(const struct radix_tree *tree, u64 key);
/* 0, -EEXIST, -ENOMEM. The new item is not marked. */
long radix_insert(struct radix_tree *tree, u64 key, void *item);
/* n items under consecutive keys, up to the first key that has one: how many went in, -ENOMEM: none for want of memory. */
long radix_insert_run(struct radix_tree *tree, u64 key, void *const *items, u32 n);
/* The item, or NULL; empty nodes are freed. */
void *radix_remove(struct radix_tree *tree, u64 key);
/* Puts another item where one is, the mark stays: the old one, or NULL if there was none (nothing happens). */
void *radix_replace(struct radix_tree *tree, u64 key, void *item);
/* Marks or unmarks an item that is there: whether it was marked. */
bool radix_mark(struct radix_tree *tree, u64 key, bool mark);
/* The first item whose key is at least *key (which is updated), or NULL. */
void *radix_next(const struct radix_tree *tree, u64 *key);
void *radix_next_marked(const struct radix_tree *tree, u64 *key);

#endif
