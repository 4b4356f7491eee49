// SPDX-License-Identifier: MIT
// sources: driver-domain/module/vring.c
// cflags: -Idriver-domain/module
/*
 * A hostile driver against the device's side of a ring. The input is the shared memory, and a
 * script of what the driver writes into it while it is being read: the translation is called
 * between the reads of a descriptor, an indirect table and its entries, so changes are made from
 * there. Whatever comes out is read and written in full.
 */
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include "vring.h"

/* Low, so that what the fuzzer finds first are addresses. */
#define BASE 0ull
#define SIZE 4096

struct fuzz {
	unsigned char *memory;
	const unsigned char *script;
	size_t left;
};

/* Four bytes of script: where (16 bits), what (8), or nothing. */
static void fuzz_write(struct fuzz *fuzz)
{
	if (fuzz->left < 4)
		return;
	if (fuzz->script[3] & 1)
		fuzz->memory[(fuzz->script[0] | fuzz->script[1] << 8) % SIZE] = fuzz->script[2];
	fuzz->script += 4;
	fuzz->left -= 4;
}

static void *translate(void *context, uint64_t address, uint32_t length)
{
	struct fuzz *fuzz = context;

	fuzz_write(fuzz);
	if (!length || address + length < address)
		abort();
	if (address >= BASE + SIZE || length > SIZE - (address - BASE))
		return NULL;
	return fuzz->memory + (address - BASE);
}

static void use(const struct vring_chain *chain)
{
	uint64_t readable = 0, writable = 0;
	unsigned char sum = 0;

	if (!chain->segments || chain->segments > VRING_SEGMENTS ||
		chain->readable > chain->segments)
		abort();
	for (unsigned int i = 0; i < chain->segments; i++) {
		const struct vring_segment *segment = &chain->segment[i];
		volatile unsigned char *data = segment->data;

		if (segment->writable != (i >= chain->readable))
			abort();
		for (uint32_t b = 0; b < segment->length; b++) {
			if (segment->writable)
				data[b] = data[b] + 1;
			else
				sum += data[b];
		}
		*(segment->writable ? &writable : &readable) += segment->length;
	}
	/* So that the reads are made. */
	__asm__ volatile("" ::"r"(sum));
	if (readable != chain->readable_bytes || writable != chain->writable_bytes)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vring_chain chain;
	struct vring_device ring;
	struct fuzz fuzz;
	uint64_t features;
	unsigned int steps = 0;

	if (size < 4)
		return 0;
	features = (uint64_t)(data[0] & 1) << VIRTIO_RING_F_EVENT_IDX |
		   (uint64_t)(data[0] >> 1 & 1) << VIRTIO_RING_F_INDIRECT_DESC;
	/* malloc, so that a byte outside is seen. */
	fuzz.memory = malloc(SIZE);
	memset(fuzz.memory, 0, SIZE);
	memcpy(fuzz.memory, data + 4, size - 4 < SIZE ? size - 4 : SIZE);
	fuzz.script = data + 4 + (size - 4 < SIZE ? size - 4 : SIZE);
	fuzz.left = size - (size_t)(fuzz.script - data);
	/*
	 * Up to 32 entries: descriptors at 0, available ring at 512, used ring at 1024, all else
	 * for buffers.
	 */
	if (vring_device_start(&ring, 1u << data[1] % 6, BASE, BASE + 512, BASE + 1024, features,
		    translate, &fuzz))
		abort();
	while (steps++ < 200) {
		int more = vring_next(&ring, &chain);

		if (more < 0)
			break;
		if (more) {
			if (chain.head >= ring.num)
				abort();
			use(&chain);
			vring_push(&ring, chain.head, chain.writable_bytes);
			vring_signal_needed(&ring);
		} else if (!vring_notify_enable(&ring)) {
			if (!fuzz.left)
				break;
			fuzz_write(&fuzz);
		}
	}
	free(fuzz.memory);
	return 0;
}
