/* SPDX-License-Identifier: MIT */
// kernel: none
// sources: virtio/virtqueue.c virtio/coalesce.c
// cflags: -Ivirtio/include
/*
 * The driver's side of a virtqueue against a device that behaves: random requests, direct and indirect, finished in any order, with
 * and without event indexes; every chain must be what was put, every token come back once, and no wish for a notification be lost.
 * And then against devices that lie in each of the ways there are.
 */
#include "check.h"
#include "shim/shim.h"
#include <lichen/cpu.h>
#include <lichen/irq.h>
#include <virtio/virtqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 16u

static u32 notified; /* the register: 0 nothing, else queue index + 1 */

struct request {
	bool out;
	u32 buffers, writes;
	u64 sum;
	u16 head;
};

/* The device's view. */
static struct {
	struct virtqueue *queue;
	u16 seen;
	u16 taken[SIZE];
	u32 count;
} device;

static struct virtqueue *create(u32 indirect, bool events)
{
	struct virtqueue *queue = virtqueue_create(0, SIZE, indirect, events);

	queue->notify = &notified;
	memset(&device, 0, sizeof(device));
	device.queue = queue;
	return queue;
}

/* Walks a chain as a device does: its descriptors' number, sum of addresses, writable bytes. */
static void chain_check(u16 head, const struct request *r)
{
	struct vring_desc *desc = device.queue->desc;
	u32 i = head, n = 0, writes = 0, limit = SIZE;
	u64 sum = 0;

	if (desc[i].flags & VRING_DESC_F_INDIRECT) {
		limit = desc[i].len / sizeof(*desc);
		desc = phys_address(desc[i].addr);
		i = 0;
	}
	for (;;) {
		CHECK(i < limit && n < limit);
		n++;
		sum += desc[i].addr + desc[i].len;
		if (desc[i].flags & VRING_DESC_F_WRITE)
			writes += desc[i].len;
		if (!(desc[i].flags & VRING_DESC_F_NEXT))
			break;
		i = desc[i].next;
	}
	CHECK(n == r->buffers && sum == r->sum && writes == r->writes);
}

/* The device takes what is offered, and finishes at random. */
static void device_run(struct request *requests)
{
	struct virtqueue *queue = device.queue;

	while (device.seen != queue->avail->idx) {
		device.taken[device.count++] = queue->avail->ring[device.seen++ & (SIZE - 1)];
		for (u32 i = 0; i < 64; i++)
			if (requests[i].out && requests[i].head == device.taken[device.count - 1])
				chain_check(requests[i].head, &requests[i]);
	}
	if (queue->event_index)
		*(__virtio16 *)&queue->used->ring[SIZE] = device.seen;
	while (device.count && rand() % 3) {
		u32 i = (u32)rand() % device.count;

		queue->used->ring[queue->used->idx & (SIZE - 1)] = (struct vring_used_elem){device.taken[i], 1};
		queue->used->idx++;
		device.taken[i] = device.taken[--device.count];
	}
}

static void test_random(u32 indirect, bool events)
{
	static struct request requests[64];
	struct virtqueue *queue = create(indirect, events);
	u32 out = 0, head, bytes;

	memset(requests, 0, sizeof(requests));
	queue->stopped = false;
	for (u32 step = 0; step < 20000; step++) {
		struct request *r = &requests[rand() % 64], *done;

		spin_lock(&queue->lock);
		if (rand() % 2 && !r->out) {
			u32 n = 1 + (u32)rand() % (indirect ? indirect : 6);
			long at = virtqueue_begin(queue, n);

			CHECK(at >= 0 || at == -28);
			if (at >= 0) {
				*r = (struct request){.out = true, .buffers = n, .head = (u16)at};
				for (u32 i = 0; i < n; i++) {
					phys_addr_t address = (u64)rand();
					u32 length = 1 + (u32)rand() % 1000;
					bool write = i >= n / 2;

					virtqueue_put(queue, address, length, write);
					r->sum += address + length;
					r->writes += write ? length : 0;
				}
				virtqueue_end(queue, r);
				out++;
			} else {
				CHECK(out > 0);
			}
			notified = 99;
			virtqueue_kick(queue);
			/* A device that has seen all wants to know of the next. */
			if (events && at >= 0 && *(__virtio16 *)&queue->used->ring[SIZE] == (u16)(queue->available - 1))
				CHECK(notified == 0);
		} else {
			device_run(requests);
			while ((done = virtqueue_take(queue, &head, &bytes))) {
				CHECK(done->out && done->head == head && bytes == 1);
				done->out = false;
				out--;
			}
			CHECK(!queue->broken && queue->in_flight == out);
			CHECK(!virtqueue_rearm(queue));
		}
		spin_unlock(&queue->lock);
	}
	/* A reset gives every token back, once. */
	spin_lock(&queue->lock);
	for (struct request *r; (r = virtqueue_detach(queue)); out--) {
		CHECK(r->out);
		r->out = false;
	}
	CHECK(!out && queue->free_count == SIZE);
	virtqueue_reset(queue);
	CHECK(virtqueue_begin(queue, 1) >= 0);
	spin_unlock(&queue->lock);
	virtqueue_destroy(queue);
}

