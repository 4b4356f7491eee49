/* SPDX-License-Identifier: MIT */
/*
 * Address spaces: areas (VMAs) over files and anonymous memory, demand paging, copy-on-write.
 *
 * Locking: mm->lock (async rwlock) guards the tree of areas: faults read it, mmap and its like write it. mm->table_lock
 * (spinlock) guards page-table entries; it nests inside. A fault takes a reference to the page, then installs
 * the entry under table_lock after checking again.
 */
#ifndef LICHEN_MM_H
#define LICHEN_MM_H

#include <lichen/async.h>
#include <lichen/page.h>
#include <lichen/rbtree.h>
#include <lichen/wait.h>
#include <lichen/pagecache.h>
#include <arch/pagetable.h>

struct file;
struct inode;

enum vma_flag {
	VMA_READ = 1 << 0,
	VMA_WRITE = 1 << 1,
	VMA_EXEC = 1 << 2,
	VMA_SHARED = 1 << 3,
	VMA_MAY_READ = 1 << 4, /* mprotect may grant it */
	VMA_MAY_WRITE = 1 << 5,
	VMA_MAY_EXEC = 1 << 6,
	VMA_GROWSDOWN = 1 << 7, /* a stack */
	VMA_DONTFORK = 1 << 8,
	VMA_WIPEONFORK = 1 << 9,
	VMA_LOCKED = 1 << 10,
	VMA_NORESERVE = 1 << 11,
	VMA_SPECIAL = 1 << 12, /* vdso and the like: not split, not merged */
};

struct vma {
	struct rb_node node; /* in mm->areas, by start */
	u64 start, end;	     /* page aligned */
	u32 flags;
	bool anonymous; /* may hold pages of its own (PAGE_ANON): what fork copies */
	struct mm *mm;
	struct file *file; /* counted; NULL: anonymous */
	struct page_cache *cache; /* whose pages it shows; a file's mmap operation may choose it, else the inode's. NULL: no file */
	u64 offset;	   /* in the file, of `start`, bytes */
	struct list cache_node; /* in cache->areas; start, end and offset change under cache->lock, too */
	const char *name;  /* of a special area: "[stack]", "[heap]", "[vdso]" */
	struct page *special; /* the pages of a special area, contiguous, or NULL */
	u64 device;	   /* physical address of device memory that a file's mmap operation gives (pages are not counted); 0: none */
};

struct mm {
	_Atomic u32 users; /* threads (and others that use the areas): the last one tears it down */
	struct rwlock lock;
	spinlock_t table_lock;
	struct rb_tree areas;
	u32 area_count;
	u32 lock_future; /* VMA_LOCKED: mlockall(MCL_FUTURE) */
	struct vma *_Atomic last_found; /* by a fault; cleared with every change of the tree */
	u64 gap_top, gap_missed; /* all gaps above gap_top are at most gap_missed bytes */
	struct arch_mm arch; /* root table, ASID */
	u64 start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
	u64 arg_start, arg_end, env_start, env_end;
	u64 mmap_base;
	u64 vdso;
	u64 total_pages, data_pages; /* of all areas; private writable ones. mm->lock */
	_Atomic u64 resident_anon, resident_file, resident_shared, table_pages, locked_pages;
	u64 peak_total, peak_resident; /* up to date after mm_note_peak() */
	struct file *executable; /* counted; /proc/pid/exe */
	u64 auxv[2 * 24]; /* /proc/pid/auxv */
	bool dumpable;
	_Atomic u32 membarrier; /* MEMBARRIER_CMD_REGISTER_* bits */
};

struct mm *mm_create(void); /* one user, or NULL */
void mm_get(struct mm *mm);
/* Async because the last one may have dirty shared pages to hand to the page cache and files to close. */
ASYNC_DECLARE(mm_put, struct mm *mm; struct vma *vma; struct file *file; u64 at;);
/* A copy for fork: private pages become copy-on-write in both. The mm in RESULT, or a negative errno. */
ASYNC_DECLARE(mm_fork, struct mm *from; struct mm *to; long error;);
/* Makes the CPU use it (NULL: no user address space): at each change of the task that runs, idle and detached ones too. Interrupts masked or from the executor. */
void mm_activate(struct mm *mm);
/* Pages in memory; brings peak_resident up to date. */
u64 mm_note_peak(struct mm *mm);

