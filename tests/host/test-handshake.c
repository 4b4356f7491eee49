/* SPDX-License-Identifier: MIT */
// kernel: none
// sources: virtio/virtqueue.c virtio/coalesce.c driver-domain/module/vring.c
// cflags: -Ivirtio/include -Idriver-domain/module
// sanitize: thread
/*
 * Both ends of one ring, each in a thread, under ThreadSanitizer: both poll now and then with notifications off, arm them,
 * look once more and go to sleep, as channel.c and poll.c do. A notification that is not sent to a sleeper is a
 * wake-up that is lost: then both sleep for ever, and the deadline says so. Every request comes back once.
 */
#include "check.h"
#include "shim/shim.h"
#include <lichen/irq.h>
#include <virtio/virtqueue.h>
#include "vring.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SIZE	 16u
#define REQUESTS 60000u
#define SECONDS	 60 /* that a side may sleep: there is always something in flight */

static sem_t driver_wake, device_wake;
static u32 notify_register;
static struct virtqueue *queue;
static struct vring_device ring;
static u32 taken[SIZE]; /* times that a request of this token came back, less times that it went out */
static u32 completed, driver_sleeps, device_sleeps, driver_polls, device_polls;
static _Atomic bool over;

static void *translate(void *context, uint64_t address, uint32_t length)
{
	(void)context;
	(void)length;
	return phys_address(address);
}

/* xorshift: each side has its own. */
static u32 random_next(u32 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* False: nobody woke us. */
static bool sleep_for(sem_t *semaphore)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += SECONDS;
	while (sem_timedwait(semaphore, &end))
		if (errno != EINTR)
			return false;
	return true;
}

static void pause_for(u32 turns)
{
	while (turns--)
		__asm__ volatile("" : : : "memory");
}

/* --- the device: what channel.c does with one ring --- */

static bool device_serve(u32 *random)
{
	static struct vring_chain chain;
	u32 served = 0;
	int more;

	while ((more = vring_next(&ring, &chain)) > 0) {
		vring_push(&ring, chain.head, 0);
		served++;
		/* Completions one by one, or in batches. */
		if (random_next(random) % 3 == 0 && vring_signal_needed(&ring))
			sem_post(&driver_wake);
	}
	CHECK(more == 0);
	if (served && vring_signal_needed(&ring))
		sem_post(&driver_wake);
	return served;
}

static void *device_run(void *unused)
{
	u32 random = 2463534242u;

	(void)unused;
	while (!atomic_load(&over)) {
		device_serve(&random);
		if (random_next(&random) % 4) {
			bool found = false;

			device_polls++;
			vring_notify_disable(&ring);
			for (u32 turn = random_next(&random) % 200; turn && !found; turn--)
				found = vring_waiting(&ring);
			if (found)
				continue;
		}
		if (vring_notify_enable(&ring))
			continue;
		device_sleeps++;
		if (!sleep_for(&device_wake)) {
			fprintf(stderr, "the device was not woken\n");
			abort();
		}
	}
	return NULL;
}

/* --- the driver: what blk.c and poll.c do --- */

static void driver_take(void)
{
	u32 head, bytes;
	u32 *token;

	spin_lock(&queue->lock);
	do {
		while ((token = virtqueue_take(queue, &head, &bytes))) {
			CHECK(*token == 1);
			*token = 0;
			completed++;
		}
	} while (virtqueue_rearm(queue));
	CHECK(!queue->broken);
	spin_unlock(&queue->lock);
}

static void driver_submit(u32 n)
{
	spin_lock(&queue->lock);
	for (u32 i = 0; n && i < SIZE; i++) {
		if (taken[i] || virtqueue_begin(queue, 1) < 0)
			continue;
		taken[i] = 1;
		virtqueue_put(queue, virtqueue_desc_phys(queue), 16, false);
		virtqueue_end(queue, &taken[i]);
		virtqueue_kick(queue);
		if (notify_register) {
			notify_register = 0;
			sem_post(&device_wake);
		}
		n--;
	}
	spin_unlock(&queue->lock);
}

static void driver_run(void)
{
	u32 random = 88675123u, before;

	while (completed < REQUESTS) {
		driver_submit(queue->in_flight ? random_next(&random) % 3 : 1 + random_next(&random) % 8);
		pause_for(random_next(&random) % 300);
		before = completed;
		if (random_next(&random) % 2) {
			driver_polls++;
			virtqueue_disarm(queue);
			for (u32 turn = random_next(&random) % 200; turn; turn--)
				if (atomic_load_explicit((_Atomic u16 *)&queue->used->idx, memory_order_relaxed) != queue->used_seen)
					break;
		}
		driver_take();
		if (completed != before || !queue->in_flight)
			continue;
		driver_sleeps++;
		if (!sleep_for(&driver_wake)) {
			fprintf(stderr, "the driver was not woken\n");
			abort();
		}
	}
}

static void handshake(bool batched)
{
	pthread_t device;
	u64 features = BIT(VIRTIO_RING_F_EVENT_IDX);

	completed = driver_polls = driver_sleeps = device_polls = device_sleeps = 0;
	atomic_store(&over, false);
	sem_init(&driver_wake, 0, 0);
	sem_init(&device_wake, 0, 0);
	queue = virtqueue_create(0, SIZE, 0, true);
	queue->batched = batched;
	/* So that index 0 is the queue that a notification names: told from no notification. */
	queue->index = 1;
	queue->notify = &notify_register;
	CHECK(!vring_device_start(&ring, SIZE, virtqueue_desc_phys(queue), virtqueue_avail_phys(queue), virtqueue_used_phys(queue),
		features, translate, NULL));
	driver_take();
	CHECK(!pthread_create(&device, NULL, device_run, NULL));
	driver_run();
	atomic_store(&over, true);
	sem_post(&device_wake);
	pthread_join(device, NULL);
	printf("%u requests; driver: %u polls, %u sleeps; device: %u polls, %u sleeps\n", completed, driver_polls, driver_sleeps,
		device_polls, device_sleeps);
	CHECK(driver_sleeps && device_sleeps && driver_polls && device_polls);
	virtqueue_destroy(queue);
}

int main(void)
{
	shim_start(1);
	handshake(false);
	/* With no timer to look after a batch: it never asks for more than is in flight. */
	handshake(true);
	return CHECK_RESULT();
}
