/* SPDX-License-Identifier: MIT */
/*
 * domains.conf: how the machine is divided. The file is text, one statement a line:
 *
 *     pool 40%                  share of RAM, or a size: 256M
 *     spare-spis 192-223        INTIDs that no device is wired to (default: the highest unused ones)
 *     trace 64K                 bytes of each trace ring, two a CPU (default: none)
 *     domain NAME
 *       role driver             owns the devices; exactly one domain does
 *       cpus 0,2-3              or 1- for all from 1
 *       memory 192M             or rest
 *       kernel MEMBER           of the payload; initrd MEMBER is optional
 *       cmdline TEXT            to the end of the line
 *       slots 8                 virtio devices that it may have
 *       signal sgi|spi          how completions arrive
 *       start when-ready|at-once
 *       share-memory            its whole RAM is open to the driver domain, instead of the pool
 *       sgi-filter              its SGIs are checked, at one exit each
 *       wfi-trap                its WFI instructions trap, so that its CPUs can be taken back whatever they do
 */
#ifndef HYP_CONFIG_H
#define HYP_CONFIG_H

#include "types.h"

#define CONFIG_NAME    16
#define CONFIG_MEMBER  64
#define CONFIG_CMDLINE 1024

struct domain_config {
	char name[CONFIG_NAME];
	char kernel[CONFIG_MEMBER];
	char initrd[CONFIG_MEMBER]; /* "" : none */
	char cmdline[CONFIG_CMDLINE];
	u64 cpus;   /* set of CPU indices, in the order of the device tree */
	u64 memory; /* bytes; 0: the rest */
	u32 slots;
	bool driver;
	bool signal_sgi;
	bool at_once;
	bool share_memory;
	bool sgi_filter;
	bool wfi_trap;
	u32 line; /* where the domain, its memory, kernel and initrd were said, for errors found later */
	u32 memory_line;
	u32 kernel_line;
	u32 initrd_line;
};

struct config {
	u64 pool;	  /* bytes, if pool_percent is 0 */
	u32 pool_percent; /* of the RAM that there is to give */
	u32 pool_line;
	u32 spare_first, spare_last; /* INTIDs; 0: not said */
	u32 spare_line;
	u64 trace; /* bytes of a ring, a power of two; 0: none */
	u32 domains;
	struct domain_config domain[HYP_DOMAINS];
};

struct config_error {
	u32 line; /* 0: about the whole file */
	char text[120];
};

/*
 * Parses `size` bytes of text for a machine of `cpus` CPUs. Returns 0, or -EINVAL with *error filled in. The result
 * satisfies: one driver domain, no CPU in two domains, every domain has a CPU, memory and a kernel, at most one takes the rest.
 */
int config_parse(
	const char *text, size_t size, u32 cpus, struct config *config, struct config_error *error);

/* Fills in *error ("%s" style: text, then detail after a colon when there is one) and returns -EINVAL. */
int config_error_set(struct config_error *error, u32 line, const char *text, const char *detail);

#endif
