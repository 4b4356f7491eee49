/* SPDX-License-Identifier: MIT */
/*
 * The driver domain's side: a backend that completes what it is told, and tests from inside the driver domain.
 */
#include <linux/psci.h>

#include "guest.h"

static u64 swap(lichen_u64 *word)
{
	return __atomic_exchange_n(word, 0, __ATOMIC_ACQUIRE);
}

static u64 counted[LICHEN_SLOTS];

/* Queue 0 of every slot: a kick is answered with a completion, in the way that the view says. */
static void serve_kicks(void)
{
	u64 kicked = swap(&guest.bells->kicked);

	for (u32 s = 0; s < guest.control->slots; s++) {
		u64 queues;

		if (!(kicked >> s & 1))
			continue;
		queues = swap(&guest.bells->queues[s]);
		for (u32 q = 0; q < LICHEN_QUEUES; q++) {
			const volatile struct lichen_queue_view *view =
				&((struct lichen_device_view *)((u8 *)guest.views + s * PAGE_SIZE))
					 ->queue[q];

			if (!(queues >> q & 1))
				continue;
			counted[s]++;
			if (view->complete == LICHEN_COMPLETE_SGI)
				write_sysreg(view->target, s3_0_c12_c11_5);
			else
				hvc(LICHEN_HVC_SIGNAL, s, LICHEN_SIGNAL_USED, 0, 0, 0);
		}
	}
}

static void serve_changes(void)
{
	u64 changed = swap(&guest.bells->changed);

	for (u32 s = 0; s < guest.control->slots; s++) {
		struct lichen_device_view *view = (void *)((u8 *)guest.views + s * PAGE_SIZE);

		if (changed >> s & 1 && !*(volatile u32 *)&view->status)
			hvc(LICHEN_HVC_RESET_DONE, s, *(volatile u32 *)&view->generation, 0, 0, 0);
	}
}

/* What a frontend asks for: values that it knows to expect, in all register pages. */
static void serve_sample(void)
{
	for (u32 step = 0; step < 2; step++)
		for (u32 s = 0; s < guest.control->slots; s++) {
			volatile struct lichen_sample *sample =
				(void *)(guest.pages + s * PAGE_SIZE + LICHEN_MMIO_SAMPLE);

			if (step) {
				sample->cpus = 1;
				sample->cycles = SAMPLE_CYCLES + s;
			}
			dsb(st);
			sample->sequence++;
			dsb(st);
		}
}

static void attach(void)
{
	u64 features = 1ull << 32 | 1ull << 28 | 3;

	check((int)hvc(LICHEN_HVC_DEVICE_ATTACH, 99, 2, 1, 16, 0) == -22, "a slot that is none");
	check((int)hvc(LICHEN_HVC_DEVICE_ATTACH, ~0ull, 2, 1, 16, 0) == -22, "a slot that is none");
	check((int)hvc(LICHEN_HVC_DEVICE_ATTACH, 0, 2, 65, 16, 0) == -22, "too many queues");
	check((int)hvc(LICHEN_HVC_DEVICE_ATTACH, 0, 2, 1, 15, 0) == -22,
		"a queue size that is no power of two");
	check((int)hvc(LICHEN_HVC_SIGNAL, 99, 1, 0, 0, 0) == -22, "a signal to no slot");
	check((int)hvc(LICHEN_HVC_QUEUE_CHANNEL, 0, 0, 99, 0, 0) == -22, "a channel that is none");
	for (u32 s = 0; s < 2 && s < guest.control->slots; s++)
		check((int)hvc(LICHEN_HVC_DEVICE_ATTACH, s, 2, 4, 256, features) == 0,
			"attach slot %u", s);
	check((int)hvc(LICHEN_HVC_DEVICE_ATTACH, 0, 2, 4, 256, features) == -16, "attach twice");
	check((int)hvc(LICHEN_HVC_SAMPLE, 0, 0, 0, 0, 0) == -1, "a sample for itself");
	check(!*(volatile u64 *)&guest.bells->machine, "its own question came");
}

