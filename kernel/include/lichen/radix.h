/* SPDX-License-Identifier: MIT */
/* A radix tree from u64 to pointers, 64 children a node. The owner locks. */
#ifndef LICHEN_RADIX_H
#define LICHEN_RADIX_H

#include <lichen/types.h>

struct radix_node;
struct radix_tree {
	struct radix_node *root;
	u32 height;
};

void *radix_find(const struct radix_tree *tree, u64 key);
/* 0, -EEXIST, -ENOMEM. */
long radix_insert(struct radix_tree *tree, u64 key, void *item);
/* The item, or NULL; empty nodes are freed. */
void *radix_remove(struct radix_tree *tree, u64 key);
/* The first item whose key is at least *key (which is updated), or NULL. */
void *radix_next(const struct radix_tree *tree, u64 *key);

#endif
