// SPDX-License-Identifier: MIT
// sources: driver-domain/module/vring.c
// cflags: -Idriver-domain/module
/*
 * The device's side of a split ring: what a good driver gets, and what each lie of a bad one ends
 * in.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "vring.h"

#define BASE	  0x40000000ull
#define SIZE	  65536
#define NUM	  8
#define AVAILABLE 4096
#define USED	  8192
#define DATA	  16384

#define EVENTS	 (1ull << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)

static unsigned char *memory; /* of exactly SIZE bytes, for the sanitizer */
static struct vring_device ring;
static struct vring_chain chain;

static void *translate(void *context, uint64_t address, uint32_t length)
{
	(void)context;
	if (address < BASE || address - BASE >= SIZE || length > SIZE - (address - BASE))
		return NULL;
	return memory + (address - BASE);
}

static void start(uint64_t features)
{
	memset(memory, 0, SIZE);
	CHECK(!vring_device_start(
		&ring, NUM, BASE, BASE + AVAILABLE, BASE + USED, features, translate, NULL));
}

static void desc_at(uint32_t table, unsigned int i, uint64_t address, uint32_t length,
	uint16_t flags, uint16_t next)
{
	struct vring_desc d = {address, length, flags, next};

	memcpy(memory + table + i * sizeof(d), &d, sizeof(d));
}

static void desc(unsigned int i, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	desc_at(0, i, address, length, flags, next);
}

static struct vring_avail *available(void)
{
	return (struct vring_avail *)(memory + AVAILABLE);
}

static struct vring_used *used(void)
{
	return (struct vring_used *)(memory + USED);
}

static void offer(uint16_t head)
{
	available()->ring[available()->idx % NUM] = head;
	available()->idx++;
}

