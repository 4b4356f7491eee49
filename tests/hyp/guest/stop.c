/* SPDX-License-Identifier: MIT */
/*
 * The second CPU of a frontend hides in different ways; then the first turns the domain off, and the hypervisor takes the second one back.
 */
#include "guest.h"

static volatile u32 here;

static void spin(u32 n)
{
	(void)n;
	irqs_off();
	here = 1;
	for (;;)
		asm volatile("" : : : "memory");
}

static void sleep_masked(u32 n)
{
	(void)n;
	irqs_off();
	gic_setup();
	here = 1;
	for (;;)
		wfi();
}

static void sleep_closed(u32 n)
{
	(void)n;
	irqs_off();
	if (guest.gic == 3) {
		write_sysreg(0, s3_0_c4_c6_0);
		write_sysreg(0, s3_0_c12_c12_7);
		write_sysreg(0, s3_0_c12_c12_6);
		isb();
	} else {
		mmio_write32(guest.gicc.base + 4, 0);
		mmio_write32(guest.gicc.base, 0);
	}
	here = 1;
	for (;;)
		wfi();
}

/* With an interrupt of the highest priority active for ever. */
static void sleep_active(u32 n)
{
	irqs_off();
	gic_setup();
	if (guest.gic == 3) {
		u64 sgis = guest.gicr.base + 0x20000 * own_row() + 0x10000;

		mmio_write8(sgis + 0x400 + 8, 0);
		gic_enable(8);
		write_sysreg(8 << 24 | 1 << (guest.mpidr[n] & 0xf), s3_0_c12_c11_5);
		isb();
		while ((read_sysreg(s3_0_c12_c12_0) & 0xffffff) != 8)
			cpu_relax();
	} else {
		mmio_write8(guest.gicd.base + 0x400 + 8, 0);
		gic_enable(8);
		mmio_write32(guest.gicd.base + 0xf00, 2 << 24 | 8);
		while ((mmio_read32(guest.gicc.base + 0xc) & 0x3ff) != 8)
			cpu_relax();
	}
	here = 1;
	for (;;)
		wfi();
}

static void sleep_in_wfe(u32 n)
{
	(void)n;
	irqs_off();
	here = 1;
	for (;;)
		wfe();
}

void stop_tests(void)
{
	void (*how)(u32) = wanted("masked")   ? sleep_masked
			   : wanted("closed") ? sleep_closed
			   : wanted("active") ? sleep_active
			   : wanted("wfe")    ? sleep_in_wfe
					      : spin;
	long err;

	if (guest.cpus < 2)
		return;
	err = cpu_on(1, how);
	if (err)
		say("FAIL: CPU_ON %ld", err);
	while (!here)
		cpu_relax();
	delay_us(100);
	say("the other CPU hides");
}
