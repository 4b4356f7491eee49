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
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NUM  8
#define PAGE 4096u

/* Offsets in the one page of ours: rings, then what they point at. */
#define AVAILABLE 256
#define USED	  512
#define TABLE	  1024
#define HEADER	  2048
#define STATUS	  2064
#define DATA	  2560

static volatile unsigned char *registers;
static unsigned char *page;
static uint64_t page_address;
static bool block;
static unsigned int failures;

static void reg_write(unsigned int offset, uint32_t value)
{
	asm volatile("dsb st; str %w0, [%1]" ::"r"(value), "r"(registers + offset) : "memory");
}

static uint32_t reg_read(unsigned int offset)
{
	uint32_t value;

	asm volatile("ldr %w0, [%1]" : "=r"(value) : "r"(registers + offset) : "memory");
	return value;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Wait at most two seconds for a condition. */
#define WAIT(condition)                               \
	({                                            \
		double until = now() + 2;             \
		while (!(condition) && now() < until) \
			usleep(100);                  \
		(condition);                          \
	})

static void address_write(unsigned int low, uint64_t value)
{
	reg_write(low, value);
	reg_write(low + 4, value >> 32);
}

static struct vring_desc *desc(void)
{
	return (struct vring_desc *)page;
}

static struct vring_avail *available(void)
{
	return (struct vring_avail *)(page + AVAILABLE);
}

static struct vring_used *used(void)
{
	return (struct vring_used *)(page + USED);
}

/* Reset and set up, with an empty ring. False if the device does not come back. */
static bool start(void)
{
	reg_write(VIRTIO_MMIO_STATUS, 0);
	if (!WAIT(reg_read(VIRTIO_MMIO_STATUS) == 0))
		return false;
	memset(page, 0, PAGE);
	reg_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	reg_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << VIRTIO_RING_F_INDIRECT_DESC);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
	reg_write(VIRTIO_MMIO_STATUS, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
	reg_write(VIRTIO_MMIO_QUEUE_SEL, 0);
	reg_write(VIRTIO_MMIO_QUEUE_NUM, NUM);
	address_write(VIRTIO_MMIO_QUEUE_DESC_LOW, page_address);
	address_write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, page_address + AVAILABLE);
	address_write(VIRTIO_MMIO_QUEUE_USED_LOW, page_address + USED);
	reg_write(VIRTIO_MMIO_QUEUE_READY, 1);
	reg_write(VIRTIO_MMIO_STATUS, 3 | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	return reg_read(VIRTIO_MMIO_QUEUE_READY) == 1;
}

static void offer(uint16_t head)
{
	struct vring_avail *a = available();

	a->ring[a->idx % NUM] = head;
	__atomic_store_n(&a->idx, a->idx + 1, __ATOMIC_SEQ_CST);
	reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

/* A request that is in order: sector 0, or some random bytes. */
static void good_request(void)
{
	struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN};

	memcpy(page + HEADER, &header, sizeof(header));
	page[STATUS] = 0xff;
	if (block) {
		desc()[0] = (struct vring_desc){
			page_address + HEADER, sizeof(header), VRING_DESC_F_NEXT, 1};
		desc()[1] = (struct vring_desc){
			page_address + DATA, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2};
		desc()[2] = (struct vring_desc){page_address + STATUS, 1, VRING_DESC_F_WRITE, 0};
	} else {
		desc()[0] = (struct vring_desc){page_address + DATA, 32, VRING_DESC_F_WRITE, 0};
	}
}

static bool serves(void)
{
	uint16_t before;

	if (!start())
		return false;
	good_request();
	before = used()->idx;
	offer(0);
	return WAIT(__atomic_load_n(&used()->idx, __ATOMIC_ACQUIRE) != before) &&
	       (!block || page[STATUS] == VIRTIO_BLK_S_OK);
}

static void expect(const char *name, bool condition)
{
	printf("%s: %s\n", condition ? "right" : "WRONG", name);
	failures += !condition;
}

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

/* ---- finding things ---- */

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

static uint64_t physical_of(void *at)
{
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)at / PAGE * 8) != 8 || !(entry >> 63))
		die("pagemap");
	close(fd);
	return (entry & ((1ull << 55) - 1)) * PAGE;
}

static void take(const char *module, const char *device, const char *driver)
{
	char path[256], target[256], *last;
	int fd = open(module, O_RDONLY);
	ssize_t n;

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
		die(module);
	snprintf(path, sizeof(path), "/sys/bus/virtio/devices/%s", device);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		die(path);
	target[n] = 0;
	/* .../a003e00.virtio_mmio/virtio3 */
	last = strrchr(target, '/');
	*last = 0;
	last = strrchr(target, '/') + 1;
	snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/%s/unbind", driver);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, device, strlen(device)) < 0)
		die(path);
	close(fd);
	fd = open("/dev/physical", O_RDWR);
	if (fd < 0)
		die("/dev/physical");
	registers =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, strtoul(last, NULL, 16));
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	if (registers == MAP_FAILED || page == MAP_FAILED)
		die("mmap");
	page[0] = 1;
	page_address = physical_of(page);
	block = reg_read(VIRTIO_MMIO_DEVICE_ID) == 2;
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
