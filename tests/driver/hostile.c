// SPDX-License-Identifier: MIT
/*
 * A hostile backend. Started as the driver domain's first program: attaches block devices of its
 * own (slots 3 to 7, 16 MiB of memory), and then becomes /init, while a child serves them:
 * truthfully, but for every tenth request, which is answered with a lie, another one for each
 * device: numbers hostile_first=N (on the command line) and up.
 *
 * What is tested is the other side: the driver must answer each lie with an I/O error or a reset
 * and a line in its log, never with a crash, a hang, or an access outside the pool. One line a lie
 * on Linux's log: "hostile: ...".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "daemon.h"

#define SLOT	   3
#define DEVICES	   5
#define DISK_BYTES (16u << 20)
#define PERIOD	   10
#define LIES	   12

struct hostile {
	struct device device; /* first */
	unsigned int requests;
	unsigned int lie;
};

static struct hostile devices[DEVICES];
static struct vring_chain chain;
static unsigned char *disk;
static int lichen;

/* Copy between the disk and the chain's data; the status to report. */
static unsigned char serve(uint32_t *written)
{
	struct virtio_blk_outhdr header;
	uint64_t at;

	*written = chain.writable_bytes;
	if (chain.segment[0].length < sizeof(header))
		return VIRTIO_BLK_S_IOERR;
	memcpy(&header, chain.segment[0].data, sizeof(header));
	if (header.type == VIRTIO_BLK_T_FLUSH)
		return VIRTIO_BLK_S_OK;
	if (header.type != VIRTIO_BLK_T_IN && header.type != VIRTIO_BLK_T_OUT)
		return VIRTIO_BLK_S_UNSUPP;
	at = header.sector * 512;
	for (unsigned int i = 1; i + 1 < chain.segments; i++) {
		uint32_t n = chain.segment[i].length;

		if (at > DISK_BYTES || n > DISK_BYTES - at)
			return VIRTIO_BLK_S_IOERR;
		if (header.type == VIRTIO_BLK_T_IN)
			memcpy(chain.segment[i].data, disk + at, n);
		else
			memcpy(disk + at, chain.segment[i].data, n);
		at += n;
	}
	return VIRTIO_BLK_S_OK;
}

static void push_raw(struct vring_device *r, uint32_t id, uint32_t length)
{
	volatile struct vring_used_elem *e = &r->used->ring[r->used_next % r->num];

	e->id = id;
	e->len = length;
	r->used_next++;
	__atomic_store_n(&r->used->idx, r->used_next, __ATOMIC_RELEASE);
}

static void lie(struct device *device, unsigned int which)
{
	struct vring_segment *status = &chain.segment[chain.segments - 1];
	struct vring_device *r = &device->queues[0].ring;

	switch (which % LIES) {
	case 0:
		log_info("hostile: a used entry that names a head outside the ring");
		push_raw(r, r->num + 5, 1);
		break;
	case 1:
		log_info("hostile: a used entry that names the largest head");
		push_raw(r, 0xffffffff, 0xffffffff);
		break;
	case 2:
		log_info("hostile: a used entry that names a head that is not in flight");
		push_raw(r, (chain.head + r->num / 2) % r->num, 1);
		break;
	case 3:
		log_info("hostile: the used index jumps");
		__atomic_store_n(&r->used->idx, r->used_next + 1000, __ATOMIC_RELEASE);
		break;
	case 4:
		log_info("hostile: more bytes written than there is room for");
		*(unsigned char *)status->data = VIRTIO_BLK_S_OK;
		push_raw(r, chain.head, 0xfffffff0);
		break;
	case 5:
		log_info("hostile: one request is completed twice");
		*(unsigned char *)status->data = VIRTIO_BLK_S_OK;
		push_raw(r, chain.head, 1);
		push_raw(r, chain.head, 1);
		break;
	case 6:
		log_info("hostile: a status that does not exist");
		*(unsigned char *)status->data = 0xee;
		push_raw(r, chain.head, 1);
		break;
	case 7:
		log_info("hostile: a completion that wrote nothing");
		push_raw(r, chain.head, 0);
		break;
	case 8:
		log_info("hostile: the descriptor table is overwritten");
		for (unsigned int i = 0; i < r->num; i++)
			r->desc[i] =
				(struct vring_desc){0x40000000ull + i, 0xffffffff, 0xffff, 0xffff};
		*(unsigned char *)status->data = VIRTIO_BLK_S_OK;
		push_raw(r, chain.head, 1);
		break;
	case 9:
		log_info("hostile: a thousand spurious signals");
		for (int i = 0; i < 1000; i++)
			ioctl(device->view.fd, BACKEND_SIGNAL, 0);
		*(unsigned char *)status->data = serve(&(uint32_t){0});
		push_raw(r, chain.head, chain.writable_bytes);
		break;
	case 10: {
		struct backend_config config = {.offset = 0, .length = 8};

		log_info("hostile: the disk shrinks to nothing under a request");
		ioctl(device->view.fd, BACKEND_CONFIG, &config);
		*(unsigned char *)status->data = VIRTIO_BLK_S_IOERR;
		push_raw(r, chain.head, 1);
		break;
	}
	case 11:
		log_info("hostile: the event indices are nonsense");
		r->used->ring[r->num].id = 0x7777;
		r->used->flags = 0xffff;
		*(unsigned char *)status->data = serve(&(uint32_t){0});
		push_raw(r, chain.head, chain.writable_bytes);
		break;
	}
	ioctl(device->view.fd, BACKEND_SIGNAL, 0);
}

