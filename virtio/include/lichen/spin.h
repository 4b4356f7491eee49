/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Waiting for the other side of a ring to move its index, in the kernel and in the lichen module alike. An exclusive load puts
 * the word under this CPU's monitor; the other side's store to it clears the monitor, which is the event that WFE sleeps for
 * (Arm ARM D1.7.2, B2.12). Interrupts end a WFE too, and the counter's event stream does from time to time
 * (lichen_event_stream), so that the deadline is kept.
 *
 * Assembly, so that a turn has a known number of instructions: what was spent waiting is turns x LICHEN_SPIN_INSTRUCTIONS.
 */
#ifndef LICHEN_SPIN_H
#define LICHEN_SPIN_H

#define LICHEN_SPIN_INSTRUCTIONS 14

struct lichen_spin {
	const volatile unsigned short *index;
	unsigned int seen; /* it is over when *index is something else, */
	const volatile unsigned int *stop; /* when this is not 0, */
	const volatile unsigned int *flags; /* when any of `mask` is set here, */
	unsigned int mask;
	unsigned long deadline; /* or when CNTVCT reaches this */
};

/* The turns that it waited: 0 when there was no reason to. */
static inline unsigned long lichen_spin(const struct lichen_spin *spin)
{
	unsigned long turns = 0, scratch;

	__asm__ volatile(
		"1:	ldaxrh	%w1, [%2]\n"
		"	cmp	%w1, %w3\n"
		"	b.ne	2f\n"
		"	ldr	%w1, [%4]\n"
		"	cbnz	%w1, 2f\n"
		"	ldr	%w1, [%5]\n"
		"	tst	%w1, %w6\n"
		"	b.ne	2f\n"
		"	mrs	%1, cntvct_el0\n"
		"	cmp	%1, %7\n"
		"	b.hs	2f\n"
		"	add	%0, %0, #1\n"
		"	wfe\n"
		"	b	1b\n"
		"2:	clrex\n"
		: "+r"(turns), "=&r"(scratch)
		: "r"(spin->index), "r"(spin->seen & 0xffff), "r"(spin->stop), "r"(spin->flags), "r"(spin->mask),
		"r"(spin->deadline)
		: "memory", "cc");
	return turns;
}

/* The counter as it is: not ordered against anything. */
static inline unsigned long lichen_counter(void)
{
	unsigned long value;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
	return value;
}

static inline unsigned long lichen_counter_frequency(void)
{
	unsigned long value;

	__asm__("mrs %0, cntfrq_el0" : "=r"(value));
	return value;
}

/*
 * For this CPU: an event each time that a bit of the counter rises, at least every `ns` where the counter is fast enough (Arm ARM
 * D13.11.16, CNTKCTL_EL1: EVNTEN, EVNTI). At EL1.
 */
static inline void lichen_event_stream(unsigned long ns)
{
	unsigned long control, ticks = lichen_counter_frequency() / 1000 * ns / 1000000, bit = 0;

	while (bit < 15 && (4ul << bit) <= ticks)
		bit++;
	__asm__ volatile("mrs %0, cntkctl_el1" : "=r"(control));
	control = (control & ~0xfcul) | bit << 4 | 1ul << 2;
	__asm__ volatile("msr cntkctl_el1, %0\n\tisb" : : "r"(control) : "memory");
}

#endif
