// SPDX-License-Identifier: MIT
/*
 * A hostile frontend, as a program in a Linux guest that shares its memory: takes a virtio-mmio
 * device from its driver, works its registers through /dev/physical, and offers rings that break
 * the rules.
 *
 *     frontend PHYSICAL.KO DEVICE DRIVER     DEVICE: virtioN; DRIVER: virtio_blk or virtio_rng
 *
 * Each must end in DEVICE_NEEDS_RESET within two seconds, and after a reset the device must serve a
 * good request again. A ring that another thread changes while it is read may end either way, and
 * the device must survive it.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include "device.h"

/* ---- the lies: each prepares head 0 ---- */

static void d(unsigned int i, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	desc()[i] = (struct vring_desc){address, length, flags, next};
}

static void lie_index(void)
{
	available()->idx = 1000;
}
static void lie_head(void)
{
	available()->ring[0] = NUM;
}
static void lie_next(void)
{
	d(0, page_address + DATA, 16, VRING_DESC_F_NEXT, NUM);
}
static void lie_loop(void)
{
	d(0, page_address + DATA, 16, VRING_DESC_F_NEXT, 0);
}
static void lie_outside(void)
{
	d(0, 0x40000000, 512, VRING_DESC_F_WRITE, 0);
}
static void lie_mmio(void)
{
	d(0, 0x09000000, 512, VRING_DESC_F_WRITE, 0);
}
static void lie_high(void)
{
	d(0, 1ull << 60, 512, VRING_DESC_F_WRITE, 0);
}
static void lie_wrap(void)
{
	d(0, UINT64_MAX - 15, 512, VRING_DESC_F_WRITE, 0);
}
static void lie_long(void)
{
	d(0, page_address + DATA, UINT32_MAX, VRING_DESC_F_WRITE, 0);
}
static void lie_empty(void)
{
	d(0, page_address + DATA, 0, 0, 0);
}
static void lie_table_size(void)
{
	d(0, page_address + TABLE, 17, VRING_DESC_F_INDIRECT, 0);
}
static void lie_table_outside(void)
{
	d(0, 0x40000000, 64, VRING_DESC_F_INDIRECT, 0);
}
static void lie_table_table(void)
{
	d(0, page_address + TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	*(struct vring_desc *)(page + TABLE) =
		(struct vring_desc){page_address + DATA, 16, VRING_DESC_F_INDIRECT, 0};
}
static void lie_table_loop(void)
{
	d(0, page_address + TABLE, 32, VRING_DESC_F_INDIRECT, 0);
	*(struct vring_desc *)(page + TABLE) =
		(struct vring_desc){page_address + DATA, 16, VRING_DESC_F_NEXT, 0};
}
static void lie_order(void)
{
	d(0, page_address + DATA, 16, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	d(1, page_address + DATA, 16, 0, 0);
}
static void lie_header(void)
{
	d(0, page_address + DATA, 8, VRING_DESC_F_NEXT, 1),
		d(1, page_address + STATUS, 1, VRING_DESC_F_WRITE, 0);
}
static void lie_status(void)
{
	d(0, page_address + HEADER, 16, 0, 0);
}

static const struct {
	const char *name;
	void (*prepare)(void);
	bool block; /* no lie for other devices */
} lies[] = {
	{"the available index jumps", lie_index, false},
	{"a head outside the ring", lie_head, false},
	{"a next outside the ring", lie_next, false},
	{"a loop", lie_loop, false},
	{"a buffer in another domain's memory", lie_outside, false},
	{"a buffer in a device", lie_mmio, false},
	{"a buffer where nothing is", lie_high, false},
	{"an address that wraps", lie_wrap, false},
	{"a length of 4 GiB", lie_long, false},
	{"a buffer of no bytes", lie_empty, false},
	{"an indirect table of a bad size", lie_table_size, false},
	{"an indirect table in another domain's memory", lie_table_outside, false},
	{"an indirect table in an indirect table", lie_table_table, false},
	{"a loop in an indirect table", lie_table_loop, false},
	{"a readable buffer behind a writable one", lie_order, false},
	{"a request with half a header", lie_header, true},
	{"a request without a status", lie_status, true},
};

/* Changes the descriptors of a good request as fast as it can. */
static volatile bool changing;

static void *change(void *unused)
{
	uint64_t bad[] = {page_address + DATA, 0x40000000, 1ull << 60, page_address + PAGE - 1};
	uint32_t n = 0;

	(void)unused;
	while (changing) {
		volatile struct vring_desc *e = &desc()[n % 3];

		e->addr = bad[n / 3 % 4];
		e->len = n % 5 ? n : 512;
		e->flags = n >> 2;
		e->next = n >> 3;
		n = n * 1103515245 + 12345;
	}
	return NULL;
}

static void race(void)
{
	unsigned int rounds = 0, resets = 0;
	double until = now() + 5;

	while (now() < until && start()) {
		pthread_t thread;

		good_request();
		changing = true;
		if (pthread_create(&thread, NULL, change, NULL))
			break;
		for (int i = 0;
			i < 200 && !(reg_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
			i++) {
			offer(i % 3);
			usleep(50);
		}
		changing = false;
		pthread_join(thread, NULL);
		rounds++;
		resets += !!(reg_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	}
	printf("%u rounds with changing descriptors, %u of them ended in NEEDS_RESET\n", rounds,
		resets);
	expect("the device serves after descriptors that change", rounds && serves());
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: frontend PHYSICAL.KO virtioN DRIVER\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	take(argv[1], argv[2], argv[3]);
	expect("it serves a good request", serves());
	for (unsigned int i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		if (lies[i].block && !block)
			continue;
		expect("it comes back", start());
		good_request();
		/* The device may look at any time: the lie is whole before it is offered. */
		lies[i].prepare();
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!available()->idx)
			available()->idx = 1;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		expect(lies[i].name,
			WAIT(reg_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET));
		expect("after it, it serves", serves());
	}
	race();
	reg_write(VIRTIO_MMIO_STATUS, 0);
	printf("%u wrong\n", failures);
	return failures != 0;
}
