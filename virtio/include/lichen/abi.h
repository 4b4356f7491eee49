/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The hypervisor ABI: everything that two of the three programs (hypervisor, driver domain, Lichen's
 * kernel) must agree on and that no public specification fixes. All three include this file and
 * nothing else of each other. Little endian; identity mapped (IPA = PA).
 *
 *     frontend (Lichen)                 hypervisor                   backend (driver domain)
 *     virtio-mmio register page  --RO-- owns, writes  --RW--  attaches, fills config space
 *       store: stage-2 fault  ------->  state machine  ---->  device view page (RO)
 *       QueueNotify           ------->  doorbell page, SPI  ->  swaps bits, serves rings
 *       completion  <----------------------------------------  SGI (GICv3) or LICHEN_HVC_SIGNAL
 *
 * Nobody ever waits for anybody: a store is posted, a hypercall returns at once.
 */
#ifndef LICHEN_ABI_H
#define LICHEN_ABI_H

#ifdef __KERNEL__
#include <linux/types.h>
typedef u8 lichen_u8;
typedef u32 lichen_u32;
typedef u64 lichen_u64;
#else
#include <stdint.h>
typedef uint8_t lichen_u8;
typedef uint32_t lichen_u32;
typedef uint64_t lichen_u64;
#endif

#define LICHEN_ABI_VERSION 1u

/*
 * Hypercalls: HVC #0, SMCCC 1.1 fast 64-bit calls of the vendor hypervisor service (owner 6).
 * x0 = function, x1.. = arguments; x0 returns 0 or a positive value, or a negative Linux errno.
 * x1-x3 may be clobbered as SMCCC 1.1 says, all else is preserved. A function that the caller's domain may not use
 * returns -EPERM (-1), which is also SMCCC's NOT_SUPPORTED.
 */
#define LICHEN_HVC(n) (0xC6000000u | (n))

/* Any domain. Returns LICHEN_ABI_VERSION. */
#define LICHEN_HVC_VERSION LICHEN_HVC(0x00)
/*
 * Any domain. x1 = number of bytes (1..40), x2..x6 = the bytes, packed little endian. The text joins the
 * domain's current log line; a full line goes to the hypervisor's console as "NAME: text\n". Never fails for text.
 */
#define LICHEN_HVC_LOG LICHEN_HVC(0x01)
#define LICHEN_LOG_BYTES 40

/*
 * Any domain but the driver domain. x1 = 1 or 0: all programs write trace records (lichen/trace.h), or none does. -ENODEV without rings
 * (the statement `trace` of domains.conf), -EINVAL for another value.
 */
#define LICHEN_HVC_TRACE LICHEN_HVC(0x02)
/*
 * Any domain but the driver domain. Asks the backend to take a sample of its CPUs' counters, which appears in LICHEN_MMIO_SAMPLE of each
 * register page; how to know it is said there. Questions that come before it is taken have one answer. -ENODEV if the driver domain
 * doesn't run; otherwise 0, which doesn't promise that there will be an answer.
 */
#define LICHEN_HVC_SAMPLE LICHEN_HVC(0x03)

/* Backend only, from here. Slots are numbered 0 .. lichen_control.slots - 1. */

/*
 * Fill a slot: x1 = slot, x2 = virtio device ID, x3 = number of queues (1..LICHEN_QUEUES),
 * x4 = largest queue size (a power of two up to 32768), x5 = device feature bits.
 * The backend writes config space into the register page before it attaches.
 * -EINVAL on a bad argument, -EBUSY if the slot is attached.
 */
#define LICHEN_HVC_DEVICE_ATTACH LICHEN_HVC(0x10)
/* x1 = slot. The device goes: Status reads 0, DeviceID reads 0, and a configuration change is signalled. */
#define LICHEN_HVC_DEVICE_DETACH LICHEN_HVC(0x11)
/* All devices of the configuration are attached: domains that wait for that are started now. */
#define LICHEN_HVC_BACKEND_READY LICHEN_HVC(0x12)
/*
 * x1 = slot, x2 = the view's generation. The backend has stopped touching the rings of an earlier generation:
 * the frontend now reads Status 0. A stale generation is ignored (returns 0).
 */
