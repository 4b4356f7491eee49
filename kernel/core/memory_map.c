/* SPDX-License-Identifier: MIT */
/*
 * The memory map of boot. Ranges come from the device tree, so nothing about them is trusted: they are clipped to whole
 * pages, sorted, merged, and what does not fit is left out with a message.
 */
#include <lichen/boot.h>
#include <lichen/page.h>
#include <lichen/printk.h>
#include <lichen/string.h>
#include <arch/memory.h>

struct memory_map memory_map;
phys_addr_t memory_map_mapped_end;

/* Adds a range to a sorted, disjoint array; overlapping and touching ones become one. */
static bool range_add(struct memory_range *array, u32 *count, u32 capacity, phys_addr_t base, phys_addr_t size)
{
	phys_addr_t end = base + size;
	u32 i = 0, j;

	while (i < *count && array[i].base + array[i].size < base)
		i++;
	for (j = i; j < *count && array[j].base <= end; j++) {
		base = min(base, array[j].base);
		end = max(end, array[j].base + array[j].size);
	}
	if (i == j) {
		if (*count == capacity)
			return false;
		memmove(&array[i + 1], &array[i], (*count - i) * sizeof(*array));
		++*count;
	} else {
		memmove(&array[i + 1], &array[j], (*count - j) * sizeof(*array));
		*count -= j - i - 1;
	}
	array[i] = (struct memory_range){base, end - base};
	return true;
}

static bool range_sane(phys_addr_t base, phys_addr_t size)
{
	return size && base < BIT(LINEAR_BITS) && size <= BIT(LINEAR_BITS) - base;
}

void memory_map_add_ram(phys_addr_t base, phys_addr_t size, bool pool)
{
	phys_addr_t start = align_up(base, PAGE_SIZE), end;

	if (!range_sane(base, size)) {
		log_warn("device tree: memory at %#llx, size %#llx: ignored", (unsigned long long)base,
			(unsigned long long)size);
		return;
	}
	end = align_down(base + size, PAGE_SIZE);
	if (end <= start)
		return;
	if (pool ? !range_add(memory_map.pool, &memory_map.pool_count, ARRAY_SIZE(memory_map.pool), start, end - start)
		 : !range_add(memory_map.ram, &memory_map.ram_count, MEMORY_RANGES, start, end - start))
		log_warn("device tree: more memory ranges than %u: the one at %#llx is not used", MEMORY_RANGES,
			(unsigned long long)base);
}

void memory_map_reserve(phys_addr_t base, phys_addr_t size)
{
	phys_addr_t start = align_down(base, PAGE_SIZE), end;

	if (!range_sane(base, size))
		return;
	end = align_up(base + size, PAGE_SIZE);
	if (!range_add(memory_map.reserved, &memory_map.reserved_count, MEMORY_RANGES, start, end - start))
		panic("device tree: more than %u reserved ranges", MEMORY_RANGES);
}

/* The pool's pages must not be among the private ones, whatever the tree says. */
void memory_map_finish(void)
{
	for (u32 i = 0; i < memory_map.pool_count; i++) {
		struct memory_range p = memory_map.pool[i];

		for (u32 j = 0; j < memory_map.ram_count; j++) {
			struct memory_range r = memory_map.ram[j];
			phys_addr_t start = max(p.base, r.base), end = min(p.base + p.size, r.base + r.size);

			if (start >= end)
				continue;
			/* Cut [start, end) out of r. */
			memmove(&memory_map.ram[j], &memory_map.ram[j + 1],
				(memory_map.ram_count - j - 1) * sizeof(r));
			memory_map.ram_count--;
			if (r.base < start)
				range_add(memory_map.ram, &memory_map.ram_count, MEMORY_RANGES, r.base, start - r.base);
			if (end < r.base + r.size)
				range_add(memory_map.ram, &memory_map.ram_count, MEMORY_RANGES, end,
					r.base + r.size - end);
			j = (u32)-1;
		}
	}
}

/* Free parts of [range), in order; false from fn ends the walk. */
static bool for_each_free(const struct memory_range *range, bool (*fn)(phys_addr_t base, phys_addr_t size, void *arg),
	void *arg)
{
	phys_addr_t at = range->base, end = range->base + range->size;

	for (u32 i = 0; i < memory_map.reserved_count && at < end; i++) {
		const struct memory_range *r = &memory_map.reserved[i];

		if (r->base + r->size <= at)
			continue;
		if (r->base >= end)
			break;
		if (r->base > at && !fn(at, r->base - at, arg))
			return false;
		at = max(at, r->base + r->size);
	}
	return at >= end || fn(at, end - at, arg);
}

struct request {
	phys_addr_t size, align, found;
};

static bool try_fit(phys_addr_t base, phys_addr_t size, void *arg)
{
	struct request *r = arg;
	phys_addr_t end = min(base + size, memory_map_mapped_end);
	phys_addr_t at;

	/* From the end down: low memory stays whole. */
	if (end < r->size || end <= base)
		return true;
	at = align_down(end - r->size, r->align);
	if (at >= base && at)
		r->found = at; /* the highest fit wins */
	return true;
}

phys_addr_t memory_map_alloc(phys_addr_t size, phys_addr_t align)
{
	struct request request = {.size = align_up(size, PAGE_SIZE), .align = align};

	for (u32 i = 0; i < memory_map.ram_count; i++)
		for_each_free(&memory_map.ram[i], try_fit, &request);
	if (request.found)
		memory_map_reserve(request.found, request.size);
	return request.found;
}

struct free_call {
	void (*fn)(phys_addr_t base, phys_addr_t size, bool pool);
	bool pool;
};

static bool call_free(phys_addr_t base, phys_addr_t size, void *arg)
{
	struct free_call *call = arg;

	call->fn(base, size, call->pool);
	return true;
}

void memory_map_for_each_free(void (*fn)(phys_addr_t base, phys_addr_t size, bool pool))
{
	struct free_call call = {.fn = fn};

	for (u32 i = 0; i < memory_map.ram_count; i++)
		for_each_free(&memory_map.ram[i], call_free, &call);
	call.pool = true;
	for (u32 i = 0; i < memory_map.pool_count; i++)
		for_each_free(&memory_map.pool[i], call_free, &call);
}
