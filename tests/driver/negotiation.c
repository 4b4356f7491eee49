// SPDX-License-Identifier: MIT
/*
 * The rules of the transport and of virtio-blk from the driver's side, as a program in a Linux guest that shares its memory:
 * what a driver may negotiate, how big a queue may be, what a reset is, how data may be cut, which requests fail. It writes to
 * the disk's first blocks.
 *
 *     negotiation PHYSICAL.KO DEVICE     DEVICE: virtioN, of virtio_blk
 */
#define _GNU_SOURCE
#include "device.h"

#define BIT(n)	  (1ull << (n))
#define VERSION_1 BIT(VIRTIO_F_VERSION_1)
#define LIVE	  (3 | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)
#define RESET	  0x0c0 /* QueueReset: of VIRTIO_F_RING_RESET, which is not offered */

static uint64_t offered;

static bool status_has(uint32_t bits)
{
	return (reg_read(VIRTIO_MMIO_STATUS) & bits) == bits;
}

/* ---- features ---- */

static bool accepts(uint64_t these)
{
	features = these;
	return negotiate() && status_has(VIRTIO_CONFIG_S_FEATURES_OK);
}

static void check_features(void)
{
	reg_write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	offered = reg_read(VIRTIO_MMIO_DEVICE_FEATURES);
	reg_write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	offered |= (uint64_t)reg_read(VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	printf("offered: %#llx\n", (unsigned long long)offered);
	expect("VERSION_1 is offered", offered & VERSION_1);
	for (uint32_t selector = 2; selector; selector <<= 1) {
		reg_write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, selector);
		if (reg_read(VIRTIO_MMIO_DEVICE_FEATURES))
			expect("no features behind the 64", false);
	}
	for (unsigned int bit = 0; bit < 64; bit++) {
		char name[64];

		snprintf(name, sizeof(name), "bit %u, %s", bit,
			offered & BIT(bit) ? "alone, and all the others without it"
					   : "refused: it is not offered");
		if (BIT(bit) == VERSION_1)
			continue;
		if (offered & BIT(bit)) {
			features = VERSION_1 | BIT(bit);
			expect(name, serves() && (features = offered & ~BIT(bit), serves()));
		} else {
			expect(name,
				!accepts(offered | BIT(bit)) && !accepts(VERSION_1 | BIT(bit)));
		}
	}
	expect("without VERSION_1 there is no FEATURES_OK", !accepts(offered & ~VERSION_1));
	reg_write(VIRTIO_MMIO_STATUS, LIVE);
	expect("and no DRIVER_OK", !status_has(VIRTIO_CONFIG_S_DRIVER_OK));
	expect("all together", accepts(offered) && serves());

	/* Features are settled with FEATURES_OK: an indirect table that came too late is not understood. */
	features = VERSION_1;
	start();
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << VIRTIO_RING_F_INDIRECT_DESC);
	good_request();
	memcpy(page + TABLE, page, 48);
	desc()[0] = (struct vring_desc){page_address + TABLE, 48, VRING_DESC_F_INDIRECT, 0};
	offer(0);
	expect("no indirect table that was not negotiated",
		WAIT(status_has(VIRTIO_CONFIG_S_NEEDS_RESET)));
	features = offered;
	expect("after it, it serves", serves());
}

/* ---- status, reset and queues ---- */

