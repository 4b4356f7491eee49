/* SPDX-License-Identifier: MIT */
// kernel: mm/radix.c mm/vma.c mm/mm.c mm/map.c mm/zap.c mm/fault.c mm/shmem.c mm/pin.c mm/reclaim.c mm/oom.c mm/writeback.c mm/truncate.c mm/pagecache.c mm/pagecache_read.c mm/pagecache_write.c mm/uaccess.c mm/kiov.c
// sources: tests/host/shim/mm.c
// cflags: -Ikernel/arch/arm64/include -Itests/host/shim -D_SYS_SELECT_H=1 -D__itimerspec_defined=1 -D__timeval_defined=1 -D_BITS_TIMEX_H=1
/*
 * Address spaces against a naive model: random mappings of anonymous memory and of a file, changes of rights, moves, stores,
 * forks, writeback and reclaim, in a window of some pages; after each step every page must read as the model says, and the areas
 * must be those that Linux's rules give.
 */
#include "check.h"
#include "shim/shim.h"
#include "shim/mm.h"
#include "../../kernel/mm/sys_mprotect.c"
#include "../../kernel/mm/sys_mremap.c"
#include <lichen/slab.h>
#include <stdlib.h>
#include <string.h>

#define BASE	    0x10000000000ull
#define PAGES	    96u
#define FILE_PAGES  40u
#define SPACES	    3u

/* A page of the model. A private page of a file follows the file until it is stored to. */
struct model_page {
	bool mapped, shared, of_file, copied;
	u32 prot;
	u64 file_page, value;
};

struct space {
	struct mm *mm; /* NULL: unused */
	struct model_page page[PAGES];
};

static struct space spaces[SPACES];
static u64 file_value[FILE_PAGES];
static u64 disk[FILE_PAGES]; /* the first word of each page, as written back */
static u64 next_value = 1;

/* --- the file --- */

static struct inode inode;
static struct file *file;

ASYNC(disk_read, PAGE_CACHE_READ_ARGS u32 i;)
{
	ASYNC_BEGIN;
	if (rand() % 2)
		AWAIT(task_yield);
	for (f->i = 0; f->i < f->count; f->i++) {
		memset(page_address(f->pages[f->i]), 0, PAGE_SIZE);
		if (f->index + f->i < FILE_PAGES)
			*(u64 *)page_address(f->pages[f->i]) = disk[f->index + f->i];
		page_filled(f->pages[f->i]);
	}
	ASYNC_END;
}

ASYNC(disk_write, PAGE_CACHE_WRITE_ARGS u32 i;)
{
	ASYNC_BEGIN;
	if (rand() % 2)
		AWAIT(task_yield);
	for (f->i = 0; f->i < f->count; f->i++) {
		CHECK(page_test(f->pages[f->i], PAGE_WRITEBACK) && f->pages[f->i]->index == f->index + f->i);
		disk[f->index + f->i] = *(u64 *)page_address(f->pages[f->i]);
	}
	ASYNC_END;
}

static u64 prepared;

ASYNC(disk_prepare, PAGE_CACHE_PREPARE_ARGS)
{
	ASYNC_BEGIN;
	prepared++;
	if (rand() % 2)
		AWAIT(task_yield);
	ASYNC_END;
}

static const struct page_cache_ops cache_ops = {.read = &disk_read_fn, .write = &disk_write_fn, .prepare = &disk_prepare_fn};

static long file_mmap(struct file *opened, struct vma *vma)
{
	vma->cache = &inode.cache;
	return 0;
}
static const struct file_ops ops = {.mmap = file_mmap};

/* --- looking --- */

static u64 expected(const struct model_page *p)
{
	return p->of_file && (p->shared || !p->copied) ? file_value[p->file_page] : p->value;
}

/* Reads or stores the first word of a page as user mode would. */
static long touch(struct mm *mm, u64 address, bool write, u64 *value)
{
	for (int tries = 0; tries < 1000; tries++) {
		pte_t *entry = pte_find(mm, address, false);
		long error;

		if (entry && (write ? pte_writable(*entry) : pte_present(*entry) && pte_readable(*entry))) {
			u64 *word = page_address(pte_page(*entry));

			if (write)
				*word = *value;
			else
				*value = *word;
			return 0;
		}
		error = mm_fault_fast(mm, address, write ? FAULT_WRITE : FAULT_READ);
		if (error == -EAGAIN)
			error = async_run(mm_fault, .mm = mm, .address = address, .access = write ? FAULT_WRITE : FAULT_READ);
		if (error)
			return error;
	}
	CHECK(!"a fault that never ends");
	return -EIO;
}