static void test_good_chain(void)
{
	start(0);
	CHECK(vring_next(&ring, &chain) == 0);
	desc(0, BASE + DATA, 16, VRING_DESC_F_NEXT, 1);
	desc(1, BASE + DATA + 4096, 4096, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	desc(2, BASE + DATA + 16, 1, VRING_DESC_F_WRITE, 0);
	offer(0);
	CHECK(vring_next(&ring, &chain) == 1);
	CHECK(chain.head == 0 && chain.segments == 3 && chain.readable == 1);
	CHECK(chain.readable_bytes == 16 && chain.writable_bytes == 4097);
	CHECK(chain.segment[1].data == memory + DATA + 4096 && chain.segment[1].length == 4096);
	CHECK(vring_next(&ring, &chain) == 0);
	vring_push(&ring, 0, 4097);
	CHECK(used()->idx == 1 && used()->ring[0].id == 0 && used()->ring[0].len == 4097);
	CHECK(vring_signal_needed(&ring));
	available()->flags = VRING_AVAIL_F_NO_INTERRUPT;
	CHECK(!vring_signal_needed(&ring));
}

static void test_wraps(void)
{
	start(EVENTS);
	desc(3, BASE + DATA, 1, 0, 0);
	for (unsigned int i = 0; i < 200000; i++) {
		offer(3);
		CHECK(vring_next(&ring, &chain) == 1 && chain.head == 3);
		vring_push(&ring, 3, 0);
		CHECK(used()->idx == (uint16_t)(i + 1));
	}
}

static void test_events(void)
{
	uint16_t *used_event = &available()->ring[NUM];
	uint16_t *available_event;

	start(EVENTS);
	available_event = (uint16_t *)&used()->ring[NUM];
	used_event = &available()->ring[NUM];
	desc(0, BASE + DATA, 1, 0, 0);
	*used_event = 1; /* interrupt when index 1 has been used: the second */
	offer(0);
	offer(0);
	CHECK(vring_next(&ring, &chain) == 1);
	vring_push(&ring, 0, 0);
	CHECK(!vring_signal_needed(&ring));
	CHECK(vring_notify_enable(&ring)); /* there is one more */
	CHECK(vring_next(&ring, &chain) == 1);
	vring_push(&ring, 0, 0);
	CHECK(vring_signal_needed(&ring));
	CHECK(!vring_signal_needed(&ring));
	CHECK(!vring_notify_enable(&ring) && *available_event == 2);
	/* A batch that passes the event counts once. */
	*used_event = 3;
	offer(0);
	offer(0);
	offer(0);
	while (vring_next(&ring, &chain) == 1)
		vring_push(&ring, 0, 0);
	CHECK(vring_signal_needed(&ring));
}

static void test_indirect(void)
{
	start(INDIRECT);
	desc(5, BASE + DATA + 3, 48, VRING_DESC_F_INDIRECT, 0); /* at any alignment */
	desc_at(DATA + 3, 0, BASE + 20000, 16, VRING_DESC_F_NEXT, 2);
	desc_at(DATA + 3, 2, BASE + 24000, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	desc_at(DATA + 3, 1, BASE + 20016, 1, VRING_DESC_F_WRITE, 0);
	offer(5);
	CHECK(vring_next(&ring, &chain) == 1);
	CHECK(chain.head == 5 && chain.segments == 3 && chain.writable_bytes == 513);
}

/* Offers head 0 and expects the ring to die of it. */
static void expect_broken(const char *part)
{
	offer(0);
	CHECK(vring_next(&ring, &chain) == -EPROTO);
	CHECK(ring.broken && strstr(ring.broken, part));
	if (ring.broken && !strstr(ring.broken, part))
		fprintf(stderr, "   '%s', expected '%s'\n", ring.broken, part);
	/* For good. */
	desc(0, BASE + DATA, 16, 0, 0);
	CHECK(vring_next(&ring, &chain) == -EPROTO);
}

static void test_lies(void)
{
	start(0);
	available()->idx = NUM + 1;
	CHECK(vring_next(&ring, &chain) == -EPROTO);
	start(0);
	offer(NUM);
	CHECK(vring_next(&ring, &chain) == -EPROTO);
	start(0);
	desc(0, BASE + DATA, 16, VRING_DESC_F_NEXT, NUM);
	expect_broken("next index outside the ring");
	start(0);
	desc(0, BASE + DATA, 16, VRING_DESC_F_NEXT, 1);
	desc(1, BASE + DATA, 16, VRING_DESC_F_NEXT, 0);
	expect_broken("loop");
	start(0);
	desc(0, BASE + SIZE, 1, 0, 0);
	expect_broken("outside shared memory");
	start(0);
	desc(0, BASE - 1, 1, 0, 0);
	expect_broken("outside shared memory");
	start(0);
	desc(0, BASE + SIZE - 16, 17, 0, 0);
	expect_broken("outside shared memory");
	start(0);
	desc(0, BASE + DATA, UINT32_MAX, 0, 0);
	expect_broken("outside shared memory");
	start(0);
	desc(0, UINT64_MAX - 4, 16, 0, 0);
	expect_broken("wraps");
	start(0);
	desc(0, BASE + DATA, 0, 0, 0);
	expect_broken("no bytes");
	start(0);
	desc(0, BASE + DATA, 16, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	desc(1, BASE + DATA, 16, 0, 0);
	expect_broken("after a writable");
	start(0);
	desc(0, BASE + DATA, 16, VRING_DESC_F_INDIRECT, 0);
	expect_broken("not negotiated");
	start(INDIRECT);
	desc(0, BASE + DATA, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
	expect_broken("with a next");
	start(INDIRECT);
	desc(0, BASE + DATA, 24, VRING_DESC_F_INDIRECT, 0);
	expect_broken("bad size");
	start(INDIRECT);
	desc(0, BASE + SIZE - 16, 32, VRING_DESC_F_INDIRECT, 0);
	expect_broken("table outside");
	start(INDIRECT);
	desc(0, BASE + DATA, 16, VRING_DESC_F_INDIRECT, 0);
	desc_at(DATA, 0, BASE + 20000, 16, VRING_DESC_F_INDIRECT, 0);
	expect_broken("in an indirect table");
	start(INDIRECT);
	desc(0, BASE + DATA, 32, VRING_DESC_F_INDIRECT, 0);
	desc_at(DATA, 0, BASE + 20000, 16, VRING_DESC_F_NEXT, 2);
	expect_broken("outside its indirect table");
	start(INDIRECT);
	desc(0, BASE + DATA, 16, VRING_DESC_F_INDIRECT, 0);
	desc_at(DATA, 0, BASE + 20000, 16, VRING_DESC_F_NEXT, 0);
	expect_broken("loop");
}

static void test_start(void)
{
	CHECK(vring_device_start(&ring, 0, BASE, BASE, BASE, 0, translate, NULL) == -EINVAL);
	CHECK(vring_device_start(&ring, 12, BASE, BASE, BASE, 0, translate, NULL) == -EINVAL);
	CHECK(vring_device_start(&ring, 8, BASE + 8, BASE, BASE, 0, translate, NULL) == -EINVAL);
	CHECK(vring_device_start(&ring, 8, BASE, BASE + 1, BASE, 0, translate, NULL) == -EINVAL);
	CHECK(vring_device_start(&ring, 8, BASE, BASE, BASE + 2, 0, translate, NULL) == -EINVAL);
	CHECK(vring_device_start(&ring, 8, BASE + SIZE - 112, BASE, BASE, 0, translate, NULL) ==
		-EFAULT);
	CHECK(vring_device_start(&ring, 8, UINT64_MAX - 15, BASE, BASE, 0, translate, NULL) ==
		-EFAULT);
	CHECK(vring_device_start(&ring, 32768, BASE, BASE, BASE, 0, translate, NULL) == -EFAULT);
}

int main(void)
{
	memory = malloc(SIZE);
	test_start();
	test_good_chain();
	test_wraps();
	test_events();
	test_indirect();
	test_lies();
	free(memory);
	return CHECK_RESULT();
}