#define LICHEN_HVC_RESET_DONE LICHEN_HVC(0x13)
/* x1 = slot, x2 = LICHEN_SIGNAL_* bits: sets InterruptStatus bits and makes the slot's SPI pending. */
#define LICHEN_HVC_SIGNAL LICHEN_HVC(0x14)
#define LICHEN_SIGNAL_USED (1u << 0)   /* virtio 1.2, 4.2.2: used buffer notification */
#define LICHEN_SIGNAL_CONFIG (1u << 1) /* configuration change; ConfigGeneration is incremented */
/* x1 = slot. Sets DEVICE_NEEDS_RESET (virtio 1.2, 2.1.1) and sends a configuration change notification. */
#define LICHEN_HVC_NEEDS_RESET LICHEN_HVC(0x15)
/* x1 = slot, x2 = queue, x3 = channel: later kicks of that queue go to that channel. Default: channel 0. */
#define LICHEN_HVC_QUEUE_CHANNEL LICHEN_HVC(0x16)

#define LICHEN_SLOTS 32  /* at most; the real number is in lichen_control */
#define LICHEN_QUEUES 64 /* of a device */
#define LICHEN_CHANNELS 8 /* at most: one for each of the first CPUs of the backend's domain */

/*
 * The frontend's register page: the register layout of virtio-mmio version 2 (virtio 1.2, 4.2.2), 4 KiB, read-only
 * for the frontend: loads never exit, stores of 32 bits trap (other sizes are ignored with a log line).
 *
 * The completion of a reset (Status = 0) is asynchronous: Status reads 0 only once the backend has acknowledged.
 *
 * Beyond the standard registers and the config space (0x100 ...), vendor registers lie at 0xf00. A driver
 * that does not know them loses nothing.
 */
#define LICHEN_MMIO_MAGIC 0xf00           /* R: LICHEN_MMIO_MAGIC_VALUE */
#define LICHEN_MMIO_MAGIC_VALUE 0x4e48434cu /* "LCHN" */
/*
 * W: MPIDR affinity (Aff2.Aff1.Aff0 in bits 23:0) of the CPU that takes the completions of the queue that QueueSel selects.
 * Only where the device node has `lichen,completion-sgi`: then completions of that queue arrive as that SGI on that
 * CPU, and InterruptStatus is not maintained for them. A CPU of a foreign domain is ignored with a log line.
 * Must be set before QueueReady; a queue without it uses the SPI.
 */
#define LICHEN_MMIO_QUEUE_CPU 0xf04
#define LICHEN_MMIO_SLOT 0xf08 /* R: the slot's number */

/*
 * R: struct lichen_backend_counters, kept by the backend since the device was attached: what its service has cost, for tests and
 * tools of the frontend's side. Zero where a backend doesn't count.
 */
#define LICHEN_MMIO_COUNTERS 0xe00
struct lichen_backend_counters {
	lichen_u64 requests;     /* completed */
	lichen_u64 bytes_copied; /* of data, by the CPU, on their way between ring and device */
	lichen_u64 allocations;  /* of memory, made to serve them */
	lichen_u64 signals;      /* completion notifications sent */
	lichen_u64 doorbells;    /* times that an interrupt of the frontend's kicks led to this device */
	lichen_u64 interrupts;   /* of the physical device, that completed requests of this one */
	lichen_u64 spin_instructions; /* executed in loops that wait for the next request, or for the device's answer */
	lichen_u64 reserved;
};