static void check_status(void)
{
	static const char *const names[] = {
		"ACKNOWLEDGE", "DRIVER", "FEATURES_OK", "a queue", "DRIVER_OK", "FAILED"};

	reg_write(VIRTIO_MMIO_STATUS, 0);
	WAIT(reg_read(VIRTIO_MMIO_STATUS) == 0);
	reg_write(VIRTIO_MMIO_STATUS, 3 | VIRTIO_CONFIG_S_DRIVER_OK);
	expect("no DRIVER_OK before FEATURES_OK", reg_read(VIRTIO_MMIO_STATUS) == 3);
	for (unsigned int state = 0; state < sizeof(names) / sizeof(names[0]); state++) {
		static const uint32_t status[] = {
			1, 3, 11, 11, LIVE, LIVE | VIRTIO_CONFIG_S_FAILED};
		char name[64];

		snprintf(name, sizeof(name), "a reset after %s", names[state]);
		start();
		if (state < 3) {
			reg_write(VIRTIO_MMIO_STATUS, 0);
			WAIT(reg_read(VIRTIO_MMIO_STATUS) == 0);
		}
		reg_write(VIRTIO_MMIO_STATUS, status[state]);
		if (state == 4) /* with work to do */
			good_request(), offer(0);
		reg_write(VIRTIO_MMIO_STATUS, 0);
		expect(name, WAIT(reg_read(VIRTIO_MMIO_STATUS) == 0) &&
				     reg_read(VIRTIO_MMIO_QUEUE_READY) == 0 &&
				     reg_read(VIRTIO_MMIO_INTERRUPT_STATUS) == 0 && serves());
	}
	/* What completes during a reset leaves no interrupt behind. */
	bool quiet = true;
	for (unsigned int i = 0; quiet && i < 200; i++) {
		start();
		good_request();
		offer(0);
		usleep(i);
		reg_write(VIRTIO_MMIO_STATUS, 0);
		quiet = WAIT(reg_read(VIRTIO_MMIO_STATUS) == 0) &&
			reg_read(VIRTIO_MMIO_INTERRUPT_STATUS) == 0;
	}
	expect("200 resets with a request under way leave no interrupt", quiet && serves());
	expect("a used buffer is told", WAIT(reg_read(VIRTIO_MMIO_INTERRUPT_STATUS) & 1));
	reg_write(VIRTIO_MMIO_INTERRUPT_ACK, 1);
	expect("until it is acknowledged", !(reg_read(VIRTIO_MMIO_INTERRUPT_STATUS) & 1));

	uint32_t capacity = reg_read(VIRTIO_MMIO_CONFIG);
	*(volatile uint8_t *)(registers + VIRTIO_MMIO_STATUS) = 0;
	*(volatile uint16_t *)(registers + VIRTIO_MMIO_STATUS) = 0;
	*(volatile uint64_t *)(registers + VIRTIO_MMIO_STATUS) = 0;
	reg_write(VIRTIO_MMIO_CONFIG, 1);
	expect("stores of other sizes, and to the capacity, are ignored",
		status_has(LIVE) && reg_read(VIRTIO_MMIO_CONFIG) == capacity);
	reg_write(RESET, 1);
	expect("no queue reset", reg_read(RESET) == 0 && reg_read(VIRTIO_MMIO_QUEUE_READY) == 1);
}

/* Queue 0 with a size and places for its parts. True if it is taken. */
static bool queue_ready(uint32_t num, uint64_t table, uint64_t avail, uint64_t use)
{
	negotiate();
	reg_write(VIRTIO_MMIO_QUEUE_SEL, 0);
	reg_write(VIRTIO_MMIO_QUEUE_NUM, num);
	address_write(VIRTIO_MMIO_QUEUE_DESC_LOW, table);
	address_write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, avail);
	address_write(VIRTIO_MMIO_QUEUE_USED_LOW, use);
	reg_write(VIRTIO_MMIO_QUEUE_READY, 1);
	return reg_read(VIRTIO_MMIO_QUEUE_READY) == 1;
}