static void hostile_kick(struct device *device, unsigned int queue)
{
	struct hostile *hostile = (struct hostile *)device;
	uint32_t written;

	while (device_next(device, queue, &chain)) {
		if (++hostile->requests % PERIOD == 0) {
			lie(device, hostile->lie);
			continue;
		}
		written = 0;
		*(unsigned char *)chain.segment[chain.segments - 1].data = serve(&written);
		device_push(device, queue, chain.head, written);
	}
}

static void hostile_start(struct device *device)
{
	struct backend_config config = {.offset = 0, .length = 8};
	uint64_t capacity = DISK_BYTES / 512;

	memcpy(config.bytes, &capacity, sizeof(capacity));
	ioctl(device->view.fd, BACKEND_CONFIG, &config);
}

static void hostile_stop(struct device *device)
{
	log_info("hostile: the driver of slot %u resets its device", device->slot);
}

static const struct device_operations operations = {
	.start = hostile_start,
	.stop = hostile_stop,
	.kick = hostile_kick,
};

static int attach(unsigned int index, unsigned int which)
{
	struct backend_create create = {
		.slot = SLOT + index,
		.device_id = VIRTIO_ID_BLOCK,
		.queues = 1,
		.queue_max = 64,
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
			    1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH,
		.config_length = sizeof(struct virtio_blk_config),
	};
	struct virtio_blk_config config = {.capacity = DISK_BYTES / 512};

	memcpy(create.config, &config, sizeof(config));
	devices[index].lie = which;
	return device_attach(&devices[index].device, lichen, &create, &operations);
}

static void serve_forever(void)
{
	for (;;)
		loop_once(-1);
}

int main(void)
{
	/* What Linux's command line has and Linux does not know is init's environment. */
	const char *first = getenv("hostile_first");
	int module, error;

	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	log_open();
	wait_open();
	loop_open();
	disk = calloc(1, DISK_BYTES);
	module = open("/lib/modules/lichen.ko", O_RDONLY | O_CLOEXEC);
	if (syscall(SYS_finit_module, module, "", 0))
		log_error("hostile: lichen.ko: %s", strerror(errno));
	lichen = wait_device("/dev/lichen", O_RDWR, now_ms() + 3000);
	error = lichen < 0 ? lichen : device_map_pool(lichen);
	for (unsigned int i = 0; !error && i < DEVICES; i++)
		error = attach(i, (first ? atoi(first) : 0) + i);
	if (error)
		log_error("hostile: cannot attach: %s", strerror(-error));
	else if (!fork())
		serve_forever();
	/* The descriptors stay open in the child alone. */
	execl("/init", "/init", NULL);
	return 1;
}