/*
 * R: struct lichen_sample, written by the backend when it is asked (LICHEN_HVC_SAMPLE): what the counters of lichen/pmu.h have counted on
 * the driver domain's online CPUs, in sum, since some moment in the past; only a difference of two samples with the same `cpus` says
 * anything. Without counters there (no PMU, or nobody has turned it on) `cpus` is 0, and so is the rest. A frontend thus sees how
 * much the driver domain works, for others too, as it does in the statistics.
 *
 * `sequence` is odd while a sample is taken and written, 0 before the first. Read s, ask, then wait, with a limit of your own, for
 * an even number that is at least lichen_sample_wanted(s): that sample was begun after s was read. Read the rest, and then
 * `sequence` once more: it must be the same.
 */
#define LICHEN_MMIO_SAMPLE 0xe40
struct lichen_sample {
	lichen_u32 sequence;
	lichen_u32 cpus;
	lichen_u64 instructions; /* exact if a sample is taken at least every 2^32 of a CPU's: their counters have 32 bits */
	lichen_u64 cycles;
	lichen_u64 reserved;
};

static inline lichen_u32 lichen_sample_wanted(lichen_u32 sequence)
{
	return (sequence + 3) & ~1u;
}

/* `sequence`, as read, is that of a sample begun after `wanted` was got. Numbers wrap. */
static inline int lichen_sample_is_new(lichen_u32 sequence, lichen_u32 wanted)
{
	return !(sequence & 1) && (sequence - wanted) >> 31 == 0;
}

/*
 * The echo device: a virtio device that does nothing. A chain of any buffers comes back at once, with 0 bytes written; what
 * is in the buffers is not looked at. So a round trip costs what the transport costs. It has one to LICHEN_QUEUES request
 * queues, all alike, no feature bits of its own, and struct lichen_echo_config as its config space.
 * Its device ID is ours: virtio gives numbers to what is below it in 1.2, 5 (and 63 to last) and takes none back.
 */
#define LICHEN_VIRTIO_ID_ECHO 0xec40u
struct lichen_echo_config {
	lichen_u32 queues;
};

/*
 * The backend's window, found through the device-tree node compatible = "lichen,backend":
 *     reg[0] control page (struct lichen_control), RW
 *     reg[1] doorbells: one page (struct lichen_doorbells) a channel, RW
 *     reg[2] device views: one page (struct lichen_device_view) a slot, read-only
 *     reg[3] register pages: one page a slot, RW (the frontend's view of the device; the hypervisor keeps
 *            its own state elsewhere and never trusts what it reads here). Never cached, whatever stage 1
 *            says, since frontends map them as a device: no atomic operations there
 *     interrupts: one edge SPI a channel;  memory-region: the regions that frontends may name in
 *     their rings (the I/O pool, or all memory of a domain that shares it)
 */
#define LICHEN_CONTROL_MAGIC 0x4c495445484e4c43ull

struct lichen_control {
	lichen_u64 magic;
	lichen_u32 version; /* LICHEN_ABI_VERSION */
	lichen_u32 slots;
	lichen_u32 channels;
	lichen_u32 completion_sgi; /* the SGI of GICv3 completions, or ~0 */
	lichen_u32 frontend_cpus;  /* of the largest frontend domain: a hint for the number of queues */
	lichen_u32 reserved;
};

/*
 * Written by the hypervisor with atomic ORs (release), taken by the backend with atomic swaps (acquire): first
 * a summary word, then the words that it names. Bits are never lost; one interrupt may stand for many.
 */
struct lichen_doorbells {
	lichen_u64 kicked; /* bit s: queues[s] has bits */
	lichen_u64 changed;  /* channel 0 only; bit s: the view of slot s changed (status, reset) */
	lichen_u64 machine;  /* channel 0 only; LICHEN_MACHINE_* */
	lichen_u64 reserved;
	lichen_u64 queues[LICHEN_SLOTS]; /* bit q: queue q was notified */
};
#define LICHEN_MACHINE_OFF (1u << 0)    /* the frontend domain is off: the backend should power the machine off */
#define LICHEN_MACHINE_REBOOT (1u << 1) /* the frontend domain asked for a machine reset */
#define LICHEN_MACHINE_TRACE (1u << 2)  /* the trace was turned on or off: lichen/trace.h */
#define LICHEN_MACHINE_SAMPLE (1u << 3) /* a frontend asks for a sample: LICHEN_MMIO_SAMPLE */