/* One request of 100 writable bytes is in flight; then the device says this. */
static void test_lie(u16 idx, u32 id, u32 length, bool right)
{
	struct virtqueue *queue = create(0, true);
	u32 head, bytes;
	int token;
	void *taken;

	spin_lock(&queue->lock);
	CHECK(virtqueue_begin(queue, 2) == 0);
	virtqueue_put(queue, 4096, 10, false);
	virtqueue_put(queue, 8192, 100, true);
	virtqueue_end(queue, &token);
	queue->used->ring[0] = (struct vring_used_elem){id, length};
	queue->used->idx = idx;
	taken = virtqueue_take(queue, &head, &bytes);
	CHECK(right ? taken == &token && !queue->broken : !taken && queue->broken);
	CHECK(right || virtqueue_begin(queue, 1) == -5);
	CHECK(right || !virtqueue_rearm(queue));
	/* What was in flight can still be failed. */
	CHECK(virtqueue_detach(queue) == (right ? NULL : &token));
	spin_unlock(&queue->lock);
	virtqueue_destroy(queue);
}

static void test_limits(void)
{
	struct virtqueue *queue = create(0, false);

	spin_lock(&queue->lock);
	CHECK(virtqueue_begin(queue, 0) == -22 && virtqueue_begin(queue, SIZE + 1) == -22);
	for (u32 i = 0; i < SIZE; i++) {
		CHECK(virtqueue_begin(queue, 1) >= 0);
		virtqueue_put(queue, 4096, 1, true);
		virtqueue_end(queue, queue);
	}
	CHECK(virtqueue_begin(queue, 1) == -28);
	notified = 99;
	virtqueue_kick(queue);
	CHECK(notified == 0);
	queue->used->flags = VRING_USED_F_NO_NOTIFY;
	notified = 99;
	virtqueue_kick(queue);
	CHECK(notified == 99);
	queue->stopped = true;
	CHECK(virtqueue_begin(queue, 1) == -11);
	spin_unlock(&queue->lock);
	virtqueue_destroy(queue);
}

static u32 interrupts;

static void count_interrupt(struct virtqueue *queue)
{
	interrupts++;
}

static u16 asked(struct virtqueue *queue)
{
	return *(__virtio16 *)&queue->avail->ring[SIZE];
}

static void submit(struct virtqueue *queue, u32 n) REQUIRES(queue->lock)
{
	while (n--) {
		CHECK(virtqueue_begin(queue, 1) >= 0);
		virtqueue_put(queue, 4096, 1, true);
		virtqueue_end(queue, queue);
		virtqueue_kick(queue);
	}
}

static void finish(struct virtqueue *queue, u32 n) REQUIRES(queue->lock)
{
	u32 head, bytes;

	for (u32 i = 0; i < n; i++) {
		queue->used->ring[queue->used->idx & (SIZE - 1)] =
			(struct vring_used_elem){queue->avail->ring[queue->used->idx & (SIZE - 1)], 1};
		queue->used->idx++;
	}
	for (u32 i = 0; i < n; i++)
		CHECK(virtqueue_take(queue, &head, &bytes));
	CHECK(!virtqueue_rearm(queue));
}

