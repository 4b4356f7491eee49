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

void stop_tests(void)
{
	void (*how)(u32) = wanted("masked") ? sleep_masked : wanted("closed") ? sleep_closed : spin;
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
