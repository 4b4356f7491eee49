/* SPDX-License-Identifier: MIT */
/*
 * Divides the RAM. The driver domain takes from the bottom (devices with 32-bit DMA want low memory), the pool from the
 * top (one piece, as a rule), the others lie between.
 */
#include <string.h>
#include <asm/errno.h>

#include "layout.h"

int range_list_add(struct range_list *list, u64 base, u64 size)
{
	if (!size)
		return 0;
	if (list->count && range_end(&list->range[list->count - 1]) == base) {
		list->range[list->count - 1].size += size;
		return 0;
	}
	if (list->count == HYP_RANGES)
		return -ENOSPC;
	list->range[list->count++] = (struct range){base, size};
	return 0;
}

u64 range_list_size(const struct range_list *list)
{
	u64 size = 0;

	for (u32 i = 0; i < list->count; i++)
		size += list->range[i].size;
	return size;
}

bool range_list_contains(const struct range_list *list, u64 base, u64 size)
{
	for (u32 i = 0; i < list->count; i++)
		if (range_contains(&list->range[i], base, size))
			return true;
	return false;
}

/* Cuts [base, end) out of every range of the list. */
static int range_list_cut(struct range_list *list, u64 base, u64 end)
{
	struct range_list out = {.count = 0};
	int err = 0;

	for (u32 i = 0; i < list->count; i++) {
		u64 from = list->range[i].base, to = range_end(&list->range[i]);

		if (end <= from || base >= to) {
			err = err ? err : range_list_add(&out, from, to - from);
			continue;
		}
		if (base > from)
			err = err ? err : range_list_add(&out, from, base - from);
		if (end < to)
			err = err ? err : range_list_add(&out, end, to - end);
	}
	*list = out;
	return err;
}

/* Moves `size` bytes from the low end of `from` to `to`. */
static int take_low(struct range_list *from, struct range_list *to, u64 size)
{
	while (size && from->count) {
		struct range *first = &from->range[0];
		u64 n = MIN(size, first->size);
		int err = range_list_add(to, first->base, n);

		if (err)
			return err;
		first->base += n;
		first->size -= n;
		size -= n;
		if (!first->size) {
			from->count--;
			memmove(first, first + 1, from->count * sizeof(*first));
		}
	}
	return size ? -ENOMEM : 0;
}

/* Moves `size` bytes from the high end, preferring a range that holds them all. */
static int take_high(struct range_list *from, struct range_list *to, u64 size)
{
	for (u32 i = from->count; i-- > 0;) {
		struct range *range = &from->range[i];

		if (range->size >= size) {
			int err = range_list_add(to, range_end(range) - size, size);

			range->size -= size;
			if (!range->size) {
				from->count--;
				memmove(range, range + 1, (from->count - i) * sizeof(*range));
			}
			return err;
		}
	}
	return take_low(from, to, size);
}

static void sort(struct range_list *list)
{
	for (u32 i = 1; i < list->count; i++)
		for (u32 j = i; j > 0 && list->range[j].base < list->range[j - 1].base; j--) {
			struct range swap = list->range[j];

			list->range[j] = list->range[j - 1];
			list->range[j - 1] = swap;
		}
}

/* All RAM that there is to give, sorted. */
static int free_ram(const struct machine *machine, const struct range *hyp, struct range_list *ram)
{
	int err = 0;

	ram->count = 0;
	for (u32 i = 0; i < machine->rams && !err; i++) {
		u64 base = ALIGN_UP(machine->ram[i].base, BLOCK_SIZE);
		u64 end = ALIGN_DOWN(range_end(&machine->ram[i]), BLOCK_SIZE);

		if (base < end)
			err = range_list_add(ram, base, end - base);
	}
	sort(ram);
	for (u32 i = 0; i < machine->reserveds && !err; i++)
		err = range_list_cut(ram, ALIGN_DOWN(machine->reserved[i].base, BLOCK_SIZE),
			ALIGN_UP(range_end(&machine->reserved[i]), BLOCK_SIZE));
	return err ? err : range_list_cut(ram, hyp->base, range_end(hyp));
}

int layout_plan(const struct machine *machine, const struct config *config, const struct range *hyp,
	struct layout *layout, struct config_error *error)
{
	struct range_list ram;
	u64 total, pool;
	bool pool_used = false;

	memset(layout, 0, sizeof(*layout));
	if (free_ram(machine, hyp, &ram))
		return config_error_set(error, 0, "the RAM lies in too many pieces", NULL);
	total = range_list_size(&ram);

	for (u32 i = 0; i < config->domains; i++)
		pool_used |= !config->domain[i].driver && !config->domain[i].share_memory;
	pool = config->pool_percent ? total / 100 * config->pool_percent : config->pool;
	pool = pool_used ? ALIGN_UP(pool, BLOCK_SIZE) : 0;
	if (pool && take_high(&ram, &layout->pool, pool))
		return config_error_set(
			error, config->pool_line, "there is not enough RAM for the pool", NULL);

	/* The driver domain first, then the others in order, the rest last. */
	for (int pass = 0; pass < 3; pass++)
		for (u32 i = 0; i < config->domains; i++) {
			const struct domain_config *d = &config->domain[i];
			u64 size =
				d->memory ? ALIGN_UP(d->memory, BLOCK_SIZE) : range_list_size(&ram);

			if (pass != (!d->memory ? 2 : d->driver ? 0 : 1))
				continue;
			if (!size || take_low(&ram, &layout->domain[i], size))
				return config_error_set(error, d->memory_line,
					"there is not enough RAM for this domain", d->name);
		}
	return 0;
}

u64 layout_place(const struct range_list *ram, const struct range_list *busy, u64 size, u64 align)
{
	for (u32 i = 0; i < ram->count; i++) {
		u64 at = ALIGN_UP(ram->range[i].base, align);

		for (u32 j = 0; j < busy->count; j++) {
			struct range place = {at, size};

			if (range_overlaps(&place, &busy->range[j])) {
				at = ALIGN_UP(range_end(&busy->range[j]), align);
				j = -1; /* look at all of them again */
			}
		}
		if (range_contains(&ram->range[i], at, size))
			return at;
	}
	return 0;
}
