/* SPDX-License-Identifier: MIT */
/*
 * Red-black trees: a red node has no red child, and every path from the root down has as many black nodes. Hence no
 * path is longer than twice the shortest.
 */
#include <lichen/rbtree.h>

static void replace_child(struct rb_tree *tree, struct rb_node *parent, struct rb_node *old, struct rb_node *new)
{
	if (!parent)
		tree->root = new;
	else if (parent->left == old)
		parent->left = new;
	else
		parent->right = new;
	if (new)
		new->parent = parent;
}

static void rotate_left(struct rb_tree *tree, struct rb_node *n)
{
	struct rb_node *r = n->right;

	n->right = r->left;
	if (n->right)
		n->right->parent = n;
	replace_child(tree, n->parent, n, r);
	r->left = n;
	n->parent = r;
}

static void rotate_right(struct rb_tree *tree, struct rb_node *n)
{
	struct rb_node *l = n->left;

	n->left = l->right;
	if (n->left)
		n->left->parent = n;
	replace_child(tree, n->parent, n, l);
	l->right = n;
	n->parent = l;
}

void rb_insert(struct rb_tree *tree, struct rb_node *node, struct rb_node *parent, struct rb_node **link)
{
	struct rb_node *grand, *uncle;

	node->parent = parent;
	node->left = node->right = NULL;
	node->red = true;
	*link = node;
	while ((parent = node->parent) && parent->red) {
		grand = parent->parent; /* there is one: the root is black */
		uncle = parent == grand->left ? grand->right : grand->left;
		if (uncle && uncle->red) {
			parent->red = uncle->red = false;
			grand->red = true;
			node = grand;
			continue;
		}
		if (parent == grand->left) {
			if (node == parent->right) {
				rotate_left(tree, parent);
				parent = node;
			}
			rotate_right(tree, grand);
		} else {
			if (node == parent->left) {
				rotate_right(tree, parent);
				parent = node;
			}
			rotate_left(tree, grand);
		}
		parent->red = false;
		grand->red = true;
		break;
	}
	tree->root->red = false;
}

/* A black node went from below `parent`, on the side where `node` (maybe NULL) is now. */
static void erase_rebalance(struct rb_tree *tree, struct rb_node *node, struct rb_node *parent)
{
	while (parent && !(node && node->red)) {
		bool left = parent->left == node;
		struct rb_node *sibling = left ? parent->right : parent->left;
		struct rb_node *near, *far;

		if (sibling->red) {
			sibling->red = false;
			parent->red = true;
			if (left)
				rotate_left(tree, parent);
			else
				rotate_right(tree, parent);
			sibling = left ? parent->right : parent->left;
		}
		near = left ? sibling->left : sibling->right;
		far = left ? sibling->right : sibling->left;
		if (!(near && near->red) && !(far && far->red)) {
			sibling->red = true;
			node = parent;
			parent = node->parent;
			continue;
		}
		if (!(far && far->red)) {
			near->red = false;
			sibling->red = true;
			if (left)
				rotate_right(tree, sibling);
			else
				rotate_left(tree, sibling);
			far = sibling;
			sibling = near;
		}
		sibling->red = parent->red;
		parent->red = false;
		far->red = false;
		if (left)
			rotate_left(tree, parent);
		else
			rotate_right(tree, parent);
		return;
	}
	if (node)
		node->red = false;
}

void rb_erase(struct rb_tree *tree, struct rb_node *node)
{
	struct rb_node *child, *parent;
	bool was_red;

	if (node->left && node->right) {
		struct rb_node *next = node->right;

		while (next->left)
			next = next->left;
		child = next->right;
		was_red = next->red;
		parent = next->parent;
		if (parent == node) {
			parent = next;
		} else {
			replace_child(tree, parent, next, child);
			next->right = node->right;
			next->right->parent = next;
		}
		replace_child(tree, node->parent, node, next);
		next->left = node->left;
		next->left->parent = next;
		next->red = node->red;
	} else {
		child = node->left ? node->left : node->right;
		was_red = node->red;
		parent = node->parent;
		replace_child(tree, parent, node, child);
	}
	if (!was_red)
		erase_rebalance(tree, child, parent);
}

struct rb_node *rb_first(const struct rb_tree *tree)
{
	struct rb_node *n = tree->root;

	while (n && n->left)
		n = n->left;
	return n;
}

struct rb_node *rb_last(const struct rb_tree *tree)
{
	struct rb_node *n = tree->root;

	while (n && n->right)
		n = n->right;
	return n;
}

struct rb_node *rb_next(const struct rb_node *node)
{
	struct rb_node *n, *parent;

	if (node->right) {
		for (n = node->right; n->left; n = n->left)
			;
		return n;
	}
	for (parent = node->parent; parent && node == parent->right; parent = node->parent)
		node = parent;
	return parent;
}

struct rb_node *rb_prev(const struct rb_node *node)
{
	struct rb_node *n, *parent;

	if (node->left) {
		for (n = node->left; n->right; n = n->right)
			;
		return n;
	}
	for (parent = node->parent; parent && node == parent->left; parent = node->parent)
		node = parent;
	return parent;
}