/* Where the next interrupt is asked for. */
static void test_batches(void)
{
	struct virtqueue *queue = create(0, true);

	queue->interrupt = count_interrupt;
	spin_lock(&queue->lock);
	/* Not for a queue whose buffers wait for what may never come. */
	for (u32 i = 0; i < 20; i++) {
		submit(queue, SIZE);
		CHECK(asked(queue) == queue->used_seen);
		finish(queue, SIZE);
	}
	queue->batched = true;
	/* At any pace, few are reported at once. */
	for (u32 i = 0; i < 100; i++) {
		submit(queue, VIRTQUEUE_BATCH_DEPTH - 1);
		CHECK(asked(queue) == queue->used_seen);
		finish(queue, VIRTQUEUE_BATCH_DEPTH - 1);
	}
	CHECK(!timer_pending(&queue->batch_timer));
	/* A fast device and a full ring: half of it. */
	for (u32 i = 0; i < 20; i++) {
		submit(queue, SIZE);
		finish(queue, SIZE);
	}
	submit(queue, 1);
	CHECK(asked(queue) == queue->used_seen); /* alone: at once */
	submit(queue, 3);
	CHECK(asked(queue) == (u16)(queue->used_seen + 3)); /* all there are */
	submit(queue, SIZE - 4);
	CHECK(asked(queue) == (u16)(queue->used_seen + SIZE / 2 - 1));
	finish(queue, SIZE - 2);
	CHECK(asked(queue) == (u16)(queue->used_seen + 1)); /* no more than are in flight */
	/* What does not come is looked for. */
	CHECK(timer_pending(&queue->batch_timer));
	spin_unlock(&queue->lock);
	interrupts = 0;
	shim_clock_advance(NSEC_PER_SEC);
	async_run(task_yield);
	CHECK(interrupts == 1 && !timer_pending(&queue->batch_timer));
	spin_lock(&queue->lock);
	CHECK(!virtqueue_rearm(queue) && asked(queue) == queue->used_seen);
	finish(queue, 2);
	/* A device that takes a millisecond for each is not waited for. */
	for (u32 i = 0; i < 6; i++) {
		submit(queue, SIZE);
		shim_clock_advance(1000000 * SIZE);
		finish(queue, SIZE);
	}
	submit(queue, SIZE);
	CHECK(asked(queue) == queue->used_seen);
	finish(queue, SIZE);
	spin_unlock(&queue->lock);
	virtqueue_destroy(queue);
}

/*
 * All of it, with the test's clock: tasks that read one after the other, a CPU that makes a request in `work`, and a device that takes
 * `latency` for each, finishes one every `service` at most, and stands still for the last `stall` of every `every`.
 */
#define RING 64u

struct model {
	nsec_t work, latency, service, every, stall;
};

static struct {
	struct virtqueue *queue;
	u32 ready, interrupts, taken;
	u16 finished;
	nsec_t cpu_done; /* 0: idle */
	nsec_t when[RING], last; /* the device finishes the request at this place of the available ring; and the last one */
	nsec_t held, held_most;	 /* completions that were there, and not taken */
} whole;

static void whole_interrupt(struct virtqueue *queue)
{
	static struct task running;
	struct cpu *cpu = this_cpu();
	nsec_t held;
	u32 head, bytes;

	spin_lock(&queue->lock);
	do {
		while (virtqueue_take(queue, &head, &bytes)) {
			held = time_monotonic() - whole.when[(u16)(queue->used_seen - 1) % RING];
			whole.held += held;
			whole.held_most = max(whole.held_most, held);
			whole.ready++;
			whole.taken++;
		}
		/* One of them runs. */
		atomic_store(&cpu->queue.count, whole.ready - !!whole.cpu_done);
		cpu->current = whole.cpu_done ? &running : NULL;
	} while (virtqueue_rearm(queue));
	atomic_store(&cpu->queue.count, 0);
	cpu->current = NULL;
	spin_unlock(&queue->lock);
}

static void whole_submit(const struct model *model)
{
	struct virtqueue *queue = whole.queue;
	nsec_t when = max(time_monotonic() + model->latency, whole.last + model->service);

	if (model->every && when % model->every > model->every - model->stall)
		when += model->every - when % model->every;
	whole.last = whole.when[queue->available % RING] = when;
	spin_lock(&queue->lock);
	submit(queue, 1);
	spin_unlock(&queue->lock);
}

