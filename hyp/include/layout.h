/* SPDX-License-Identifier: MIT */
/*
 * Who gets which RAM: a pure calculation from the machine and the configuration. Everything is a multiple of 2 MiB, and
 * every piece has one owner: the hypervisor, the I/O pool or a domain.
 */
#ifndef HYP_LAYOUT_H
#define HYP_LAYOUT_H

#include "config.h"
#include "machine.h"

struct range_list {
	struct range range[HYP_RANGES];
	u32 count;
};

struct layout {
	struct range_list pool;
	struct range_list domain[HYP_DOMAINS];
};

/* `hyp` is the hypervisor's own memory. -EINVAL with *error when there is too little of something. */
int layout_plan(const struct machine *machine, const struct config *config, const struct range *hyp,
	struct layout *layout, struct config_error *error);

/*
 * The lowest place of `size` bytes at a multiple of `align` (a power of two) inside `ram` that overlaps none of `busy`. 0: there is none.
 */
u64 layout_place(const struct range_list *ram, const struct range_list *busy, u64 size, u64 align);

/* Appends, or joins to the last range when they touch. -ENOSPC when the list is full. */
int range_list_add(struct range_list *list, u64 base, u64 size);

u64 range_list_size(const struct range_list *list);
bool range_list_contains(const struct range_list *list, u64 base, u64 size);

#endif
