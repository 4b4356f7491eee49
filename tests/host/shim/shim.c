/* SPDX-License-Identifier: MIT */
/* See shim.h. */
#include "shim.h"
#include <lichen/cpu.h>
#include <lichen/debug.h>
#include <lichen/executor.h>
#include <lichen/page.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* --- CPUs --- */

__thread struct cpu *shim_cpu;
static u32 count = 1;
static pthread_t threads[CPUS_MAX];
static _Atomic bool stopping;

u32 cpu_count(void)
{
	return count;
}

u32 cpu_id(void)
{
	return shim_cpu ? shim_cpu->id : 0;
}

unsigned long irq_save(void)
{
	return 0;
}

void irq_restore(unsigned long flags)
{
}

static _Atomic nsec_t clock_ahead, clock_stopped; /* 0: it runs */

void shim_clock_advance(nsec_t ns)
{
	atomic_fetch_add(&clock_ahead, ns);
}

static nsec_t host_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (nsec_t)t.tv_sec * NSEC_PER_SEC + (nsec_t)t.tv_nsec;
}

void shim_clock_stop(void)
{
	atomic_store(&clock_stopped, host_clock());
}

nsec_t time_monotonic(void)
{
	nsec_t stopped = atomic_load(&clock_stopped);

	return (stopped ? stopped : host_clock()) + atomic_load(&clock_ahead);
}

nsec_t time_realtime(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (nsec_t)t.tv_sec * NSEC_PER_SEC + (nsec_t)t.tv_nsec;
}

static __thread nsec_t armed;

void clock_arch_arm(nsec_t deadline)
{
	armed = deadline;
}

static void poll_clock(void)
{
	if (armed && time_monotonic() >= armed)
		timer_interrupt();
}

void cpu_arch_kick(u32 cpu)
{
	struct cpu_arch *arch = &cpus[cpu].arch;

	pthread_mutex_lock(&arch->lock);
	arch->kicked = true;
	pthread_cond_signal(&arch->wake);
	pthread_mutex_unlock(&arch->lock);
}

static void show_all_and_abort(void)
{
	fflush(stdout);
	fprintf(stderr, "shim: deadlock: no task can run and no timer is armed\n");
	debug_show_tasks();
	abort();
}

void cpu_arch_idle(void)
{
	struct cpu_arch *arch = &shim_cpu->arch;
	struct timespec until;

	poll_clock();
	pthread_mutex_lock(&arch->lock);
	if (!arch->kicked && !atomic_load(&shim_cpu->queue.count) && !atomic_load(&stopping)) {
		if (!armed && count == 1)
			show_all_and_abort();
		clock_gettime(CLOCK_REALTIME, &until);
		nsec_t wait = 50 * 1000 * 1000;
		if (armed) {
			nsec_t now = time_monotonic();
			wait = armed > now ? min(wait, armed - now) : 0;
		}
		wait += (nsec_t)until.tv_nsec;
		until.tv_sec += (time_t)(wait / NSEC_PER_SEC);
		until.tv_nsec = (long)(wait % NSEC_PER_SEC);
		pthread_cond_timedwait(&arch->wake, &arch->lock, &until);
	}
	arch->kicked = false;
	pthread_mutex_unlock(&arch->lock);
	poll_clock();
}

void cpu_arch_stop_others(void)
{
}

void cpu_arch_halt(void)
{
	abort();
}

static void *cpu_main(void *arg)
{
	shim_cpu = arg;
	executor_online();
	while (!atomic_load(&stopping)) {
		poll_clock();
		executor_poll();
	}
	return NULL;
}

void shim_start(unsigned n)
{
	count = n;
	for (u32 i = 0; i < n; i++) {
		cpus[i].id = i;
		pthread_mutex_init(&cpus[i].arch.lock, NULL);
		pthread_cond_init(&cpus[i].arch.wake, NULL);
	}
	shim_cpu = &cpus[0];
	cpus_ready = true;
	executor_online();
	for (u32 i = 1; i < n; i++)
		pthread_create(&threads[i], NULL, cpu_main, &cpus[i]);
}

void shim_stop(void)
{
	atomic_store(&stopping, true);
	for (u32 i = 1; i < count; i++)
		cpu_arch_kick(i);
	for (u32 i = 1; i < count; i++)
		pthread_join(threads[i], NULL);
}

/* --- threads of processes: there are none here --- */

