/* SPDX-License-Identifier: MIT */
/*
 * Tests from inside a frontend domain.
 */
#include <linux/psci.h>
#include <linux/virtio_mmio.h>

#include "guest.h"

static u64 hyp_image(void)
{
	/* The information page lies in the hypervisor's memory, behind its image. */
	return ALIGN_DOWN((u64)guest.info, BLOCK_SIZE);
}

static void isolation(void)
{
	forbidden("the hypervisor's code", hyp_image());
	forbidden("the hypervisor's heap", (u64)guest.info - PAGE_SIZE);
	forbidden("the start of RAM", 0x40000000);
	forbidden("the driver domain's memory", number_arg("driver=", 0x40800000));
	forbidden("the console", 0x09000000);
	forbidden("flash", 0);
	forbidden("the PCIe window", 0x10000000);
	forbidden("the PCIe window above", 0x8000000000);
	forbidden("nothing at all", 0x3fff0000);
	forbidden("the end of addresses", 0xfffffff000);
	if (guest.gic == 3)
		forbidden("the ITS", 0x08080000);
	else
		forbidden("GICH", 0x08030000);
	say("isolation: %u checks, %u failures", checks, failures);
}

/* A location that is readable but not writable. */
static void read_only(const char *name, u64 addr)
{
	u64 before = fault.count, value = *(volatile u64 *)addr;

	check(fault.count == before, "%s is not readable", name);
	asm volatile("str xzr, [%0]" : : "r"(addr) : "memory");
	check(fault.count == before + 1 && *(volatile u64 *)addr == value, "%s is writable", name);
}

static void windows(void)
{
	volatile u64 *pool = (void *)guest.pool.base;
	u64 before = fault.count;

	read_only("the information page", (u64)guest.info);
	check(guest.pool.size, "there is no pool");
	pool[1] = 0x1234;
	check(pool[1] == 0x1234 && fault.count == before + 1, "the pool is not there");
	before = fault.count;
	*(volatile u32 *)(guest.pool.base + 64) = 0xd65f03c0; /* ret */
	((void (*)(void))(guest.pool.base + 64))();
	check(fault.count == before + 1 && ESR_EC(fault.esr) == EC_IABT_SAME,
		"the pool is executable");
}

static void distributor(void)
{
	u64 gicd = guest.gicd.base;
	u32 own = guest.devices ? guest.device[0].intid : 0, foreign = 33; /* the PL011 */
	u64 at = own / 32 * 4;

	check(!(get32(gicd, 0x100 + 4) & 2), "a foreign SPI's enable bit shows");
	mmio_write32(gicd + 0x100 + 4, ~0u);
	check(!(get32(gicd, 0x100 + 4) & 2), "a foreign SPI could be enabled");
	mmio_write32(gicd + 0x200 + 4, ~0u);
	check(!get32(gicd, 0x200 + 4), "a foreign SPI could be made pending");
	mmio_write8(gicd + 0x400 + foreign, 0x10);
	check(!mmio_read8(gicd + 0x400 + foreign), "a foreign SPI's priority could be set");
	mmio_write32(gicd + 0xc00 + foreign / 16 * 4, ~0u);
	check(!get32(gicd, 0xc00 + foreign / 16 * 4), "a foreign SPI's configuration could be set");
	if (guest.gic == 3) {
		mmio_write64(gicd + 0x6000 + 8 * foreign, 0x80000000);
		check(!mmio_read64(gicd + 0x6000 + 8 * foreign), "a foreign SPI's route shows");
	}
	/* Accesses of odd sizes and places do nothing. */
	mmio_write8(gicd + 0x101, 0xff);
	mmio_write64(gicd + 0x100, ~0ull);
	(void)mmio_read8(gicd + 3);
	(void)mmio_read64(gicd + 8);
	for (u32 offset = 0; offset < 0x1000; offset += 4)
		(void)get32(gicd, offset);
	if (!own)
		return;
	mmio_write32(gicd + 0x100 + at, 1u << own % 32);
	check(get32(gicd, 0x100 + at) == 1u << own % 32, "its own SPI cannot be enabled: %x",
		get32(gicd, 0x100 + at));
	mmio_write8(gicd + 0x400 + own, 0x80);
	check(mmio_read8(gicd + 0x400 + own) == 0x80, "its own SPI's priority is not kept");
	if (guest.gic == 3) {
		u64 route = mmio_read64(gicd + 0x6000 + 8 * own);

		check(route == guest.mpidr[0], "its own SPI goes to %lx", (unsigned long)route);
		mmio_write64(gicd + 0x6000 + 8 * own, 0); /* CPU 0 is the driver domain's */
		check(mmio_read64(gicd + 0x6000 + 8 * own) == route,
			"its own SPI could be sent to a foreign CPU");
		mmio_write64(gicd + 0x6000 + 8 * own, 1ull << 31);
		check(mmio_read64(gicd + 0x6000 + 8 * own) == route,
			"its own SPI could be sent to any CPU");
	} else {
		mmio_write8(gicd + 0x800 + own, 0xff);
		check(!(mmio_read8(gicd + 0x800 + own) & 1),
			"its own SPI could be sent to a foreign CPU");
	}
	irqs_on();
	mmio_write32(gicd + 0x200 + at, 1u << own % 32);
	delay_us(10);
	check(irqs[own] == 1, "its own SPI arrived %u times", irqs[own]);
	mmio_write32(gicd, 0); /* off: nothing arrives, and nothing is lost */
	mmio_write32(gicd + 0x200 + at, 1u << own % 32);
	delay_us(10);
	check(irqs[own] == 1, "an SPI arrived with the distributor off");
	mmio_write32(gicd, 3);
	delay_us(10);
	check(irqs[own] == 2, "an SPI was lost while the distributor was off");
	mmio_write32(gicd + 0x180 + at, 1u << own % 32);
	irqs_off();
}