static void isolation(void)
{
	/* The frontend's memory lies between ours and the pool: behind the end of our first large piece. */
	u64 foreign = number_arg("frontend=", 0);

	forbidden("the hypervisor's code", ALIGN_DOWN((u64)guest.info, BLOCK_SIZE));
	forbidden("the hypervisor's heap", (u64)guest.info - PAGE_SIZE);
	if (foreign)
		forbidden("the frontend's memory", foreign);
	say("isolation: %u checks, %u failures", checks, failures);
}

static void signal_used(u64 slot)
{
	hvc(LICHEN_HVC_SIGNAL, slot, LICHEN_SIGNAL_USED, 0, 0, 0);
}

/* A driver domain gone mad: any hypercall, anything in the pages that it may write. */
static void wild_backend(void)
{
	u64 seed = 1181783497276652981ull, rounds = number_arg("wild-rounds=", 20000);

	for (u64 i = 0; i < rounds; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		switch (seed >> 61) {
		case 0 ... 3: {
			u64 call = seed >> 8 & 0x1f;

			if (call == (LICHEN_HVC_LOG & 0xff))
				break;
			hvc(LICHEN_HVC(call), seed >> 16 & 0x27, seed >> 24 & 0x47,
				1ull << (seed >> 32 & 0x1f), 16, seed);
			break;
		}
		case 4:
			*(volatile u64 *)(guest.pages + (seed >> 8 & 0x7ff8)) = seed;
			break;
		case 5:
			*(volatile u64 *)((u8 *)guest.bells + (seed >> 8 & 0xff8)) = seed;
			break;
		case 6:
			*(volatile u64 *)((u8 *)guest.views + (seed >> 8 & 0x7ff8)) = seed;
			break;
		case 7:
			mmio_write32(guest.gicd.base + (seed >> 8 & 0x7ffc), seed >> 20);
			break;
		}
	}
	say("wild backend: %lu rounds survived", (unsigned long)rounds);
}

void driver_tests(void)
{
	u64 machine = 0;

	check(guest.control->magic == LICHEN_CONTROL_MAGIC &&
			guest.control->version == LICHEN_ABI_VERSION,
		"control page");
	gic_enable(guest.channel_intid);
	gic_enable(5);
	irqs_on();
	if (wanted("isolation"))
		isolation();
	if (wanted("attach"))
		attach();
	if (wanted("measure"))
		say("signal: %lu instructions at EL2",
			(unsigned long)el2_instructions(signal_used, 0, 100));
	say("driver: %u checks, %u failures%s", checks, failures, failures ? "" : ", all passed");
	hvc(LICHEN_HVC_BACKEND_READY, 0, 0, 0, 0, 0);
	if (wanted("wild"))
		wild_backend();
	if (wanted("deaf"))
		for (;;)
			wfi();
	if (wanted("vanish")) {
		delay_us(number_arg("vanish-us=", 1000));
		return;
	}
	while (!machine) {
		irqs_off(); /* a kick between the look and the sleep wakes it all the same */
		if (!(*(volatile u64 *)&guest.bells->kicked |
			    *(volatile u64 *)&guest.bells->changed |
			    *(volatile u64 *)&guest.bells->machine))
			wfi();
		irqs_on();
		serve_changes();
		serve_kicks();
		machine = swap(&guest.bells->machine);
		if (machine & LICHEN_MACHINE_SAMPLE)
			serve_sample();
		machine &= ~(u64)LICHEN_MACHINE_SAMPLE;
	}
	say("kicks: %lu and %lu, foreign SGIs: %u", (unsigned long)counted[0],
		(unsigned long)counted[1], irqs[5]);
	hvc(machine & LICHEN_MACHINE_REBOOT ? PSCI_0_2_FN_SYSTEM_RESET : PSCI_0_2_FN_SYSTEM_OFF, 0,
		0, 0, 0, 0);
}
