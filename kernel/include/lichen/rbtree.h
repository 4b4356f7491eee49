/* SPDX-License-Identifier: MIT */
/* Intrusive red-black trees. The owner compares; the tree only balances. Any child may be NULL. */
#ifndef LICHEN_RBTREE_H
#define LICHEN_RBTREE_H

#include <lichen/types.h>

struct rb_node {
	struct rb_node *parent, *left, *right;
	bool red;
};

struct rb_tree {
	struct rb_node *root;
};

/* Links `node` as a child of `parent` at `link` (&parent->left, &parent->right or &tree->root) and rebalances. */
void rb_insert(struct rb_tree *tree, struct rb_node *node, struct rb_node *parent, struct rb_node **link);
void rb_erase(struct rb_tree *tree, struct rb_node *node);
struct rb_node *rb_first(const struct rb_tree *tree);
struct rb_node *rb_last(const struct rb_tree *tree);
struct rb_node *rb_next(const struct rb_node *node);
struct rb_node *rb_prev(const struct rb_node *node);
#define rb_entry(p, type, member) container_of(p, type, member)

#endif
