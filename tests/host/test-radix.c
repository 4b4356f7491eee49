/* SPDX-License-Identifier: MIT */
// kernel: mm/radix.c
/* The radix tree against a flat array, with keys near and far apart, marks, and allocations that fail. */
#include "check.h"
#include "shim/shim.h"
#include <lichen/radix.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 400 };

static u64 keys[KEYS]; /* ascending */
static void *items[KEYS];
static bool marks[KEYS];

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static void make_keys(void)
{
	for (int i = 0; i < KEYS; i++) {
		u64 random = (u64)rand() << 42 ^ (u64)rand() << 21 ^ (u64)rand();

		keys[i] = i % 4 == 0 ? (u64)i : i % 4 == 1 ? 4096 + (u64)(i * 7) : i % 4 == 2 ? random : random >> 30;
	}
	keys[1] = ~0ull;
	keys[5] = 1ull << 63;
	qsort(keys, KEYS, sizeof(keys[0]), compare);
	for (int i = 1; i < KEYS; i++)
		if (keys[i] <= keys[i - 1])
			keys[i] = keys[i - 1] + 1;
}

static void check_walk(const struct radix_tree *tree, bool marked)
{
	u64 key = 0;
	int i = 0;

	for (;;) {
		void *item = marked ? radix_next_marked(tree, &key) : radix_next(tree, &key);

		while (i < KEYS && (!items[i] || (marked && !marks[i])))
			i++;
		if (!item)
			break;
		CHECK(i < KEYS && item == items[i] && key == keys[i]);
		if (i >= KEYS || key == ~0ull) {
			i++;
			while (i < KEYS && (!items[i] || (marked && !marks[i])))
				i++;
			break;
		}
		i++;
		key++;
	}
	CHECK(i >= KEYS);
}

int main(void)
{
	struct radix_tree tree = {0};
	static char objects[KEYS];

	shim_start(1);
	srand(1);
	make_keys();
	for (int round = 0; round < 40000; round++) {
		int i = rand() % KEYS;

		shim_fail_allocations(round % 5000 < 2500 ? 0 : 5);
		switch (rand() % 6) {
		case 0:
		case 1: {
			long error = radix_insert(&tree, keys[i], &objects[i]);

			CHECK(error == (items[i] ? -EEXIST : 0) || error == -ENOMEM);
			if (!error)
				items[i] = &objects[i];
			break;
		}
		case 2:
			CHECK(radix_remove(&tree, keys[i]) == items[i]);
			items[i] = NULL;
			marks[i] = false;
			break;
		case 3:
		case 4:
			if (items[i]) {
				bool mark = rand() % 2;

				CHECK(radix_mark(&tree, keys[i], mark) == marks[i]);
				marks[i] = mark;
			}
			break;
		case 5:
			CHECK(radix_find(&tree, keys[i]) == items[i]);
			if (items[i])
				CHECK(radix_leaf(&tree, keys[i])[keys[i] & 63] == items[i]);
			break;
		}
		if (round % 500 == 0) {
			check_walk(&tree, false);
			check_walk(&tree, true);
		}
	}
	for (int i = 0; i < KEYS; i++) {
		CHECK(radix_remove(&tree, keys[i]) == items[i]);
		items[i] = NULL;
	}
	CHECK(!tree.root && shim_allocated() == 0);
	return CHECK_RESULT();
}