/*
 * A fault at `address` (byte) of the running thread's or another's address space.
 * 0: try again. -EFAULT with SEGV_MAPERR, -EACCES: SEGV_ACCERR, -EIO: SIGBUS (BUS_ADRERR beyond the file's end), -ENOMEM.
 */
enum fault_access { FAULT_READ, FAULT_WRITE, FAULT_EXEC };
ASYNC_DECLARE(mm_fault, struct mm *mm; u64 address; u32 access; struct page *page; struct file *file; struct page_cache *cache;
	u64 index; long error; u32 need; u32 tries; u32 starved;);
/* The part that needs no I/O and no waiting: 0, -EAGAIN (AWAIT(mm_fault)), or mm_fault's errors. */
long mm_fault_fast(struct mm *mm, u64 address, enum fault_access access);

/*
 * Maps a file (or NULL) at `address` (0 or a hint, unless MAP_FIXED): the address, or -errno. prot, flags as mmap(2).
 * Takes its own reference to the file.
 */
ASYNC_DECLARE(mm_map, struct mm *mm; struct file *file; u64 address; u64 length; u32 prot; u32 flags; u64 offset;
	u32 vma_flags; u64 result; struct file *shared; struct vma *vma; struct list dead;);
ASYNC_DECLARE(mm_unmap, struct mm *mm; u64 address; u64 length; u64 end; long error; struct list dead;);
/* For exec: an area with no file, at a fixed place that is free, as the stack and bss. 0 or -errno. */
ASYNC_DECLARE(mm_map_anonymous, struct mm *mm; u64 address; u64 length; u32 vma_flags; const char *name;);
/* Contiguous pages of the kernel's that stay forever, as the vdso. */
ASYNC_DECLARE(mm_map_special, struct mm *mm; u64 address; struct page *page; u32 pages; u32 vma_flags; const char *name;);
/* A free place for `length` bytes as mmap would choose it, or 0. mm->lock held. */
u64 mm_find_gap(struct mm *mm, u64 length, u64 hint);
/* The area that holds or follows `address`; mm->lock held. */
struct vma *vma_find(struct mm *mm, u64 address);
struct vma *vma_first(struct mm *mm);
struct vma *vma_next(struct vma *vma);

/*
 * The page at a user address for a device: faulted in, for write if asked, its reference taken; if `device` it lies in the
 * pool afterwards (an anonymous page moves there, once, and stays). 0 and *page, -EFAULT, -ENOMEM.
 * On success the caller drops it with page_put. The fast one never waits: -EAGAIN.
 */
ASYNC_DECLARE(mm_pin_page, struct mm *mm; u64 address; bool write; bool device; struct page **page; u32 tries;);
long mm_pin_page_fast(struct mm *mm, u64 address, bool write, bool device, struct page **page);

/* Bytes that were copied so that a device can reach them, since boot: for tests of hot paths. */
extern _Atomic u64 io_bytes_copied;

/* Reads or writes another address space (ptrace, /proc/pid/mem, cmdline): bytes done, or -errno if none. */
ASYNC_DECLARE(mm_access, struct mm *mm; u64 address; void *buffer; size_t n; bool write; size_t done; struct page *page;);

/* Takes the mappings of file pages [start, end) (page indexes) away from every address space: truncate,
 * reclaim. only_shared: private copies of them stay. */
void mm_unmap_file_range(struct page_cache *cache, u64 start, u64 end, bool only_shared);
/* Makes every mapping of one page read-only: before it is written back, so that a later store is noticed. */
void mm_protect_file_page(struct page_cache *cache, u64 index);

/*
 * A page in any case that memory can be had for: reclaims, waits, kills as a last resort. The page (as long), or -ENOMEM: the task is
 * dying, or it took too long; not if it `must`. Shallow.
 */
ASYNC_DECLARE(page_alloc_wait, u32 order; u32 flags; u32 tries; bool must; u64 written;);
/*
 * After an allocation with these flags, or one of the kernel's own objects that go with it, has failed: until there are pages
 * again, 0, or -ENOMEM. tries: how often the caller was here before.
 */
ASYNC_DECLARE(memory_wait_for, u32 flags; u32 tries;);

#define MMAP_MIN_ADDRESS 0x10000ull
#define STACK_GUARD	 (256 * PAGE_SIZE) /* kept free below an area that grows down */
#define VMA_COUNT_MAX	 65530u

#endif
