// SPDX-License-Identifier: MIT
/*
 * Blocks: long runs near a goal. A run that continues the goal is taken as it is, however short (it lengthens an extent);
 * else the first run that is long enough, in this group or a later one; else the longest there is.
 */
#include "ext4.h"

static bool bit_test(const char *bitmap, u32 bit)
{
	return bitmap[bit / 8] >> bit % 8 & 1;
}

static u64 word_at(const char *bitmap, u32 bit)
{
	u64 word;

	memcpy(&word, bitmap + bit / 64 * 8, 8);
	return word;
}

/* The first bit at or after `from` that is set (or clear), or `bits`. Bitmaps are whole words. */
static u32 bit_next(const char *bitmap, u32 from, u32 bits, bool set)
{
	while (from < bits) {
		u64 word = word_at(bitmap, from);

		word = (set ? word : ~word) >> from % 64;
		if (word)
			return min(from + (u32)__builtin_ctzll(word), bits);
		from = align_down(from, 64u) + 64;
	}
	return bits;
}

/* A free run in [from, bits): the first of `want`, else the longest; its length, 0: none. */
static u32 run_find(const char *bitmap, u32 from, u32 bits, u32 want, u32 *first)
{
	u32 best = 0;

	while (from < bits) {
		u32 start = bit_next(bitmap, from, bits, false), end;

		if (start == bits)
			break;
		end = bit_next(bitmap, start, min(bits, start + want), true);
		if (end - start > best) {
			best = end - start;
			*first = start;
			if (best >= want)
				break;
		}
		from = end + 1;
	}
	return best;
}

static void bits_change(char *bitmap, u32 first, u32 count, bool set)
{
	for (u32 i = first; i < first + count; i++)
		bitmap[i / 8] = (char)(set ? bitmap[i / 8] | 1 << i % 8 : bitmap[i / 8] & ~(1 << i % 8));
}

bool blocks_reserve(struct ext4 *fs, u64 n)
{
	u64 taken = atomic_load(&fs->reserved);

	do {
		if (taken + n + fs->margin > atomic_load(&fs->free_blocks))
			return false;
	} while (!atomic_compare_exchange_weak(&fs->reserved, &taken, taken + n));
	return true;
}

void blocks_unreserve(struct ext4 *fs, u64 n)
{
	atomic_fetch_sub(&fs->reserved, n);
}

/* Where in group to look: the goal if the group has it. */
static u32 search_start(const struct blocks_alloc_frame *f)
{
	u64 first = group_first_block(f->fs, f->group);

	return f->goal >= first && f->goal < first + group_blocks(f->fs, f->group) ? (u32)(f->goal - first) : 0;
}

/* In the bitmap at hand: true, and f->start, f->found, if there is a run that is good enough in this pass. */
static bool choose(struct blocks_alloc_frame *f)
{
	const char *bitmap = f->bitmap->data;
	u32 bits = group_blocks(f->fs, f->group), start = search_start(f), n;

	if (start && !bit_test(bitmap, start)) {
		f->start = start;
		f->found = bit_next(bitmap, start, min(bits, start + f->want), true) - start;
		return true;
	}
	f->found = run_find(bitmap, start, bits, f->want, &f->start);
	if (f->found < f->want && start) {
		u32 other;

		n = run_find(bitmap, 0, start, f->want, &other);
		if (n > f->found) {
			f->found = n;
			f->start = other;
		}
	}
	return f->found && (f->pass || f->found >= f->want);
}

