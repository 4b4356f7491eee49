/* SPDX-License-Identifier: MIT */
/*
 * The runtime of the test domain: device tree, log, exceptions, interrupts.
 */
#include <string.h>
#include <libfdt.h>
#include <linux/psci.h>

#include "guest.h"
#include "text.h"

struct guest guest;
volatile struct fault fault;
volatile u32 irqs[1024];
u32 checks, failures;

struct frame {
	u64 x[20]; /* x0 .. x19 */
	u64 x29, x30;
};

void guest_main(const void *fdt);
void guest_secondary(void);
void guest_secondary_main(u32 n);
void guest_sync(struct frame *frame);
void guest_irq(struct frame *frame);
void guest_stray(struct frame *frame);

u64 hvc(u64 fn, u64 a, u64 b, u64 c, u64 d, u64 e)
{
	register u64 x0 asm("x0") = fn;
	register u64 x1 asm("x1") = a;
	register u64 x2 asm("x2") = b;
	register u64 x3 asm("x3") = c;
	register u64 x4 asm("x4") = d;
	register u64 x5 asm("x5") = e;

	asm volatile("hvc #0"
		     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
		     : "r"(x4), "r"(x5)
		     : "memory");
	return x0;
}

u64 smc(u64 fn, u64 a, u64 b, u64 c)
{
	register u64 x0 asm("x0") = fn;
	register u64 x1 asm("x1") = a;
	register u64 x2 asm("x2") = b;
	register u64 x3 asm("x3") = c;

	asm volatile("smc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory");
	return x0;
}

static void log_part(u64 n, const u64 *words)
{
	register u64 x0 asm("x0") = LICHEN_HVC_LOG;
	register u64 x1 asm("x1") = n;
	register u64 x2 asm("x2") = words[0];
	register u64 x3 asm("x3") = words[1];
	register u64 x4 asm("x4") = words[2];
	register u64 x5 asm("x5") = words[3];
	register u64 x6 asm("x6") = words[4];

	asm volatile("hvc #0"
		     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
		     : "r"(x4), "r"(x5), "r"(x6)
		     : "memory");
}

static void log_bytes(const char *text, size_t n)
{
	while (n) {
		u64 words[5] = {0};
		size_t part = MIN(n, sizeof(words));

		memcpy(words, text, part);
		log_part(part, words);
		text += part;
		n -= part;
	}
}

static void vsay(const char *format, va_list args)
{
	char text[200];
	size_t n = text_vformat(text, sizeof(text) - 1, format, args);

	text[n++] = '\n';
	log_bytes(text, n);
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsay(format, args);
	va_end(args);
}

void check(bool ok, const char *format, ...)
{
	va_list args;

	checks++;
	if (ok)
		return;
	failures++;
	say("FAIL:");
	va_start(args, format);
	vsay(format, args);
	va_end(args);
}

static const char *find_arg(const char *name)
{
	size_t n = strlen(name);

	for (const char *at = guest.args; *at; at++)
		if ((at == guest.args || at[-1] == ' ') && !memcmp(at, name, n))
			return at + n;
	return NULL;
}

bool wanted(const char *test)
{
	const char *at = find_arg(test);

	return at && (*at == ' ' || !*at);
}

u64 number_arg(const char *name, u64 otherwise)
{
	const char *at = find_arg(name);
	u64 value = 0;

	if (!at)
		return otherwise;
	for (; *at >= '0' && *at <= '9'; at++)
		value = value * 10 + *at - '0';
	return value;
}

/* A fault is recorded and skipped; a fetch returns to the caller. */
void guest_sync(struct frame *frame)
{
	u64 esr = read_sysreg(esr_el1);

	fault.count++;
	fault.esr = esr;
	fault.far = read_sysreg(far_el1);
	if (ESR_EC(esr) == EC_IABT_SAME)
		write_sysreg(frame->x30, elr_el1);
	else
		write_sysreg(read_sysreg(elr_el1) + 4, elr_el1);
}

void guest_stray(struct frame *frame)
{
	say("FAIL: stray exception, ESR %lx ELR %lx x30 %lx", (unsigned long)read_sysreg(esr_el1),
		(unsigned long)read_sysreg(elr_el1), (unsigned long)frame->x30);
	hvc(PSCI_0_2_FN_SYSTEM_OFF, 0, 0, 0, 0, 0);
}

