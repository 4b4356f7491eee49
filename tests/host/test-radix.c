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

/* Runs of items between others: as far as the first key that has one, or as memory goes. */
static void test_runs(void)
{
	enum { SPAN = 5 * RADIX_LEAF };
	static char objects[SPAN];
	static void *run[SPAN];
	struct radix_tree tree = {0};
	bool there[SPAN] = {0};

	for (int round = 0; round < 3000; round++) {
		u32 at = (u32)rand() % SPAN, n = 1 + (u32)rand() % (SPAN - at), gap = 0;
		u64 base = round % 3 == 0 ? ~0ull - SPAN + 1 : 0;
		long done;

		if (tree.root && !(rand() % 4)) {
			for (u32 i = 0; i < SPAN; i++)
				if (there[i])
					CHECK(radix_remove(&tree, i) == &objects[i]);
			memset(there, 0, sizeof(there));
			CHECK(!tree.root);
		}
		if (base && tree.root)
			base = 0;
		shim_fail_allocations(round % 2 ? 0 : 3);
		while (gap < n && !there[at + gap])
			gap++;
		for (u32 i = 0; i < n; i++)
			run[i] = &objects[at + i];
		done = radix_insert_run(&tree, base + at, run, n);
		CHECK(done == (long)gap || (round % 2 == 0 && (done == -ENOMEM || (done > 0 && done < (long)gap && (at + done) % RADIX_LEAF == 0))));
		for (u32 i = 0; i < n; i++) {
			if ((long)i < done)
				there[at + i] = true;
			CHECK(radix_find(&tree, base + at + i) == (there[at + i] ? run[i] : NULL));
		}
		if (base)
			for (u32 i = 0; i < n && there[at + i]; i++) {
				CHECK(radix_remove(&tree, base + at + i) == run[i]);
				there[at + i] = false;
			}
		else if (rand() % 2 && there[at]) {
			CHECK(radix_remove(&tree, at) == &objects[at]);
			there[at] = false;
		}
	}
	for (u32 i = 0; i < SPAN; i++)
		if (there[i])
			radix_remove(&tree, i);
	CHECK(!tree.root && shim_allocated() == 0);
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
	test_runs();
	return CHECK_RESULT();
}