/* How the backend signals a completion. */
#define LICHEN_COMPLETE_HVC 0u /* LICHEN_HVC_SIGNAL with LICHEN_SIGNAL_USED */
#define LICHEN_COMPLETE_SGI 1u /* write `target` to ICC_SGI1R_EL1: no exit */

struct lichen_queue_view {
	lichen_u64 desc; /* guest physical = physical addresses; already checked to lie in a shared region */
	lichen_u64 driver;
	lichen_u64 device;
	lichen_u32 num; /* entries */
	lichen_u32 ready;
	lichen_u32 complete; /* LICHEN_COMPLETE_* */
	lichen_u32 channel;
	lichen_u64 target;
};

/* Read under a sequence lock: `sequence` is odd while the hypervisor writes. */
struct lichen_device_view {
	lichen_u32 sequence;
	lichen_u32 generation;      /* incremented by every reset that the frontend asks for */
	lichen_u32 status;          /* virtio 1.2, 2.1: what the driver wrote; DRIVER_OK only after RESET_DONE */
	lichen_u32 device_id;       /* 0: not attached */
	lichen_u64 driver_features; /* valid once FEATURES_OK */
	lichen_u32 queues;
	lichen_u32 reserved;
	struct lichen_queue_view queue[LICHEN_QUEUES];
};

/*
 * The node compatible = "lichen,hypervisor", in every domain's tree:
 *     reg[0] struct lichen_info, reg[1] the statistics; both read-only. reg[2], only where domains.conf has `trace`: the rings of
 *     lichen/trace.h: a domain writes those of its own CPUs; a frontend reads all of them, the driver domain only its own.
 */
#define LICHEN_INFO_MAGIC 0x4f464e494e484c43ull

struct lichen_info {
	lichen_u64 magic;
	lichen_u32 version; /* LICHEN_ABI_VERSION */
	lichen_u32 cpus;
	struct {
		lichen_u64 mpidr;  /* affinity fields, as in MPIDR_EL1 */
		lichen_u32 domain; /* number of its domain, in the configuration's order; ~0: none */
		lichen_u32 reserved;
	} cpu[]; /* index: the row of the statistics */
};

/*
 * Counters of EL2 entries, always on: one row of LICHEN_STATS_CAUSES words a physical CPU, read-only in every
 * domain through the second `reg` of the node compatible = "lichen,hypervisor". Reading them costs no entry.
 */
enum lichen_stats_cause {
	LICHEN_STATS_ENTRIES, /* all entries: the sum of those below */
	LICHEN_STATS_HVC,     /* hypercalls of this ABI, but the two below */
	LICHEN_STATS_SIGNAL,  /* LICHEN_HVC_SIGNAL */
	LICHEN_STATS_LOG,     /* LICHEN_HVC_LOG */
	LICHEN_STATS_PSCI,
	LICHEN_STATS_SMC,    /* SMC other than PSCI */
	LICHEN_STATS_NOTIFY, /* QueueNotify */
	LICHEN_STATS_VIRTIO, /* other stores to a register page */
	LICHEN_STATS_DISTRIBUTOR,
	LICHEN_STATS_REDISTRIBUTOR,
	LICHEN_STATS_ABORT,  /* bad accesses, answered with an external abort */
	LICHEN_STATS_SYSREG, /* trapped system registers */
	LICHEN_STATS_STOP,   /* a CPU taken back */
	LICHEN_STATS_OTHER,
	LICHEN_STATS_CAUSES = 16
};
#define LICHEN_STATS_NAMES                                                                                                       \
	{                                                                                                                        \
		"entries", "hvc", "signal", "log", "psci", "smc", "notify", "virtio", "distributor", "redistributor", "abort",   \
			"sysreg", "stop", "other"                                                                                \
	}

#endif