void guest_irq(struct frame *frame)
{
	u32 intid;

	(void)frame;
	if (guest.gic == 3) {
		intid = read_sysreg(s3_0_c12_c12_0) & 0xffffff;
		if (intid < 1020) {
			irqs[intid]++;
			write_sysreg(intid, s3_0_c12_c12_1);
		}
	} else {
		u32 iar = mmio_read32(guest.gicc.base + 0xc);

		intid = iar & 0x3ff;
		if (intid < 1020) {
			irqs[intid]++;
			mmio_write32(guest.gicc.base + 0x10, iar);
		}
	}
	if (intid == 27)
		write_sysreg(0, cntv_ctl_el0);
}

static u64 gicr_own(void)
{
	u64 mpidr = read_sysreg(mpidr_el1), at = guest.gicr.base;

	for (;; at += 0x20000) {
		u64 typer = mmio_read64(at + 8);

		if (typer >> 32 == (mpidr & 0xffffff))
			return at;
	}
}

void gic_setup(void)
{
	if (guest.gic == 3) {
		write_sysreg(7, s3_0_c12_c12_5); /* ICC_SRE_EL1 */
		isb();
		u64 own = gicr_own();
		mmio_write32(own + 0x14, 0); /* GICR_WAKER */
		while (mmio_read32(own + 0x14) & 4)
			cpu_relax();
		write_sysreg(0xff, s3_0_c4_c6_0);
		write_sysreg(1, s3_0_c12_c12_7);
		mmio_write32(guest.gicd.base, 0x12);
		isb();
	} else {
		mmio_write32(guest.gicc.base + 4, 0xff);
		mmio_write32(guest.gicc.base, 1);
		mmio_write32(guest.gicd.base, 1);
	}
}

void gic_enable(u32 intid)
{
	u64 base = guest.gic == 3 && intid < 32 ? gicr_own() + 0x10000 : guest.gicd.base;

	mmio_write32(base + 0x100 + intid / 32 * 4, 1u << intid % 32);
}

void irqs_on(void)
{
	asm volatile("msr daifclr, #3" : : : "memory");
}

void irqs_off(void)
{
	asm volatile("msr daifset, #3" : : : "memory");
}

void delay_us(u64 us)
{
	u64 begin = read_sysreg(cntvct_el0), ticks = read_sysreg(cntfrq_el0) * us / 1000000;

	while (read_sysreg(cntvct_el0) - begin < ticks)
		cpu_relax();
}

u32 own_row(void)
{
	u64 mpidr = read_sysreg(mpidr_el1) & 0xff00ffffff;

	for (u32 i = 0; i < guest.info->cpus; i++)
		if (guest.info->cpu[i].mpidr == mpidr)
			return i;
	return 0;
}

u64 stat(u32 row, enum lichen_stats_cause cause)
{
	return ((volatile u64 *)guest.stats)[row * LICHEN_STATS_CAUSES + cause];
}

/* Instructions at EL2 of one entry: the PMU counts them for EL1 (PMEVTYPER.NSH), under -icount only. */
u64 el2_instructions(void (*entry)(u64), u64 arg, u32 rounds)
{
	u64 begin;

	write_sysreg(0x08 | 1ull << 27 | 1ull << 31 | 1ull << 30,
		pmevtyper0_el0); /* INST_RETIRED at EL2 alone */
	write_sysreg(1, pmcntenset_el0);
	write_sysreg(read_sysreg(pmcr_el0) | 1, pmcr_el0);
	isb();
	begin = read_sysreg(pmevcntr0_el0);
	for (u32 i = 0; i < rounds; i++)
		entry(arg);
	isb();
	return (read_sysreg(pmevcntr0_el0) - begin) / rounds;
}

static void (*secondary_fn[8])(u32);

void guest_secondary_main(u32 n)
{
	secondary_fn[n](n);
}

long cpu_on(u32 n, void (*fn)(u32 n))
{
	secondary_fn[n] = fn;
	return (long)hvc(PSCI_0_2_FN64_CPU_ON, guest.mpidr[n], (u64)guest_secondary, n, 0, 0);
}

void guest_main(const void *fdt)
{
	guest_read(fdt);
	say("here is the %s, GICv%u, %u CPUs: %s", guest.is_driver ? "driver" : "frontend",
		guest.gic, guest.cpus, guest.args);
	check(hvc(LICHEN_HVC_VERSION, 0, 0, 0, 0, 0) == LICHEN_ABI_VERSION, "ABI version");
	check(guest.info && guest.info->magic == LICHEN_INFO_MAGIC, "info page");
	gic_setup();
	shared_tests();
	if (guest.is_driver)
		driver_tests();
	else
		frontend_tests();
	hvc(PSCI_0_2_FN_SYSTEM_OFF, 0, 0, 0, 0, 0);
}
