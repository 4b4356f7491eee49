/* SPDX-License-Identifier: MIT */
/* Address spaces on the host: shim_user_mm is what user copies work on. The initcalls of kernel/mm/ run here. */
#ifndef SHIM_MM_H
#define SHIM_MM_H

#include <lichen/irq.h>

struct mm;
extern struct mm *shim_user_mm;
extern const struct initcall shim_initcalls_start[] __asm__("__start_initcalls"), shim_initcalls_end[] __asm__("__stop_initcalls");

#endif
