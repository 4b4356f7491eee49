/* SPDX-License-Identifier: MIT */
/* Where the log goes: the hypervisor's log call, or, on the bare machine, the PL011 (Arm DDI 0183) of /chosen. */
#include <lichen/abi.h>
#include <lichen/console.h>
#include <lichen/devicetree.h>
#include <lichen/irq.h>
#include <lichen/printk.h>
#include <lichen/string.h>
#include <arch/console.h>
#include <arch/relax.h>
#include <libfdt.h>

#define PL011_DR 0x00
#define PL011_FR 0x18
#define PL011_FR_TXFF (1u << 5)

static volatile void *pl011;

static void pl011_put(char c)
{
	/* A device that never drains must not hang the kernel. */
	for (int i = 0; i < 100000 && io_read32((volatile char *)pl011 + PL011_FR) & PL011_FR_TXFF; i++)
		relax();
	io_write32((volatile char *)pl011 + PL011_DR, (u8)c);
}

static void pl011_write(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == '\n')
			pl011_put('\r');
		pl011_put(text[i]);
	}
}

static const struct console pl011_console = {.name = "pl011", .write = pl011_write};

/* Nothing but the call happens between filling the registers and using them. */
static void hypervisor_log(const u64 *words, size_t n)
{
	register u64 x0 __asm__("x0") = LICHEN_HVC_LOG;
	register u64 x1 __asm__("x1") = n;
	register u64 x2 __asm__("x2") = words[0];
	register u64 x3 __asm__("x3") = words[1];
	register u64 x4 __asm__("x4") = words[2];
	register u64 x5 __asm__("x5") = words[3];
	register u64 x6 __asm__("x6") = words[4];

	__asm__ volatile("hvc #0"
		: "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
		: "r"(x4), "r"(x5), "r"(x6)
		: "memory");
}

static void hypervisor_write(const char *text, size_t bytes)
{
	while (bytes) {
		u64 words[LICHEN_LOG_BYTES / 8] = {0};
		size_t n = min(bytes, (size_t)LICHEN_LOG_BYTES);

		memcpy(words, text, n);
		hypervisor_log(words, n);
		text += n;
		bytes -= n;
	}
}

static const struct console hypervisor_console = {.name = "hypervisor", .write = hypervisor_write};

static int stdout_node(const void *dt)
{
	int chosen = fdt_path_offset(dt, "/chosen");
	const char *path, *colon;

	if (chosen >= 0 && devicetree_string(dt, chosen, "stdout-path", &path)) {
		colon = strchr(path, ':');
		return fdt_path_offset_namelen(dt, path, colon ? (int)(colon - path) : (int)strlen(path));
	}
	return fdt_node_offset_by_compatible(dt, -1, "arm,pl011");
}

void console_init(const void *dt)
{
	phys_addr_t base, size;
	int node;

	if (fdt_node_offset_by_compatible(dt, -1, "lichen,hypervisor") >= 0) {
		console_register(&hypervisor_console);
		return;
	}
	node = stdout_node(dt);
	if (node < 0 || fdt_node_check_compatible(dt, node, "arm,pl011") || !devicetree_reg(dt, node, 0, &base, &size))
		return;
	pl011 = io_map(base, 0x1000);
	if (pl011)
		console_register(&pl011_console);
}