static void whole_finish(void)
{
	struct virtqueue *queue = whole.queue;
	u16 at = queue->used->idx;

	queue->used->ring[at % RING] = (struct vring_used_elem){queue->avail->ring[at % RING], 1};
	queue->used->idx = (u16)(at + 1);
	whole.finished++;
	if (vring_need_event(*(__virtio16 *)&queue->avail->ring[RING], (u16)(at + 1), at)) {
		whole.interrupts++;
		whole_interrupt(queue);
	}
}

/* Interrupts a request, in thousandths; a timer's count, too. */
static u32 whole_run(const char *name, const struct model *model, u32 requests)
{
	struct virtqueue *queue = whole.queue;

	whole.interrupts = whole.taken = 0;
	whole.held = whole.held_most = 0;
	while (whole.taken < requests) {
		nsec_t now = time_monotonic(), next = ~(nsec_t)0, device = next, timer = next;

		if (!whole.cpu_done && whole.ready)
			whole.cpu_done = now + model->work;
		if (whole.finished != queue->available)
			device = whole.when[whole.finished % RING];
		if (timer_pending(&queue->batch_timer))
			timer = queue->batch_timer.deadline;
		next = min(min(device, timer), whole.cpu_done ? whole.cpu_done : next);
		/* Else something was lost. */
		CHECK(next != ~(nsec_t)0);
		if (next == ~(nsec_t)0)
			return ~0u;
		if (next > now)
			shim_clock_advance(next - now);
		if (next == device) {
			whole_finish();
		} else if (next == timer) {
			whole.interrupts++;
			timer_interrupt();
		} else {
			whole.ready--;
			whole.cpu_done = 0;
			whole_submit(model);
		}
	}
	printf("%s: %u interrupts of %u requests; held back %u ns, at most %u\n", name,
		whole.interrupts, whole.taken, (u32)(whole.held / whole.taken),
		(u32)whole.held_most);
	return whole.interrupts * 1000 / whole.taken;
}

#define DELAY_NS 400000 /* what a completion may be held back: coalesce.c */

static void test_whole(void)
{
	struct model model = {.work = 4400, .latency = 40000};
	struct virtqueue *queue = virtqueue_create(0, RING, 0, true);

	shim_clock_stop();
	queue->notify = &notified;
	queue->interrupt = whole_interrupt;
	queue->batched = true;
	whole.queue = queue;
	whole.ready = 32;
	/* The CPU is what is slow: some task always waits for it, and nobody needs an interrupt soon. */
	CHECK(whole_run("busy CPU", &model, 10000) <= 70);
	/* Pauses, which do not make the device slow: a long one takes a look of the timer, and an interrupt for what comes first. */
	model.every = 700000;
	model.stall = 300000;
	CHECK(whole_run("pauses", &model, 10000) <= 90 && whole.held_most <= DELAY_NS);
	model.every = 1500000;
	model.stall = 800000;
	CHECK(whole_run("long pauses", &model, 10000) <= 90 && whole.held_most <= DELAY_NS);
	model = (struct model){.work = 1000, .latency = 10000, .service = 5000};
	CHECK(whole_run("busy device", &model, 10000) <= 90 && whole.held / whole.taken <= 50000);
	/* A slow device is soon found out: then nobody waits for others'. */
	model.latency = model.service = 100000;
	whole_run("slows down", &model, 100);
	CHECK(whole.held_most <= DELAY_NS && whole.held / whole.taken <= 50000);
	whole_run("slow", &model, 1000);
	CHECK(!whole.held);
	model.latency = model.service = 3000000;
	whole_run("very slow", &model, 1000);
	CHECK(!whole.held);
	model.latency = model.service = 4000;
	whole_run("fast again", &model, 200);
	CHECK(whole_run("fast", &model, 10000) <= 90);
	virtqueue_destroy(queue);
}

int main(void)
{
	size_t before;

	shim_start(1);
	before = shim_allocated();
	for (u32 i = 0; i < 3; i++) {
		test_random(0, i & 1);
		test_random(20, i & 1);
	}
	test_lie(1, 0, 100, true);
	test_lie(1, 0, 101, false);
	test_lie(1, 1, 1, false); /* no head */
	test_lie(1, 2, 1, false); /* free */
	test_lie(1, SIZE, 1, false);
	test_lie(1, ~0u, 1, false);
	test_lie(2, 0, 1, false); /* more than are in flight */
	test_lie(0xffff, 0, 1, false);
	test_limits();
	test_batches();
	test_whole();
	CHECK(shim_allocated() == before);
	return CHECK_RESULT();
}