static void redistributors(void)
{
	u64 before;

	if (guest.gic != 3)
		return;
	for (u32 i = 0; i < guest.info->cpus; i++) {
		u64 frame = guest.gicr.base + 0x20000 * i;
		bool own = guest.info->cpu[i].domain == guest.info->cpu[own_row()].domain;

		before = fault.count;
		check(mmio_read64(frame + 8) >> 32 == guest.info->cpu[i].mpidr,
			"GICR_TYPER of frame %u", i);
		check(get32(frame, 0xffe8) & 0xf0, "GICR_PIDR2 of frame %u", i);
		/* LPI tables are memory that the redistributor would write to. */
		mmio_write64(frame + 0x70, 0x40000000);
		check(!mmio_read64(frame + 0x70), "GICR_PROPBASER of frame %u", i);
		mmio_write32(frame, 1);
		check(!(get32(frame, 0) & 1), "EnableLPIs of frame %u", i);
		if (!own) {
			mmio_write32(frame + 0x10100, ~0u);
			check(!get32(frame, 0x10100), "a foreign PPI could be enabled");
		}
		check(fault.count == before, "redistributor %u faults", i);
	}
}

static void refused_hypercalls(void)
{
	check((int)hvc(LICHEN_HVC_DEVICE_ATTACH, 0, 2, 1, 16, 0) == -1,
		"a frontend could attach a device");
	check((int)hvc(LICHEN_HVC_DEVICE_DETACH, 0, 0, 0, 0, 0) == -1,
		"a frontend could detach a device");
	check((int)hvc(LICHEN_HVC_SIGNAL, 0, 1, 0, 0, 0) == -1, "a frontend could signal");
	check((int)hvc(LICHEN_HVC_RESET_DONE, 0, 1, 0, 0, 0) == -1,
		"a frontend could complete a reset");
	check((int)hvc(LICHEN_HVC_BACKEND_READY, 0, 0, 0, 0, 0) == -1,
		"a frontend could be the backend");
}

/* SGI 5 to every CPU: to its own it comes, to others only without the filter (GICv2 always has one). */
static void sgis(void)
{
	gic_enable(5);
	irqs_on();
	for (u32 i = 0; i < guest.info->cpus; i++) {
		u64 mpidr = guest.info->cpu[i].mpidr;

		if (guest.gic == 3)
			write_sysreg(5 << 24 | 1ull << (mpidr & 0xf) | (mpidr >> 8 & 0xff) << 16,
				s3_0_c12_c11_5);
		else
			mmio_write32(guest.gicd.base + 0xf00, 1u << (16 + i) | 5);
	}
	isb();
	delay_us(100);
	check(irqs[5] == 1, "%u SGIs at its own CPU", irqs[5]);
	irqs_off();
}

