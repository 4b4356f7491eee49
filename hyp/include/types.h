/* SPDX-License-Identifier: MIT */
/*
 * Names for the integers of the machine, and the few macros that every file wants.
 */
#ifndef HYP_TYPES_H
#define HYP_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define KIB 1024ul
#define MIB (1024ul * KIB)
#define GIB (1024ul * MIB)

#define PAGE_SIZE  4096ul
#define BLOCK_SIZE (2 * MIB)

#define ARRAY_SIZE(a)	 (sizeof(a) / sizeof((a)[0]))
#define ALIGN_DOWN(x, a) ((x) & ~((u64)(a)-1))
#define ALIGN_UP(x, a)	 ALIGN_DOWN((x) + (u64)(a)-1, a)
#define BIT(n)		 (1ull << (n))
#define MIN(a, b)	 ((a) < (b) ? (a) : (b))
#define MAX(a, b)	 ((a) > (b) ? (a) : (b))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* [base, base + size) of physical addresses. */
struct range {
	u64 base;
	u64 size;
};

static inline u64 range_end(const struct range *r)
{
	return r->base + r->size;
}

/* True when [base, base + size) lies inside r. Overflow is not inside. */
static inline bool range_contains(const struct range *r, u64 base, u64 size)
{
	return base >= r->base && size <= r->size && base - r->base <= r->size - size;
}

static inline bool range_overlaps(const struct range *a, const struct range *b)
{
	return a->base < range_end(b) && b->base < range_end(a);
}

#define HYP_CPUS    64 /* a set of CPUs is a u64 */
#define HYP_DOMAINS 4
#define HYP_RANGES  16 /* pieces of RAM: of the machine, of a domain, of the pool */

#endif
