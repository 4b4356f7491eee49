/* SPDX-License-Identifier: MIT */
/* The words that every file of the kernel uses. */
#ifndef LICHEN_TYPES_H
#define LICHEN_TYPES_H

#include <stdint.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <linux/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
#ifndef LICHEN_HOST_BUILD
typedef long ssize_t;
typedef s64 loff_t;
typedef s32 pid_t;
typedef u32 uid_t;
typedef u32 gid_t;
typedef u32 mode_t;
typedef u64 dev_t; /* kernel form; see vfs.h for the user forms */
typedef u64 ino_t;
#else
#include <sys/types.h>
#endif
typedef u64 phys_addr_t;
typedef u64 nsec_t; /* nanoseconds, CLOCK_MONOTONIC unless said otherwise */

/* Checked by sparse: user pointers are never dereferenced, only handed to uaccess.h. */
#ifdef __CHECKER__
#define __user __attribute__((noderef, address_space(__user)))
#define __force __attribute__((force))
#else
#define __user
#define __force
#endif

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#define __must_check	__attribute__((warn_unused_result))
#define __noreturn	__attribute__((noreturn))
#define __printf(a, b)	__attribute__((format(printf, a, b)))
#define __aligned(n)	__attribute__((aligned(n)))
#define __packed	__attribute__((packed))
#define __section(s)	__attribute__((section(s)))
#define __used		__attribute__((used))
#define __unused	__attribute__((unused))
#define __noinline	__attribute__((noinline))
#define __cold		__attribute__((cold, noinline)) /* called rarely: who may call it is laid out for when it does not */
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define fallthrough	__attribute__((fallthrough))

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define align_up(x, a)		(((x) + ((typeof(x))(a) - 1)) & ~((typeof(x))(a) - 1))
#define align_down(x, a)	((x) & ~((typeof(x))(a) - 1))
#define is_aligned(x, a)	(((x) & ((typeof(x))(a) - 1)) == 0)
#define div_round_up(n, d)	(((n) + (d) - 1) / (d))
#define min(a, b) ({ typeof(a) _a = (a); typeof(b) _b = (b); _a < _b ? _a : _b; })
#define max(a, b) ({ typeof(a) _a = (a); typeof(b) _b = (b); _a > _b ? _a : _b; })
#define min_t(t, a, b)	min((t)(a), (t)(b))
#define max_t(t, a, b)	max((t)(a), (t)(b))
#define BIT(n)		(1ull << (n))

/* An error in a pointer: the last 4095 addresses are never valid. */
#define ERR_PTR(e)	((void *)(long)(e))
#define PTR_ERR(p)	((long)(p))
#define IS_ERR(p)	unlikely((unsigned long)(p) >= (unsigned long)-4095L)

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ul
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#endif
