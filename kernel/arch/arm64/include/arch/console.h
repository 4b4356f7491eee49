/* SPDX-License-Identifier: MIT */
/* The log console of the machine. */
#ifndef ARCH_CONSOLE_H
#define ARCH_CONSOLE_H
void console_init(const void *dt);
#endif