static void check_page(struct space *s, u32 i)
{
	struct model_page *p = &s->page[i];
	u64 value = 0;
	long error = touch(s->mm, BASE + i * PAGE_SIZE, false, &value);

	if (!p->mapped)
		CHECK(error == -EFAULT);
	else if (!p->prot)
		CHECK(error == -EACCES);
	else
		CHECK(!error && value == expected(p));
	if (check_failures)
		fprintf(stderr, "page %u: error %ld, value %llu, expected %llu; shared %d of_file %d copied %d prot %u, separate %d\n", i, error,
			(unsigned long long)value, (unsigned long long)expected(p), p->shared, p->of_file, p->copied, p->prot, pool_is_separate());
}

static bool same_area(const struct model_page *a, const struct model_page *b)
{
	return a->mapped && b->mapped && a->shared == b->shared && a->of_file == b->of_file && a->prot == b->prot &&
	       (!a->of_file || a->file_page + 1 == b->file_page);
}

static void check_areas(struct space *s)
{
	u64 pages = 0, end = 0;
	u32 count = 0;

	for (struct vma *vma = vma_first(s->mm); vma; vma = vma_next(vma)) {
		u32 first = (u32)((vma->start - BASE) / PAGE_SIZE);

		CHECK(vma->start >= end && vma->end > vma->start && vma->mm == s->mm);
		for (u32 i = first; i < first + vma_pages(vma); i++) {
			struct model_page *p = &s->page[i];

			CHECK(p->mapped && (vma->flags & (VMA_READ | VMA_WRITE | VMA_EXEC)) == prot_to_flags(p->prot));
			CHECK(!vma->file == !p->of_file && (!p->of_file || vma_index(vma, BASE + i * PAGE_SIZE) == p->file_page));
			CHECK(i == first || same_area(p - 1, p));
		}
		pages += vma_pages(vma);
		end = vma->end;
		count++;
	}
	for (u32 i = 0; i < PAGES; i++)
		pages -= s->page[i].mapped;
	CHECK(!pages && count == s->mm->area_count);
}

/* Nothing that could be one area is two (but for pieces that mprotect met one by one: those merge with a later change). */
static u32 fragments(struct space *s)
{
	u32 n = 0;

	for (struct vma *vma = vma_first(s->mm); vma; vma = vma_next(vma)) {
		u32 i = (u32)((vma->start - BASE) / PAGE_SIZE);

		n += i && same_area(&s->page[i - 1], &s->page[i]);
	}
	return n;
}

/* --- steps --- */

static struct space *some_space(void)
{
	struct space *s;

	do
		s = &spaces[rand() % SPACES];
	while (!s->mm);
	return s;
}

static u32 random_prot(void)
{
	static const u32 prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};

	return prots[rand() % ARRAY_SIZE(prots)];
}

static void step_map(struct space *s, u32 at, u32 n)
{
	bool of_file = rand() % 2, shared = of_file && rand() % 2;
	u32 prot = random_prot(), offset = (u32)rand() % FILE_PAGES;
	long result;

	if (of_file)
		n = min(n, FILE_PAGES - offset);
	result = async_run(mm_map, .mm = s->mm, .file = of_file ? file : NULL, .address = BASE + at * PAGE_SIZE,
		.length = n * PAGE_SIZE - (u64)rand() % 100, .prot = prot,
		.flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE), .offset = of_file ? offset * PAGE_SIZE : 0);
	CHECK(result == (long)(BASE + at * PAGE_SIZE));
	for (u32 i = 0; i < n; i++)
		s->page[at + i] = (struct model_page){.mapped = true, .shared = shared, .of_file = of_file, .prot = prot, .file_page = offset + i};
}

static void step_unmap(struct space *s, u32 at, u32 n)
{
	CHECK(!async_run(mm_unmap, .mm = s->mm, .address = BASE + at * PAGE_SIZE, .length = n * PAGE_SIZE));
	for (u32 i = 0; i < n; i++)
		s->page[at + i] = (struct model_page){0};
}

