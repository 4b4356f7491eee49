/* SPDX-License-Identifier: MIT */
/* Interrupts and CPUs, in the words that all architectures share. */
#ifndef LICHEN_IRQ_H
#define LICHEN_IRQ_H

#include <lichen/types.h>

/* Handlers run with interrupts masked on the CPU that took the interrupt; they may wake, not wait. */
typedef void (*irq_handler)(void *arg);
/* A device interrupt by its number from the device tree (irq_of_node); 0, -EBUSY, -EINVAL. It is enabled, for `cpu`. */
long irq_request(u32 irq, bool edge, u32 cpu, irq_handler handler, void *arg, const char *name);
void irq_free(u32 irq);
/* The software interrupt that the other domain sends for completions: one list of handlers, all called, on each CPU that gets it. */
long irq_request_completion(u32 sgi, irq_handler handler, void *arg);
/* `irq` of interrupts[index] of a device-tree node. -EINVAL. */
long irq_of_node(int node, int index, u32 *irq, bool *edge);
u64 irq_count(u32 cpu); /* taken since boot, for tests and /proc/interrupts */
size_t irq_show(char *buf, size_t bytes); /* /proc/interrupts */

unsigned long irq_save(void); /* masks */
void irq_restore(unsigned long flags);

#define CPUS_MAX 64
/* A CPU as /proc/cpuinfo shows it: the bytes written, without a NUL. */
size_t cpu_show(u32 cpu, char *buf, size_t bytes);
u32 cpu_count(void);
u32 cpu_id(void); /* 0 .. cpu_count() - 1; stable between awaits only */
u64 cpu_hardware_id(u32 cpu); /* what LICHEN_MMIO_QUEUE_CPU wants */
void __noreturn machine_off(void);
void __noreturn machine_restart(void);

/* The device tree (libfdt). NULL before it is parsed. */
const void *device_tree(void);
/* A word of the kernel command line: its value ("" if it has none), or NULL. */
const char *boot_option(const char *name);
/* Drivers: called for each node with a compatible string, at boot, in the order of the tree. */
struct driver {
	const char *compatible;
	void (*probe)(const void *dt, int node);
};
#define DRIVER(dname, string, fn)                                                                  \
	static const struct driver driver_##dname __used __section(".drivers")                     \
		__aligned(8) = {.compatible = (string), .probe = (fn)}
/* Called once at boot, in the order of levels, before the first program; may spawn tasks, not wait. */
enum init_level { INIT_CORE, INIT_FS, INIT_DEVICE, INIT_LATE };
struct initcall {
	enum init_level level;
	void (*call)(void);
	const char *name;
};
#ifdef LICHEN_HOST_BUILD
#define INITCALL_SECTION "initcalls" /* a name that the host's linker marks the ends of */
#else
#define INITCALL_SECTION ".initcalls"
#endif
#define INITCALL(l, fn)                                                                            \
	static const struct initcall initcall_##fn __used __section(INITCALL_SECTION)              \
		__aligned(8) = {.level = (l), .call = (fn), .name = #fn}
/* Device memory: uncached, in the kernel's address space. NULL without memory. */
void *io_map(phys_addr_t phys, size_t bytes);
/* Memory that is not ours and that others write through their caches: cached here, too. NULL without memory. */
void *shared_map(phys_addr_t phys, size_t bytes, bool write);
/*
 * io_read8(address), io_read32(address), io_write32(address, value): one access of that width, never merged. A
 * hypervisor can emulate it.
 */
#include <arch/io.h>
/* Seconds of randomness: never blocks; good once the seed was good (rng_ready). */
void random_bytes(void *buf, size_t n);
void random_add(const void *buf, size_t n, u32 entropy_bits);

#endif