static void check_queues(void)
{
	uint64_t table = page_address, avail = page_address + AVAILABLE, use = page_address + USED;
	uint32_t max;

	reg_write(VIRTIO_MMIO_QUEUE_SEL, 0);
	max = reg_read(VIRTIO_MMIO_QUEUE_NUM_MAX);
	expect("a queue of at least 8", max >= 8 && !(max & (max - 1)));
	for (uint32_t num = 1; num <= 8; num *= 2) {
		features = VERSION_1 | BIT(VIRTIO_RING_F_INDIRECT_DESC);
		if (!queue_ready(num, table, avail, use)) {
			expect("a small queue", false);
			continue;
		}
		reg_write(VIRTIO_MMIO_STATUS, LIVE);
		good_request();
		memcpy(page + TABLE, page, 48);
		desc()[0] = (struct vring_desc){page_address + TABLE, 48, VRING_DESC_F_INDIRECT, 0};
		/* Around the ring and on. */
		for (unsigned int i = 0; i < 3 * num; i++) {
			uint16_t before = used()->idx;

			available()->ring[available()->idx % num] = 0;
			__atomic_store_n(&available()->idx, available()->idx + 1, __ATOMIC_SEQ_CST);
			reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
			if (!WAIT(__atomic_load_n(&used()->idx, __ATOMIC_ACQUIRE) != before)) {
				expect("a small queue is served", false);
				break;
			}
		}
		printf("right: a queue of %u\n", num);
	}
	features = offered;
	expect("no queue of none", !queue_ready(0, table, avail, use));
	expect("no queue of three", !queue_ready(3, table, avail, use));
	expect("no queue above the maximum", !queue_ready(2 * max, table, avail, use));
	expect("no odd descriptors", !queue_ready(8, table + 8, avail, use));
	expect("no odd available ring", !queue_ready(8, table, avail + 1, use));
	expect("no odd used ring", !queue_ready(8, table, avail, use + 2));
	expect("no descriptors in foreign memory", !queue_ready(8, 0x40000000, avail, use));
	expect("no available ring in a device", !queue_ready(8, table, 0x09000000, use));
	expect("no used ring where nothing is", !queue_ready(8, table, avail, BIT(60)));
	expect("no ring across the end of all", !queue_ready(8, table, avail, UINT64_MAX - 3));
	reg_write(VIRTIO_MMIO_QUEUE_SEL, 0xffff);
	reg_write(VIRTIO_MMIO_QUEUE_READY, 1);
	expect("no queue behind the last",
		reg_read(VIRTIO_MMIO_QUEUE_NUM_MAX) == 0 && reg_read(VIRTIO_MMIO_QUEUE_READY) == 0);
	expect("after all that, it serves", serves());
	/* A kick of no queue, and of one that is not ready. */
	reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, 63);
	reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0xffffffff);
	reg_write(VIRTIO_MMIO_QUEUE_SEL, 0);
	reg_write(VIRTIO_MMIO_QUEUE_READY, 0);
	reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	expect("kicks of queues that are none do nothing", status_has(LIVE));
	expect("and it serves", serves());
}

/* ---- requests ---- */

/* What the used entry said. */
static uint32_t used_bytes;

/* A request whose `pieces` of data are in desc()[1] and up, all in the direction of the type. Its status; 0xff: none came. */
static unsigned int request(uint32_t type, uint64_t sector, unsigned int pieces)
{
	struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	uint16_t before = used()->idx;

	memcpy(page + HEADER, &header, sizeof(header));
	page[STATUS] = 0xff;
	desc()[0] = (struct vring_desc){page_address + HEADER, 16, VRING_DESC_F_NEXT, 1};
	for (unsigned int i = 1; i <= pieces; i++) {
		desc()[i].flags = VRING_DESC_F_NEXT | (in ? VRING_DESC_F_WRITE : 0);
		desc()[i].next = i + 1;
	}
	desc()[pieces + 1] = (struct vring_desc){page_address + STATUS, 1, VRING_DESC_F_WRITE, 0};
	offer(0);
	if (!WAIT(__atomic_load_n(&used()->idx, __ATOMIC_ACQUIRE) != before))
		return 0xff;
	used_bytes = used()->ring[before % NUM].len;
	return page[STATUS];
}

static unsigned int whole(uint32_t type, uint64_t sector, uint32_t bytes)
{
	desc()[1] = (struct vring_desc){data_address, bytes, 0, 0};
	return request(type, sector, 1);
}