void executor_enter_thread(struct task *task)
{
}
void executor_leave_thread(struct task *task, enum executor_verdict why)
{
}
enum executor_verdict executor_run_thread(struct task *task)
{
	abort();
}
void executor_end_thread(struct task *task)
{
}
void executor_charge(struct task *task, nsec_t ns)
{
	task->runtime_system += ns;
}
void executor_arch_leave_thread(void)
{
}
bool debug_arch_readable(const void *p, size_t bytes)
{
	return p;
}
bool debug_arch_constant(const void *p, size_t bytes)
{
	return p;
}
const char *debug_thread_name(struct task *task)
{
	return "thread";
}
void debug_arch_backtrace(const void *frame_pointer)
{
}
bool log_panic_begin(void)
{
	return true;
}

struct runner {
	const struct async_fn *fn;
	const void *args;
	size_t args_size;
	long result;
	_Atomic bool done;
};

struct run_args {
	struct runner *runner;
};

ASYNC(run, struct runner *runner; bool called;)
{
	if (!f->called) {
		struct async_frame *callee = async_prepare(self, f->runner->fn, f->runner->args, f->runner->args_size);

		if (!callee)
			abort();
		callee->caller = &f->async;
		f->called = true;
		f->async.resume = __LINE__;
		if (f->runner->fn->step(self, callee) == PENDING)
			return PENDING;
	}
	f->runner->result = RESULT;
	atomic_store(&f->runner->done, true);
	cpu_arch_kick(0);
	ASYNC_RETURN(0);
}

long shim_run(const struct async_fn *fn, const void *args, size_t args_size)
{
	struct runner runner = {.fn = fn, .args = args, .args_size = args_size};

	if (!task_spawn(fn->name, &run_fn, &(struct run_args){&runner}, sizeof(struct run_args)))
		return -12;
	while (!atomic_load(&runner.done)) {
		poll_clock();
		executor_poll();
	}
	return runner.result;
}

/* --- memory --- */

static _Atomic size_t allocated;
static _Atomic unsigned fail_every, calls;

size_t shim_allocated(void)
{
	return atomic_load(&allocated);
}

void shim_fail_allocations(unsigned every)
{
	atomic_store(&fail_every, every);
}

static bool fails(void)
{
	unsigned every = atomic_load(&fail_every);

	return every && atomic_fetch_add(&calls, 1) % every == every - 1;
}

void *kmalloc(size_t bytes)
{
	void *p = fails() ? NULL : aligned_alloc(16, align_up(max(bytes, (size_t)1), (size_t)16));

	if (p)
		atomic_fetch_add(&allocated, 1);
	return p;
}

void *kmalloc_reserve(size_t bytes)
{
	return kmalloc(bytes);
}

void *kzalloc(size_t bytes)
{
	void *p = kmalloc(bytes);

	if (p)
		memset(p, 0, bytes);
	return p;
}

void kfree(void *object)
{
	if (object)
		atomic_fetch_sub(&allocated, 1);
	free(object);
}

char *kstrdup(const char *s)
{
	char *copy = kmalloc(strlen(s) + 1);

	if (copy)
		strcpy(copy, s);
	return copy;
}

struct slab_cache {
	size_t size;
};

struct slab_cache *slab_cache_create(const char *name, size_t size, size_t align)
{
	struct slab_cache *cache = malloc(sizeof(*cache));

	cache->size = size;
	return cache;
}

void *slab_alloc(struct slab_cache *cache)
{
	return kmalloc(cache->size);
}

void *slab_zalloc(struct slab_cache *cache)
{
	return kzalloc(cache->size);
}

void slab_free(struct slab_cache *cache, void *object)
{
	kfree(object);
}

u64 slab_allocations(void)
{
	return 0;
}

/* Pages: an arena with an array of struct page beside it, blocks first fit. Plenty for a test, and never fast. */
enum { ARENA_PAGES = 1 << 16 };
static char *arena;
static struct page *arena_pages;
static pthread_mutex_t arena_lock = PTHREAD_MUTEX_INITIALIZER;
static u32 arena_hint;

