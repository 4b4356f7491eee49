/* SPDX-License-Identifier: MIT */
/*
 * A virtio-mmio device in the hands of a program in a Linux guest that shares its memory: take() gets it from its driver and
 * maps its registers through /dev/physical; pages that are physically known hold queue 0 and what it points at.
 */
#ifndef TESTS_DRIVER_DEVICE_H
#define TESTS_DRIVER_DEVICE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
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

/* Offsets in our first page: rings, then what they point at. */
#define AVAILABLE 256
#define USED	  512
#define TABLE	  1024
#define HEADER	  2048
#define STATUS	  2064
#define DATA	  2560

static volatile unsigned char *registers;
static unsigned char *page, *data; /* data: a page of its own, for one block */
static uint64_t page_address, data_address;
static uint32_t block_bytes = 512;
static bool block;
static unsigned int failures;
/* What the driver accepts. */
static uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC;

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

/* Reset, and negotiate as far as FEATURES_OK. False if the device does not come back. */
static bool negotiate(void)
{
	reg_write(VIRTIO_MMIO_STATUS, 0);
	if (!WAIT(reg_read(VIRTIO_MMIO_STATUS) == 0))
		return false;
	memset(page, 0, PAGE);
	reg_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	reg_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, features >> 32);
	reg_write(VIRTIO_MMIO_STATUS, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
	return true;
}

/* The same, then a queue with an empty ring, and DRIVER_OK. */
static bool start(void)
{
	if (!negotiate())
		return false;
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
			data_address, block_bytes, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2};
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
	page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	if (registers == MAP_FAILED || page == MAP_FAILED)
		die("mmap");
	data = page + PAGE;
	page[0] = data[0] = 1;
	page_address = physical_of(page);
	data_address = physical_of(data);
	block = reg_read(VIRTIO_MMIO_DEVICE_ID) == 2;
	if (block)
		block_bytes =
			reg_read(VIRTIO_MMIO_CONFIG + offsetof(struct virtio_blk_config, blk_size));
}

#endif