/* A block in pieces of 1, 102 and the rest, at odd addresses, with gaps. */
static unsigned int pieces(uint32_t type, uint64_t sector)
{
	desc()[1] = (struct vring_desc){page_address + DATA + 1, 1, 0, 0};
	desc()[2] = (struct vring_desc){page_address + DATA + 13, 102, 0, 0};
	desc()[3] = (struct vring_desc){data_address + 3, block_bytes - 103, 0, 0};
	return request(type, sector, 3);
}

static void gather(unsigned char *to)
{
	to[0] = page[DATA + 1];
	memcpy(to + 1, page + DATA + 13, 102);
	memcpy(to + 103, data + 3, block_bytes - 103);
}

static void check_data(void)
{
	unsigned char wanted[PAGE], got[PAGE];
	uint32_t per = block_bytes / 512;

	start();
	for (unsigned int i = 0; i < block_bytes; i++)
		data[i] = wanted[i] = i * 7 + i / 251;
	expect("a block is written", whole(VIRTIO_BLK_T_OUT, 0, block_bytes) == VIRTIO_BLK_S_OK);
	expect("of which the device wrote the status", used_bytes == 1);
	memset(data, 0, PAGE);
	expect("and read in odd pieces",
		pieces(VIRTIO_BLK_T_IN, 0) == VIRTIO_BLK_S_OK && used_bytes == block_bytes + 1);
	gather(got);
	expect("all of it", !memcmp(got, wanted, block_bytes));
	expect("nothing beside it", !page[DATA] && !page[DATA + 2] && !page[DATA + 12] &&
					    !page[DATA + 115] && !data[2]);
	for (unsigned int i = 0; i < 103; i++)
		page[DATA + (i ? 12 + i : 1)] = 0x5a;
	memset(data, 0xa5, block_bytes);
	gather(wanted);
	expect("written in odd pieces", pieces(VIRTIO_BLK_T_OUT, per) == VIRTIO_BLK_S_OK);
	expect("read whole", whole(VIRTIO_BLK_T_IN, per, block_bytes) == VIRTIO_BLK_S_OK);
	expect("all of it again", !memcmp(data, wanted, block_bytes));
	expect("a flush", request(VIRTIO_BLK_T_FLUSH, 0, 0) == VIRTIO_BLK_S_OK);
}

static void check_errors(void)
{
	uint64_t sectors = reg_read(VIRTIO_MMIO_CONFIG) | (uint64_t)reg_read(VIRTIO_MMIO_CONFIG + 4)
								  << 32;
	static const struct {
		const char *name;
		uint64_t from_end;
		int length;
	} bad[] = {
		{"no request of half a block", 100000, -1},
		{"no request of a byte more", 100000, 1},
		{"none of nothing", 100000, -2},
		{"none behind the end", 0, 0},
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int length = bad[i].length == -1   ? (int)block_bytes / 2
			     : bad[i].length == -2 ? 0
						   : (int)block_bytes + bad[i].length;
		uint64_t sector = bad[i].from_end ? 0 : sectors;
		unsigned int in, out;

		desc()[1] = (struct vring_desc){data_address, length, 0, 0};
		in = request(VIRTIO_BLK_T_IN, sector, length > 0);
		desc()[1] = (struct vring_desc){data_address, length, 0, 0};
		out = request(VIRTIO_BLK_T_OUT, sector, length > 0);
		expect(bad[i].name, in == VIRTIO_BLK_S_IOERR && out == VIRTIO_BLK_S_IOERR);
	}
	if (block_bytes > 512)
		expect("none that begins within a block",
			whole(VIRTIO_BLK_T_IN, 1, block_bytes) == VIRTIO_BLK_S_IOERR &&
				whole(VIRTIO_BLK_T_OUT, 1, block_bytes) == VIRTIO_BLK_S_IOERR);
	expect("none at a sector beyond all bytes",
		whole(VIRTIO_BLK_T_IN, BIT(63), block_bytes) == VIRTIO_BLK_S_IOERR &&
			whole(VIRTIO_BLK_T_IN, UINT64_MAX, block_bytes) == VIRTIO_BLK_S_IOERR);
	expect("no request of a kind unheard of", whole(77, 0, block_bytes) == VIRTIO_BLK_S_UNSUPP);
	expect("its name is 20 bytes",
		whole(VIRTIO_BLK_T_GET_ID, 0, 64) == VIRTIO_BLK_S_OK && used_bytes == 21);
}