static void step_protect(struct space *s, u32 at, u32 n)
{
	u32 prot = random_prot();
	long error = protect(s->mm, BASE + at * PAGE_SIZE, BASE + (at + n) * PAGE_SIZE, prot);

	for (u32 i = 0; i < n; i++) {
		if (!s->page[at + i].mapped) {
			CHECK(error == -ENOMEM);
			return;
		}
		s->page[at + i].prot = prot;
	}
	CHECK(!error);
}

static void step_move(struct space *s, u32 at, u32 n)
{
	u32 new_n = 1 + (u32)rand() % 8, to = (u32)rand() % (PAGES - new_n + 1);
	struct list dead = LIST_INIT(dead);
	struct remap r = {.mm = s->mm, .old = BASE + at * PAGE_SIZE, .old_bytes = n * PAGE_SIZE, .new_bytes = new_n * PAGE_SIZE,
		.flags = MREMAP_FIXED | MREMAP_MAYMOVE, .to = BASE + to * PAGE_SIZE, .dead = &dead};
	struct model_page old[PAGES];
	long result;
	u32 i;

	for (i = 1; i < n; i++)
		if (!same_area(&s->page[at + i - 1], &s->page[at + i]))
			return;
	if (!s->page[at].mapped || fragments(s) || (to < at + n && at < to + new_n))
		return;
	if (s->page[at].of_file && s->page[at].file_page + new_n > FILE_PAGES)
		return;
	memcpy(old, s->page, sizeof(old));
	result = remap(&r);
	async_run(vma_bury, .dead = &dead);
	CHECK(result == (long)(BASE + to * PAGE_SIZE));
	for (i = 0; i < n; i++)
		s->page[at + i] = (struct model_page){0};
	for (i = 0; i < new_n; i++) {
		s->page[to + i] = i < n ? old[at + i] : old[at];
		if (i >= n)
			s->page[to + i].copied = false, s->page[to + i].value = 0;
		s->page[to + i].file_page = old[at].of_file ? old[at].file_page + i : old[at].file_page;
	}
}

static void step_store(struct space *s, u32 at)
{
	struct model_page *p = &s->page[at];
	u64 value = next_value++;
	long error = touch(s->mm, BASE + at * PAGE_SIZE, true, &value);

	if (!p->mapped)
		CHECK(error == -EFAULT);
	else if (!(p->prot & PROT_WRITE))
		CHECK(error == -EACCES);
	else {
		CHECK(!error);
		if (p->shared) {
			file_value[p->file_page] = value;
		} else {
			p->copied = true;
			p->value = value;
		}
	}
}

static void step_drop(struct space *s, u32 at, u32 n)
{
	zap_range(s->mm, BASE + at * PAGE_SIZE, BASE + (at + n) * PAGE_SIZE, true);
	for (u32 i = 0; i < n; i++) {
		s->page[at + i].copied = false;
		s->page[at + i].value = 0;
	}
}

static void step_fork(void)
{
	struct space *from = some_space(), *to = &spaces[rand() % SPACES];
	long result;

	if (to == from)
		return;
	if (to->mm)
		async_run(mm_put, .mm = to->mm);
	result = async_run(mm_fork, .from = from->mm);
	CHECK(!IS_ERR((void *)result));
	*to = *from;
	to->mm = (struct mm *)result;
}

static void step_file_write(void)
{
	u64 page = (u64)rand() % FILE_PAGES, value = next_value++;
	struct kiov from;

	kiov_init_kernel(&from, &value, sizeof(value));
	CHECK(async_run(page_cache_write, .cache = &inode.cache, .from = &from, .pos = page * PAGE_SIZE) == sizeof(value));
	file_value[page] = value;
}

static void step_file_read(void)
{
	u64 page = (u64)rand() % FILE_PAGES, n = 1 + (u64)rand() % (FILE_PAGES - page);
	char *buffer = malloc(n * PAGE_SIZE);
	struct kiov to;

	kiov_init_kernel(&to, buffer, n * PAGE_SIZE);
	CHECK(async_run(page_cache_read, .cache = &inode.cache, .to = &to, .pos = page * PAGE_SIZE) == (long)(n * PAGE_SIZE));
	for (u64 i = 0; i < n; i++)
		CHECK(*(u64 *)(buffer + i * PAGE_SIZE) == file_value[page + i]);
	free(buffer);
}

