/* SPDX-License-Identifier: MIT */
/*
 * Random numbers: ChaCha20 (RFC 8439) with fast key erasure. One key; each call takes a fresh key of its own from it
 * under the lock, and the first half of that block replaces the key, so that nothing given out can be computed later.
 * Entropy is mixed into the key: the boot loader's seed, virtio-rng, and the moments at which things happen.
 */
#include <lichen/boot.h>
#include <lichen/irq.h>
#include <lichen/lock.h>
#include <lichen/printk.h>
#include <lichen/random.h>
#include <lichen/string.h>
#include <lichen/timer.h>
#include <libfdt.h>

enum { READY_BITS = 256 };

static spinlock_t lock = SPINLOCK_INIT; /* interrupts masked */
static u32 key[8];
static u64 counter;
static u32 entropy;
static _Atomic bool ready;

static u32 rotate(u32 x, int n)
{
	return x << n | x >> (32 - n);
}

static void quarter(u32 *s, int a, int b, int c, int d)
{
	s[a] += s[b];
	s[d] = rotate(s[d] ^ s[a], 16);
	s[c] += s[d];
	s[b] = rotate(s[b] ^ s[c], 12);
	s[a] += s[b];
	s[d] = rotate(s[d] ^ s[a], 8);
	s[c] += s[d];
	s[b] = rotate(s[b] ^ s[c], 7);
}

static void chacha_block(const u32 k[8], u64 count, u32 out[16])
{
	const u32 start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, k[0], k[1], k[2], k[3], k[4], k[5], k[6],
		k[7], (u32)count, (u32)(count >> 32), 0, 0};
	u32 s[16];

	memcpy(s, start, sizeof(s));
	for (int i = 0; i < 10; i++) {
		quarter(s, 0, 4, 8, 12);
		quarter(s, 1, 5, 9, 13);
		quarter(s, 2, 6, 10, 14);
		quarter(s, 3, 7, 11, 15);
		quarter(s, 0, 5, 10, 15);
		quarter(s, 1, 6, 11, 12);
		quarter(s, 2, 7, 8, 13);
		quarter(s, 3, 4, 9, 14);
	}
	for (int i = 0; i < 16; i++)
		out[i] = s[i] + start[i];
}

/* The key becomes one half of a block of itself; the other half goes out. */
static void key_advance(u32 out[8]) REQUIRES(lock)
{
	u32 block[16];

	chacha_block(key, counter++, block);
	memcpy(key, block, sizeof(key));
	memcpy(out, block + 8, sizeof(key));
}

void random_bytes(void *buf, size_t n)
{
	u32 own[8], block[16];
	u64 count = 0;
	unsigned long flags = spin_lock_irqsave(&lock);

	key[0] ^= (u32)time_monotonic();
	key_advance(own);
	spin_unlock_irqrestore(&lock, flags);
	for (u8 *p = buf; n;) {
		size_t part = min(n, sizeof(block));

		chacha_block(own, count++, block);
		memcpy(p, block, part);
		p += part;
		n -= part;
	}
	/* Nothing of the stream stays on the stack. */
	memset(own, 0, sizeof(own));
	memset(block, 0, sizeof(block));
	__asm__ volatile("" : : "r"(own), "r"(block) : "memory");
}

void random_add(const void *buf, size_t n, u32 entropy_bits)
{
	const u8 *p = buf;
	u32 drop[8];
	unsigned long flags = spin_lock_irqsave(&lock);

	while (n) {
		size_t part = min(n, sizeof(key));

		for (size_t i = 0; i < part; i++)
			((u8 *)key)[i] ^= p[i];
		key[7] ^= (u32)time_monotonic();
		key_advance(drop);
		p += part;
		n -= part;
	}
	entropy = min(entropy + min(entropy_bits, (u32)READY_BITS), (u32)READY_BITS);
	if (entropy >= READY_BITS)
		atomic_store_explicit(&ready, true, memory_order_release);
	spin_unlock_irqrestore(&lock, flags);
}

bool random_ready(void)
{
	return atomic_load_explicit(&ready, memory_order_acquire);
}

#ifndef LICHEN_HOST_BUILD
static void random_init(void)
{
	int node = fdt_path_offset(device_tree(), "/chosen"), length = 0;
	const void *seed = node >= 0 ? fdt_getprop(device_tree(), node, "rng-seed", &length) : NULL;

	if (seed && length > 0)
		random_add(seed, (size_t)length, (u32)min(length, 1024) * 8);
	else
		log_warn("device tree: no rng-seed: random numbers are weak until there is a virtio-rng");
}
INITCALL(INIT_CORE, random_init);
#endif