ASYNC_DEFINE(blocks_alloc)
{
	struct ext4 *fs = f->fs;
	struct ext4_group *group;

	ASYNC_BEGIN;
	if (!f->reserved && atomic_load(&fs->free_blocks) <= atomic_load(&fs->reserved) + f->want)
		ASYNC_RETURN(-ENOSPC);
	AWAIT(mutex_lock, .mutex = &f->fs->alloc_lock);
	fs = f->fs;
	f->want = min(f->want, fs->blocks_per_group);
	if (f->goal <= fs->first_data_block || f->goal >= fs->blocks)
		f->goal = fs->first_data_block + 1;
	f->error = -ENOSPC;
	for (f->pass = 0; f->pass < 2; f->pass++) {
		f->group = (u32)((f->goal - f->fs->first_data_block) / f->fs->blocks_per_group);
		for (f->tried = 0; f->tried < f->fs->groups; f->tried++) {
			group = &f->fs->group[f->group];
			if (!group->bad && group->free_blocks && (f->pass || f->tried == 0 || group->free_blocks >= f->want)) {
				AWAIT(group_block_bitmap, .fs = f->fs, .group = f->group);
				if (!IS_ERR((void *)RESULT)) {
					f->bitmap = (struct buffer *)RESULT;
					if (choose(f))
						goto found;
					buffer_put(f->fs, f->bitmap);
				} else if (RESULT != -EFSCORRUPTED) {
					f->error = RESULT;
					goto out;
				}
			}
			f->group = f->group + 1 == f->fs->groups ? 0 : f->group + 1;
		}
	}
	goto out;
found:
	/* The same buffer again, now to be changed. */
	buffer_put(f->fs, f->bitmap);
	AWAIT(group_block_bitmap, .fs = f->fs, .group = f->group, .change = true);
	if (IS_ERR((void *)RESULT)) {
		f->error = RESULT;
		goto out;
	}
	f->bitmap = (struct buffer *)RESULT;
	fs = f->fs;
	bits_change(f->bitmap->data, f->start, f->found, true);
	buffer_put(fs, f->bitmap);
	group = &fs->group[f->group];
	if (f->found > group->free_blocks) {
		group->bad = true;
		f->error = ext4_corrupt(fs, "group %u has more free blocks than it says", f->group);
		goto out;
	}
	group->free_blocks -= f->found;
	atomic_fetch_sub(&fs->free_blocks, f->found);
	*f->first = group_first_block(fs, f->group) + f->start;
	f->error = f->found;
out:
	mutex_unlock(&f->fs->alloc_lock);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

ASYNC_DEFINE(blocks_free)
{
	struct ext4 *fs = f->fs;
	struct ext4_group *group;
	u32 at, was;

	ASYNC_BEGIN;
	if (!block_valid(fs, f->first, f->count))
		ASYNC_RETURN(ext4_corrupt(fs, "blocks %llu+%llu to be freed lie outside", (unsigned long long)f->first, (unsigned long long)f->count));
	if (f->metadata)
		AWAIT(buffer_forget, .fs = f->fs, .block = f->first, .count = f->count);
	AWAIT(mutex_lock, .mutex = &f->fs->alloc_lock);
	while (f->count) {
		fs = f->fs;
		f->group = (u32)((f->first - fs->first_data_block) / fs->blocks_per_group);
		f->n = (u32)min(f->count, group_first_block(fs, f->group) + group_blocks(fs, f->group) - f->first);
		AWAIT(group_block_bitmap, .fs = f->fs, .group = f->group, .change = true);
		if (IS_ERR((void *)RESULT)) {
			mutex_unlock(&f->fs->alloc_lock);
			ASYNC_RETURN(RESULT);
		}
		f->bitmap = (struct buffer *)RESULT;
		fs = f->fs;
		group = &fs->group[f->group];
		at = (u32)(f->first - group_first_block(fs, f->group));
		was = 0;
		for (u32 i = 0; i < f->n; i++)
			was += bit_test(f->bitmap->data, at + i);
		if (was != f->n)
			ext4_corrupt(fs, "blocks %llu+%u were free already", (unsigned long long)f->first, f->n);
		bits_change(f->bitmap->data, at, f->n, false);
		group->free_blocks += was;
		atomic_fetch_add(&fs->free_blocks, was);
		buffer_put(fs, f->bitmap);
		f->first += f->n;
		f->count -= f->n;
	}
	mutex_unlock(&f->fs->alloc_lock);
	ASYNC_RETURN(0);
	ASYNC_END;
}