static void step_writeback(void)
{
	CHECK(!async_run(page_cache_sync, .cache = &inode.cache, .start = 0, .end = ~0ull));
	CHECK(!inode.cache.dirty);
	for (u32 i = 0; i < FILE_PAGES; i++)
		CHECK(disk[i] == file_value[i]);
	if (rand() % 2)
		async_run(page_cache_drop, .cache = &inode.cache, .start = 0, .end = ~0ull);
}

static void step_pin(struct space *s, u32 at)
{
	struct model_page *p = &s->page[at];
	struct page *page = NULL;
	bool write = rand() % 2;
	long error = async_run(mm_pin_page, .mm = s->mm, .address = BASE + at * PAGE_SIZE, .write = write, .device = true, .page = &page);

	if (error) {
		CHECK(!p->mapped || !p->prot || (write && !(p->prot & PROT_WRITE)));
		return;
	}
	CHECK(p->mapped && p->prot && page_test(page, PAGE_POOL));
	CHECK(*(u64 *)page_address(page) == expected(p));
	if (write && !p->shared) {
		p->value = expected(p);
		p->copied = true;
	}
	page_put(page);
}

static u32 step(void)
{
	u32 kind = (u32)rand() % 20;
	struct space *s = some_space();
	u32 at = (u32)rand() % PAGES, n = 1 + (u32)rand() % min(PAGES - at, 12u);

	switch (kind) {
	case 0:
	case 1:
	case 2:
		step_map(s, at, n);
		break;
	case 3:
		step_unmap(s, at, n);
		break;
	case 4:
	case 5:
	case 6:
		step_protect(s, at, n);
		break;
	case 7:
	case 8:
		step_move(s, at, n);
		break;
	case 9:
		step_drop(s, at, n);
		break;
	case 10:
		if (rand() % 4 == 0)
			step_fork();
		break;
	case 11:
		step_file_write();
		break;
	case 12:
		step_file_read();
		break;
	case 13:
		step_writeback();
		break;
	case 14:
	case 15:
		step_pin(s, at);
		break;
	default:
		step_store(s, at);
	}
	return kind;
}

static void run(u32 steps)
{
	memset(spaces, 0, sizeof(spaces));
	spaces[0].mm = mm_create();
	for (u32 i = 0; i < steps && !check_failures; i++) {
		u32 kind = step();

		for (u32 j = 0; j < SPACES; j++)
			if (spaces[j].mm)
				check_areas(&spaces[j]);
		if (check_failures)
			fprintf(stderr, "at step %u, of kind %u\n", i, kind);
		if (i % 8 == 0) {
			struct space *s = some_space();

			check_areas(s);
			for (u32 p = 0; p < PAGES; p++)
				check_page(s, p);
		}
	}
	for (u32 i = 0; i < SPACES; i++) {
		if (!spaces[i].mm)
			continue;
		check_areas(&spaces[i]);
		CHECK(!async_run(mm_put, .mm = spaces[i].mm));
		spaces[i].mm = NULL;
	}
	CHECK(list_empty(&inode.cache.areas) && inode.cache.writable_maps == 0);
}

int main(int argc, char **argv)
{
	size_t before;

	shim_start(1);
	for (const struct initcall *i = shim_initcalls_start; i < shim_initcalls_end; i++)
		if (i->level == INIT_CORE)
			i->call();
	page_cache_init(&inode.cache, &inode, &cache_ops);
	inode.size = FILE_PAGES * PAGE_SIZE;
	atomic_init(&inode.refcount, 1);
	before = shim_allocated();
	file = file_anonymous("test", &ops, NULL, 0);
	file->inode = &inode;
	for (int round = 0; round < 2; round++) {
		shim_pool_separate(round == 1);
		srand(argc > 1 ? (unsigned)atoi(argv[1]) : 7u + (unsigned)round);
		run(6000);
		CHECK(prepared > 0);
		async_run(page_cache_destroy, .cache = &inode.cache);
		CHECK(inode.cache.count == 0);
		memcpy(file_value, disk, sizeof(disk));
	}
	CHECK(atomic_load(&file->refcount) == 1);
	async_run(file_put, .file = file);
	CHECK(shim_allocated() == before);
	return CHECK_RESULT();
}
