/* SPDX-License-Identifier: MIT */
/* PSCI (Arm DEN 0022): other CPUs, power off, reset; by HVC or SMC as the device tree says. */
#include <lichen/cpu.h>
#include <lichen/debug.h>
#include <lichen/devicetree.h>
#include <lichen/printk.h>
#include <lichen/string.h>
#include <arch/psci.h>
#include <libfdt.h>

enum { CPU_ON = 0xc4000003u, SYSTEM_OFF = 0x84000008u, SYSTEM_RESET = 0x84000009u };

static enum { CONDUIT_NONE, CONDUIT_HVC, CONDUIT_SMC } conduit;

static long psci_call(u64 function, u64 a, u64 b, u64 c)
{
	register u64 x0 __asm__("x0") = function;
	register u64 x1 __asm__("x1") = a;
	register u64 x2 __asm__("x2") = b;
	register u64 x3 __asm__("x3") = c;

	if (conduit == CONDUIT_HVC)
		__asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory", "x4", "x5", "x6",
				 "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17");
	else if (conduit == CONDUIT_SMC)
		__asm__ volatile("smc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory", "x4", "x5", "x6",
				 "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17");
	else
		return -1;
	return (long)(s32)x0;
}

void psci_init(const void *dt)
{
	int node = fdt_path_offset(dt, "/psci");
	const char *method;

	if (node < 0 || !devicetree_string(dt, node, "method", &method)) {
		log_warn("device tree: no /psci with a method: one CPU, no power off");
		return;
	}
	if (!strcmp(method, "hvc"))
		conduit = CONDUIT_HVC;
	else if (!strcmp(method, "smc"))
		conduit = CONDUIT_SMC;
	else
		log_warn("device tree: psci method is neither hvc nor smc");
}

long psci_cpu_on(u64 mpidr, phys_addr_t entry, u64 context)
{
	return psci_call(CPU_ON, mpidr, entry, context);
}

void machine_off(void)
{
	psci_call(SYSTEM_OFF, 0, 0, 0);
	log_err("the machine does not power off");
	cpu_arch_halt();
}

void machine_restart(void)
{
	psci_call(SYSTEM_RESET, 0, 0, 0);
	log_err("the machine does not restart");
	cpu_arch_halt();
}
