/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The trace: who did what to a request, and when. Records of 32 bytes in rings, one ring a CPU and a program, written by the
 * hypervisor, by the domains, and by nobody else; the time is CNTVCT, which all of them share (offset 0). docs/latency.md says how
 * it is read, docs/hypervisor-abi.md who maps what.
 *
 *     header page | ring 0: CPU 0 at EL2 | ring 1: CPU 0's domain | ring 2: CPU 1 at EL2 | ...
 *                   a ring: one page with struct lichen_trace_ring, then `records` records
 *
 * A ring has one writer, its CPU with interrupts masked. A reader takes a record for valid when its sequence is that of its place
 * before and after it was copied; all others are being written, or gone. The ring of another domain is that domain's word: data,
 * never an index or an address.
 */
#ifndef LICHEN_TRACE_H
#define LICHEN_TRACE_H

#include <lichen/abi.h>

#define LICHEN_TRACE_MAGIC   0x454341525448434cull
#define LICHEN_TRACE_VERSION 2u
#define LICHEN_TRACE_PAGE    4096u

/* make TRACE=0: programs without a trace point, to measure by (scripts/bench-trace). */
#ifdef LICHEN_NO_TRACE
#define LICHEN_TRACE_POINTS 0
#else
#define LICHEN_TRACE_POINTS 1
#endif

/* Read-only for the domains. */
struct lichen_trace_header {
	lichen_u64 magic;
	lichen_u32 version;
	lichen_u32 on;	    /* write records, or don't: LICHEN_HVC_TRACE */
	lichen_u32 rings;   /* 2 a CPU, by the rows of struct lichen_info */
	lichen_u32 records; /* of a ring: a power of two */
};

struct lichen_trace_ring {
	lichen_u64 next; /* records written since the machine began */
};

/* The points, in the order in which a request that takes the longest way passes them. */
enum lichen_trace_stage {
	LICHEN_TRACE_SYSCALL = 1,  /* frontend: a system call is entered. Nobody writes it: RETURN says when it was */
	LICHEN_TRACE_SUBMIT,	   /* the driver makes a chain available */
	LICHEN_TRACE_NOTIFY,	   /* ... and is about to store to QueueNotify; no head */
	LICHEN_TRACE_EL2_IN,	   /* hypervisor: it has recognised the store */
	LICHEN_TRACE_EL2_OUT,	   /* ... and is about to make the backend's interrupt pending */
	LICHEN_TRACE_DOORBELL,	   /* backend: takes that interrupt; value: the channel */
	LICHEN_TRACE_TAKE,	   /* has taken the chain from the ring */
	LICHEN_TRACE_BIO_SUBMIT,   /* hands it to the block layer */
	LICHEN_TRACE_BIO_END,	   /* the block layer hands it back */
	LICHEN_TRACE_SIGNAL,	   /* it is in the used ring; about to interrupt the frontend */
	LICHEN_TRACE_EL2_SIGNAL,   /* hypervisor: about to make the frontend's interrupt pending */
	LICHEN_TRACE_INTERRUPT,	   /* frontend: takes that interrupt; no key */
	LICHEN_TRACE_COMPLETE,	   /* has taken it from the used ring */
	LICHEN_TRACE_RUN,	   /* its thread runs again */
	/* Back to the program, when a request was made. key: the system call; value: when it was entered, 0: before the trace, or a fault's. */
	LICHEN_TRACE_RETURN,
	LICHEN_TRACE_STAGES
};

/* slot, queue, and the head of the chain while it is in flight. */
#define LICHEN_TRACE_NO_HEAD 0xffffu
#define LICHEN_TRACE_KEY(slot, queue, head) ((lichen_u32)(slot) << 24 | (lichen_u32)(queue) << 16 | ((head) & 0xffffu))
#define LICHEN_TRACE_NO_KEY 0xffffffffu

struct lichen_trace_record {
	lichen_u64 time;     /* ticks of the counter */
	lichen_u32 sequence; /* low bits of (its number in the ring, from 1); 0: being written */
	lichen_u32 stage;
	lichen_u32 key;
	lichen_u32 task; /* of the frontend: the thread's number, 0: none */
	lichen_u64 value;
};

/* What /proc/lichen/trace holds: this, then for each ring struct lichen_trace_chunk and its records, oldest first. */
struct lichen_trace_file {
	lichen_u64 magic;
	lichen_u32 version;
	lichen_u32 rings;
	lichen_u64 frequency; /* Hz */
};

#define LICHEN_TRACE_EL2      0u /* who wrote the ring */
#define LICHEN_TRACE_BACKEND  1u
#define LICHEN_TRACE_FRONTEND 2u

struct lichen_trace_chunk {
	lichen_u32 cpu;
	lichen_u32 writer;  /* LICHEN_TRACE_EL2 ... */
	lichen_u64 written; /* in all; those beyond `count` are overwritten */
	lichen_u64 count;
};

static inline lichen_u64 lichen_trace_time(void)
{
#ifdef __aarch64__
	lichen_u64 now;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
	return now;
#else
	return 0;
#endif
}

static inline struct lichen_trace_record *lichen_trace_records(struct lichen_trace_ring *ring)
{
	return (struct lichen_trace_record *)((char *)ring + LICHEN_TRACE_PAGE);
}

static inline lichen_u64 lichen_trace_ring_bytes(lichen_u32 records)
{
	return LICHEN_TRACE_PAGE + (lichen_u64)records * sizeof(struct lichen_trace_record);
}

/* One record. The caller is the ring's one writer: interrupts are masked. */
static inline __attribute__((always_inline)) void lichen_trace_write(struct lichen_trace_ring *ring, lichen_u32 records, lichen_u32 stage, lichen_u32 key,
	lichen_u32 task, lichen_u64 value)
{
	lichen_u64 n = *(volatile lichen_u64 *)&ring->next;
	struct lichen_trace_record *record = &lichen_trace_records(ring)[n & (records - 1)];

	*(volatile lichen_u32 *)&record->sequence = 0;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	record->time = lichen_trace_time();
	record->stage = stage;
	record->key = key;
	record->task = task;
	record->value = value;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	*(volatile lichen_u32 *)&record->sequence = (lichen_u32)n + 1;
	*(volatile lichen_u64 *)&ring->next = n + 1;
}

#endif