/* Discard or write zeroes of `count` ranges in data. */
static unsigned int ranges(uint32_t type, unsigned int count)
{
	return whole(type, 0, count * sizeof(struct virtio_blk_discard_write_zeroes));
}

static void check_ranges(void)
{
	struct virtio_blk_discard_write_zeroes *range = (void *)data;
	uint32_t per = block_bytes / 512;
	uint64_t sectors = reg_read(VIRTIO_MMIO_CONFIG) | (uint64_t)reg_read(VIRTIO_MMIO_CONFIG + 4)
								  << 32;
	unsigned int nonzero = 0;

	for (unsigned int i = 0; i < 4; i++) {
		memset(data, 0x77, block_bytes);
		whole(VIRTIO_BLK_T_OUT, i * per, block_bytes);
	}
	range[0] = (struct virtio_blk_discard_write_zeroes){0, per, 0};
	range[1] = (struct virtio_blk_discard_write_zeroes){2 * per, per, 0};
	expect("zeroes in two places", ranges(VIRTIO_BLK_T_WRITE_ZEROES, 2) == VIRTIO_BLK_S_OK);
	for (unsigned int i = 0; i < 4; i++) {
		whole(VIRTIO_BLK_T_IN, i * per, block_bytes);
		nonzero = nonzero * 2 + !!data[block_bytes - 1];
	}
	expect("there and only there", nonzero == 5);
	range[0] = (struct virtio_blk_discard_write_zeroes){per, per, 0};
	range[1] = (struct virtio_blk_discard_write_zeroes){sectors, per, 0};
	expect("none behind the end", ranges(VIRTIO_BLK_T_WRITE_ZEROES, 2) == VIRTIO_BLK_S_IOERR);
	if (per > 1) {
		range[1] = (struct virtio_blk_discard_write_zeroes){3 * per, 1, 0};
		expect("none of half a block",
			ranges(VIRTIO_BLK_T_WRITE_ZEROES, 2) == VIRTIO_BLK_S_IOERR);
	}
	whole(VIRTIO_BLK_T_IN, per, block_bytes);
	expect("and nothing of such a request", data[0] == 0x77);
	range[0] = (struct virtio_blk_discard_write_zeroes){0, per, 2};
	expect("no flag unheard of", ranges(VIRTIO_BLK_T_WRITE_ZEROES, 1) == VIRTIO_BLK_S_UNSUPP);
	range[0] = (struct virtio_blk_discard_write_zeroes){0, per, 1};
	expect("no unmap flag in a discard",
		ranges(VIRTIO_BLK_T_DISCARD, 1) == VIRTIO_BLK_S_UNSUPP);
	expect("no half range", whole(VIRTIO_BLK_T_DISCARD, 0, 8) == VIRTIO_BLK_S_IOERR);
	range[0] = (struct virtio_blk_discard_write_zeroes){0, 2 * per, 0};
	expect("a discard", ranges(VIRTIO_BLK_T_DISCARD, 1) == VIRTIO_BLK_S_OK);
	features = VERSION_1;
	start();
	range[0] = (struct virtio_blk_discard_write_zeroes){0, per, 0};
	expect("neither without the feature",
		ranges(VIRTIO_BLK_T_WRITE_ZEROES, 1) == VIRTIO_BLK_S_UNSUPP &&
			ranges(VIRTIO_BLK_T_DISCARD, 1) == VIRTIO_BLK_S_UNSUPP);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: negotiation PHYSICAL.KO virtioN\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	take(argv[1], argv[2], "virtio_blk");
	expect("it serves a good request", serves());
	check_features();
	check_status();
	check_queues();
	check_data();
	check_errors();
	check_ranges();
	reg_write(VIRTIO_MMIO_STATUS, 0);
	printf("%u wrong\n", failures);
	return failures != 0;
}