static void arena_init(void)
{
	arena = mmap(NULL, ARENA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	arena_pages = mmap(NULL, ARENA_PAGES * sizeof(struct page), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED || arena_pages == MAP_FAILED)
		abort();
}

struct page *page_alloc(unsigned order, unsigned flags)
{
	u32 n = 1u << order, run = 0;
	struct page *page = NULL;

	if (fails())
		return NULL;
	pthread_mutex_lock(&arena_lock);
	if (!arena)
		arena_init();
	for (u32 pass = 0; pass < 2 && !page; pass++) {
		for (u32 i = pass ? 0 : align_up(arena_hint, n); i < ARENA_PAGES; i++) {
			run = (i & (n - 1)) == 0 ? 0 : run;
			run = page_test(&arena_pages[i], PAGE_RESERVED) ? ARENA_PAGES * 2 : run + 1;
			if (run == n) {
				page = &arena_pages[i + 1 - n];
				break;
			}
		}
	}
	if (page) {
		arena_hint = (u32)(page - arena_pages) + n;
		memset(page, 0, n * sizeof(*page));
		for (u32 i = 0; i < n; i++)
			page_set(&page[i], PAGE_RESERVED); /* taken, here */
		page->order = order;
		list_init(&page->list);
		atomic_store(&page->refcount, 1);
		atomic_fetch_add(&allocated, 1);
	}
	pthread_mutex_unlock(&arena_lock);
	for (u32 i = 0; page && i < n && (!pool_is_separate() || flags & ALLOC_POOL); i++)
		page_set(&page[i], PAGE_POOL);
	if (page)
		memset(page_address(page), flags & ALLOC_ZERO ? 0 : 0xa5, PAGE_SIZE << order);
	return page;
}

u32 page_alloc_run(struct page **pages, u32 n, unsigned flags)
{
	u32 taken = 0;

	while (taken < n && (pages[taken] = page_alloc(0, flags)))
		taken++;
	return taken;
}

void page_put_run(struct page **pages, u32 n)
{
	for (u32 i = 0; i < n; i++)
		page_put(pages[i]);
}

void page_get(struct page *page)
{
	atomic_fetch_add(&page->refcount, 1);
}

void page_put(struct page *page)
{
	u32 before = atomic_fetch_sub(&page->refcount, 1);

	kassert(before);
	if (before > 1)
		return;
	pthread_mutex_lock(&arena_lock);
	memset(page_address(page), 0x5a, PAGE_SIZE << page->order);
	for (u32 i = 0, n = 1u << page->order; i < n; i++)
		atomic_store(&page[i].flags, 0);
	atomic_fetch_sub(&allocated, 1);
	pthread_mutex_unlock(&arena_lock);
}

void *page_address(const struct page *page)
{
	return arena + (size_t)(page - arena_pages) * PAGE_SIZE;
}

struct page *address_page(const void *address)
{
	return &arena_pages[(size_t)((const char *)address - arena) / PAGE_SIZE];
}

phys_addr_t page_phys(const struct page *page)
{
	return (phys_addr_t)(page - arena_pages + 1) * PAGE_SIZE;
}

struct page *phys_page(phys_addr_t phys)
{
	return phys / PAGE_SIZE - 1 < ARENA_PAGES ? &arena_pages[phys / PAGE_SIZE - 1] : NULL;
}

void *phys_address(phys_addr_t phys)
{
	return arena + phys - PAGE_SIZE;
}

phys_addr_t address_phys(const void *address)
{
	return (phys_addr_t)((const char *)address - arena) + PAGE_SIZE;
}

static bool separate;

bool pool_is_separate(void)
{
	return separate;
}

void shim_pool_separate(bool yes)
{
	separate = yes;
}

void memory_count(enum memory_counter counter, s64 delta)
{
}
void page_reserve_frames(s64 bytes)
{
}

/* Memory that ran out by shim_fail_allocations() is there the next time. kernel/mm/reclaim.c has the real one. */
#pragma weak memory_wait_fn
#pragma weak memory_wait_step
ASYNC_DEFINE_SHALLOW(memory_wait, sizeof(struct task_yield_frame))
{
	ASYNC_BEGIN;
	AWAIT_TRY(task_yield);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

void page_set_reclaim(void (*kick)(void))
{
}

/* --- the rest --- */

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

bool log_limit_pass(struct log_limit *limit)
{
	return true;
}

void panic(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "panic: ");
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

void random_bytes(void *buf, size_t n)
{
	static _Atomic u64 state = 88172645463325252ull;

	for (size_t i = 0; i < n; i++)
		((u8 *)buf)[i] = (u8)(atomic_fetch_add(&state, 0x9e3779b97f4a7c15ull) >> 32);
}

/* lichen/tracing.h (not included: most tests know nothing of virtio): the trace is off. */
bool trace_on;

void trace_put(u32 stage, u32 key, const struct task *task, u64 value)
{
}

struct virtqueue;
void virtqueue_trace_notify(const struct virtqueue *queue);
void virtqueue_trace_notify(const struct virtqueue *queue)
{
}
