/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Inside the lichen module: the parts and what they offer each other.
 *
 *     hypervisor.c  finds the window (device tree), hypercalls, views
 *     channel.c     doorbells: an interrupt and a thread a channel
 *     watch.c       when a channel polls its rings, and the devices below
 *     slot.c        who serves which slot; kicks and changes go to it
 *     pool.c        the memory that frontends share, as pages
 *     vring.c       a ring, taken apart with suspicion
 *     block.c       virtio-blk on a Linux block device: how it starts, is reset and ends
 *     block_*.c     its requests
 *     echo.c        the echo device: the transport alone
 *     program.c     a slot served by a program, through a file descriptor
 *     chardev.c     /dev/lichen
 *     drain.c       has Linux's own console output left the machine
 *     trace.c       records of what happens to requests, when asked for
 *     sample.c      this domain's counters of instructions and cycles, when a frontend asks
 *     log.c         Linux's log into the hypervisor's
 */
#ifndef LICHEN_MODULE_H
#define LICHEN_MODULE_H

#include <linux/arm-smccc.h>
#include <linux/bits.h>
#include <linux/kernel.h>
#include <linux/mutex.h>
#include <linux/ratelimit.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <lichen/abi.h>
#include "backend.h"

/* One line of the driver domain's log about a slot. */
#define slot_info(slot, format, ...) pr_info("slot %u: " format, (slot)->index, ##__VA_ARGS__)
/* What a frontend can cause is limited, slot by slot: it must not drown the log of the others. */
#define slot_warn(slot, format, ...)                                               \
	do {                                                                       \
		if (__ratelimit(&(slot)->complaints))                              \
			pr_warn("slot %u: " format, (slot)->index, ##__VA_ARGS__); \
	} while (0)

/* ---- hypervisor.c ---- */

struct lichen_window {
	struct lichen_control *control;
	void *doorbells; /* one page a channel */
	void *views;	 /* one page a slot, read-only */
	void *registers; /* one page a slot */
	unsigned int slots;
	unsigned int channels;
};

/* Filled before anything else runs, constant afterwards. */
extern struct lichen_window lichen_window;

/*
 * A hypercall; 0, a positive value, or a negative errno. Never sleeps; callable with interrupts
 * off.
 */
static inline long hypercall(unsigned long function, unsigned long a, unsigned long b,
	unsigned long c, unsigned long d, unsigned long e)
{
	struct arm_smccc_res result;

	arm_smccc_1_1_hvc(function, a, b, c, d, e, &result);
	return (long)result.a0;
}

static inline struct lichen_doorbells *window_doorbells(unsigned int channel)
{
	return lichen_window.doorbells + channel * 4096ul;
}

/* The page of a slot's registers; config space starts at VIRTIO_MMIO_CONFIG. */
static inline void *window_registers(unsigned int slot)
{
	return lichen_window.registers + slot * 4096ul;
}

/* What a slot's view says of the device as a whole. */
struct view {
	u32 generation;
	u32 status;
	u64 driver_features;
};

/* A consistent copy of a slot's view, and of one of its queues. */
void view_read(unsigned int slot, struct view *to);
void view_read_queue(unsigned int slot, unsigned int queue, struct lichen_queue_view *to);

/* What serving a slot has cost, counted here, and shown in its register page for the frontend to see. */
extern struct lichen_backend_counters slot_counters[LICHEN_SLOTS];

static inline void counter_add(u64 *counter, u64 *shown, u64 n)
{
	u64 value = atomic64_add_return_relaxed(n, (atomic64_t *)counter), last;

	/* The page is not cached, so that it takes plain stores only: the last word is the newest value's. */
	do {
		WRITE_ONCE(*shown, value);
		last = value;
		value = READ_ONCE(*counter);
	} while (unlikely(value != last));
}

/* `counter` is a member of struct lichen_backend_counters. Any context. */
#define slot_count(slot, counter, n)                                                            \
	counter_add(&slot_counters[slot].counter,                                               \
		&((struct lichen_backend_counters *)(window_registers(slot) +                   \
						     LICHEN_MMIO_COUNTERS))                     \
			 ->counter,                                                             \
		n)

/*
 * Write `length` bytes of config space of a slot that is being set up, or is followed by
 * LICHEN_SIGNAL_CONFIG.
 */
void config_write(unsigned int slot, unsigned int offset, const void *from, unsigned int length);

/*
 * Tell the frontend of used buffers, as its queue wants to be told: no exit, or one. Any context.
 */
void queue_signal(unsigned int slot, const struct lichen_queue_view *queue);

/* ---- channel.c ---- */

struct device;
int channels_start(struct device *parent, const int *interrupts);
void channels_stop(void);
/*
 * Returns once no channel serves anything that it took before the call, nor knows a watch whose
 * requests have all ended. Sleeps.
 */
void channels_quiesce(void);

/* Make a channel look at the queues of a slot, as if they had been kicked. Any context. */
void channel_kick(unsigned int channel, unsigned int slot, u64 queues);

/* ---- slot.c ---- */

struct slot;

struct slot_operations {
	/*
	 * In a channel's thread (may sleep, but holds up that channel): queues with bits in
	 * `queues` were kicked.
	 */
	void (*kick)(struct slot *slot, u64 queues);
	/* In a worker: status or generation changed. */
	void (*change)(struct slot *slot, const struct view *view);
	/* The machine goes off: one line of the log on what was served. May be NULL. */
	void (*report)(struct slot *slot);
	/* In a worker, after the last kick and change: free everything. */
	void (*release)(struct slot *slot);
};

struct slot {
	unsigned int index;
	const struct slot_operations *operations; /* NULL: free; read by channels without a lock */
	void *owner;				  /* what the operations work on */
	struct work_struct change;
	struct ratelimit_state complaints;
};

struct slot_attach {
	unsigned int slot;
	u32 device_id;
	unsigned int queues;
	unsigned int queue_max;
	u64 features;
	const void *config;
	unsigned int config_length;
	const struct slot_operations *operations;
	void *owner;
};

int slots_start(void);
void slots_stop(void);
/*
 * Attach a device. Kicks may arrive before this returns. 0, -EINVAL, -EBUSY, or what the hypervisor
 * says.
 */
int slot_attach(const struct slot_attach *what);
/*
 * Detach it and release it; returns after the last operation. Nothing if the slot is free. Sleeps.
 */
void slot_detach(unsigned int slot);
struct slot *slot_get(unsigned int slot);
/* Let every owner report. Sleeps. */
void slots_report(void);
/* The channels' entry: never sleeps for the first, may for the second. */
void slot_changed(unsigned int slot);
void slot_kicked(unsigned int slot, u64 queues);
/* DEVICE_NEEDS_RESET, with the reason in the log; none: who calls has said it. */
void slot_broken(struct slot *slot, unsigned int queue, const char *why);

/* ---- pool.c ---- */

struct device_node;
struct vring_device;
int pool_start(struct device_node *backend);
/*
 * The kernel's address of [address, address + length), or NULL unless all of it is shared with
 * frontends.
 */
void *pool_translate(void *unused, u64 address, u32 length);
/* The ring translates the largest region itself. */
void pool_window(struct vring_device *ring);
unsigned int pool_regions(void);
int pool_region(unsigned int index, u64 *start, u64 *length);

/* ---- block.c ---- */

struct file;
/* Serve a slot from an open block device; takes its own reference. */
int block_attach(const struct backend_block *what, struct file *file);

/* ---- echo.c ---- */

int echo_attach(const struct backend_echo *what);

/* ---- program.c ---- */

/*
 * A slot for a program: a new file descriptor that detaches the slot when it is closed, or -errno.
 */
int program_create(const struct backend_create *what);

/* ---- chardev.c ---- */

int chardev_start(void);
void chardev_stop(void);
/* The machine is to go off or reboot (LICHEN_MACHINE_*): wakes those who read /dev/lichen. */
void chardev_machine(u64 bits);

/* ---- drain.c ---- */

/* Sleeps (device locks). */
bool consoles_drained(void);

/* ---- sample.c ---- */

/* LICHEN_MACHINE_SAMPLE has come. In channel 0's thread; sleeps. */
void sample_take(void);

/* ---- log.c ---- */

void log_start(void);
void log_stop(void);

#endif