static volatile u32 visits[8];

static void visit_cpu(u32 n)
{
	visits[n]++;
	hvc(PSCI_0_2_FN_CPU_OFF, 0, 0, 0, 0, 0);
}

/* CPUs go on and off; what PSCI says of them is true at every moment. */
static void cpu_cycles(void)
{
	u32 rounds = 50;

	check(guest.cpus > 2, "%u CPUs", guest.cpus);
	for (u32 round = 1; round <= rounds; round++)
		for (u32 n = 1; n < guest.cpus; n++) {
			long err = cpu_on(n, visit_cpu), info = 0;

			check(!err, "CPU_ON of CPU %u: %ld", n, err);
			for (u32 i = 0; i < 100000; i++) {
				info = (int)smc(PSCI_0_2_FN64_AFFINITY_INFO, guest.mpidr[n], 0, 0);
				if (info == PSCI_0_2_AFFINITY_LEVEL_OFF)
					break;
				cpu_relax();
			}
			check(info == PSCI_0_2_AFFINITY_LEVEL_OFF, "CPU %u is not off: %ld", n,
				info);
			check(visits[n] == round, "CPU %u was on %u times of %u", n, visits[n],
				round);
		}
}

static void call_version(u64 arg)
{
	(void)arg;
	hvc(LICHEN_HVC_VERSION, 0, 0, 0, 0, 0);
}

static void kick(u64 page)
{
	mmio_write32(page + VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static void measure(void)
{
	u64 null = el2_instructions(call_version, 0, 1), notify;

	null = el2_instructions(call_version, 0, 100);
	say("null hypercall: %lu instructions at EL2", (unsigned long)null);
	check(null > 0 && null <= 60, "a null hypercall costs %lu instructions",
		(unsigned long)null);
	if (!guest.devices)
		return;
	notify = el2_instructions(kick, guest.device[0].base, 100);
	say("kick: %lu instructions at EL2", (unsigned long)notify);
	check(notify > 0 && notify <= 150, "a kick costs %lu instructions", (unsigned long)notify);
}

static void idle(void)
{
	u32 row = own_row();
	u64 ms = number_arg("idle-ms=", 2000), before, begin;

	gic_enable(27);
	irqs_off();
	before = stat(row, LICHEN_STATS_ENTRIES);
	begin = read_sysreg(cntvct_el0);
	while (read_sysreg(cntvct_el0) - begin < read_sysreg(cntfrq_el0) / 1000 * ms) {
		write_sysreg(read_sysreg(cntfrq_el0) / 100, cntv_tval_el0);
		write_sysreg(1, cntv_ctl_el0);
		wfi();
		irqs_on(); /* not before: a timer that fires between would leave the sleep without an end */
		isb();
		irqs_off();
	}
	for (u64 i = 0; i < 1000000; i++)
		asm volatile("" : : : "memory");
	check(stat(row, LICHEN_STATS_ENTRIES) == before, "%lu EL2 entries while idle and computing",
		(unsigned long)(stat(row, LICHEN_STATS_ENTRIES) - before));
	check(irqs[27] > 10, "%u timer interrupts", irqs[27]);
	irqs_off();
	say("idle: %lu ms, %lu EL2 entries", (unsigned long)ms,
		(unsigned long)(stat(row, LICHEN_STATS_ENTRIES) - before));
}

void frontend_tests(void)
{
	if (wanted("isolation")) {
		isolation();
		windows();
	}
	if (wanted("gic")) {
		distributor();
		redistributors();
		say("gic: %u checks, %u failures", checks, failures);
	}
	if (wanted("basics"))
		refused_hypercalls();
	if (wanted("idle"))
		idle();
	if (wanted("virtio"))
		virtio_tests();
	if (wanted("samples"))
		samples();
	if (wanted("orphaned"))
		orphaned();
	if (wanted("early"))
		early();
	if (wanted("cpus"))
		cpu_cycles();
	if (wanted("sgis"))
		sgis();
	if (wanted("measure"))
		measure();
	if (wanted("wild"))
		wild();
	say("frontend: %u checks, %u failures%s", checks, failures, failures ? "" : ", all passed");
	if (wanted("stop"))
		stop_tests();
	if (wanted("reset"))
		hvc(PSCI_0_2_FN_SYSTEM_RESET, 0, 0, 0, 0, 0);
}
