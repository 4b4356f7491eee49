/* SPDX-License-Identifier: MIT */
/*
 * What kernel/mm/ needs below and beside it, on the host: page tables whose leaf tables hang in a radix tree, and just enough of
 * processes and files for an address space to live. No TLB: an entry is what the test looks at.
 */
#include <lichen/mm.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include "mm.h"

#define TABLE_KEY(address) ((address) >> 21)

long arch_mm_init(struct arch_mm *mm)
{
	mm->root = kzalloc(sizeof(struct radix_tree));
	return mm->root ? 0 : -12;
}

void arch_mm_destroy(struct arch_mm *mm)
{
	struct radix_tree *tables = (struct radix_tree *)mm->root;
	u64 key = 0;
	void *table;

	while ((table = radix_next(tables, &key))) {
		for (int i = 0; i < 512; i++)
			kassert(!((pte_t *)table)[i]); /* everything was zapped */
		radix_remove(tables, key);
		kfree(table);
	}
	kfree(tables);
}

pte_t *pte_find(struct mm *mm, u64 address, bool make)
{
	struct radix_tree *tables = (struct radix_tree *)mm->arch.root;
	pte_t *table = radix_find(tables, TABLE_KEY(address));

	if (!table && make) {
		table = kzalloc(512 * sizeof(pte_t));
		if (!table)
			return NULL;
		if (radix_insert(tables, TABLE_KEY(address), table)) {
			kfree(table);
			return NULL;
		}
	}
	return table ? &table[(address >> 12) & 511] : NULL;
}

pte_t *pte_find_next(struct mm *mm, u64 *address, u64 end)
{
	u64 key = TABLE_KEY(*address);
	pte_t *table = radix_next((struct radix_tree *)mm->arch.root, &key);

	if (!table || key << 21 >= end)
		return NULL;
	*address = max(*address, key << 21);
	return &table[(*address >> 12) & 511];
}

pte_t pte_make_phys(phys_addr_t phys, u32 map_flags)
{
	return phys | PT_VALID | PT_SPECIAL | (map_flags & PTE_MAP_NONE ? 0 : PT_USER) |
	       (map_flags & PTE_MAP_WRITE ? 0 : PT_READ_ONLY) | (map_flags & PTE_MAP_EXEC ? 0 : PT_UXN);
}

pte_t pte_make(const struct page *page, u32 map_flags)
{
	pte_t pte = pte_make_phys(page_phys(page), map_flags);

	return map_flags & PTE_MAP_SPECIAL ? pte : pte & ~PT_SPECIAL;
}

struct page *pte_page(pte_t pte)
{
	return phys_page(pte & PT_ADDRESS);
}

pte_t pte_exchange(struct mm *mm, u64 address, pte_t *entry, pte_t pte)
{
	pte_t old = pte_get(entry);

	pte_set(entry, pte);
	return old;
}

void tlb_flush_page(struct mm *mm, u64 address)
{
}
void tlb_flush_range(struct mm *mm, u64 start, u64 end)
{
}
void tlb_flush_mm(struct mm *mm)
{
}
void arch_mm_switch(struct arch_mm *mm)
{
}
void cache_sync_executable(void *address, size_t bytes)
{
}

void pte_free_tables(struct mm *mm, u64 start, u64 end)
{
	struct radix_tree *tables = (struct radix_tree *)mm->arch.root;
	u64 key = TABLE_KEY(start);
	pte_t *table;

	while ((table = radix_next(tables, &key)) && (key + 1) << 21 <= end) {
		bool used = false;

		for (int i = 0; i < 512; i++)
			used |= table[i] != 0;
		if (!used) {
			radix_remove(tables, key);
			kfree(table);
		}
		key++;
	}
}

/* --- processes --- */

struct mm *shim_user_mm;

u64 limit_get(unsigned resource)
{
	return ~0ull;
}
bool capable(int capability)
{
	return true;
}
bool signal_fatal_pending(struct thread *thread)
{
	return false;
}
struct process *process_next(pid_t after)
{
	return NULL;
}
struct thread *process_thread(struct process *process)
{
	return NULL;
}
struct mm *thread_mm_get(struct thread *thread)
{
	return NULL;
}
void thread_put(struct thread *thread)
{
}
void process_put(struct process *process)
{
}
void process_get(struct process *process)
{
}
long signal_send_process(struct process *process, int signal, const siginfo_t *info)
{
	return 0;
}

/* --- files --- */

ASYNC_DEFINE(file_put)
{
	ASYNC_BEGIN;
	if (!file_put_fast(f->file)) {
		if (f->file->ops->release)
			AWAIT_OP(f->file->ops->release, file_release, .file = f->file);
		kfree(f->file);
	}
	ASYNC_END;
}

struct file *file_anonymous(const char *name, const struct file_ops *ops, void *private, u32 flags)
{
	struct file *file = kzalloc(sizeof(*file));

	if (!file)
		return NULL;
	atomic_init(&file->refcount, 1);
	file->ops = ops;
	file->private = private;
	file->mode = FILE_READ | FILE_WRITE;
	return file;
}

void inode_get(struct inode *inode)
{
	atomic_fetch_add(&inode->refcount, 1);
}
bool inode_get_live(struct inode *inode)
{
	inode_get(inode);
	return true;
}
ASYNC_DEFINE(inode_put)
{
	ASYNC_BEGIN;
	atomic_fetch_sub(&f->inode->refcount, 1);
	ASYNC_END;
}
ASYNC_DEFINE(vfs_shrink)
{
	ASYNC_BEGIN;
	ASYNC_END;
}
void inode_dirty(struct inode *inode)
{
}
void inode_touch(struct inode *inode, u32 times)
{
}

size_t uaccess_copy_from(void *to, const void *from, size_t n);
size_t uaccess_copy_to(void *to, const void *from, size_t n);
size_t uaccess_clear(void *to, size_t n);

/* Memory of the "user" is reached through entries, as far as they permit it. */
static size_t user_copy(u64 user, char *buffer, size_t n, bool write)
{
	while (n) {
		pte_t *entry = pte_find(shim_user_mm, user & PAGE_MASK, false);
		size_t step = min(n, (size_t)(PAGE_SIZE - (user & ~PAGE_MASK)));
		char *page;

		if (!entry || !(write ? pte_writable(*entry) : pte_present(*entry) && pte_readable(*entry)))
			break;
		page = (char *)page_address(pte_page(*entry)) + (user & ~PAGE_MASK);
		if (!write)
			memcpy(buffer, page, step);
		else if (buffer)
			memcpy(page, buffer, step);
		else
			memset(page, 0, step);
		user += step;
		buffer += buffer ? step : 0;
		n -= step;
	}
	return n;
}

size_t uaccess_copy_from(void *to, const void *from, size_t n)
{
	return user_copy((u64)from, to, n, false);
}
size_t uaccess_copy_to(void *to, const void *from, size_t n)
{
	return user_copy((u64)to, (char *)(uintptr_t)from, n, true);
}
size_t uaccess_clear(void *to, size_t n)
{
	return user_copy((u64)to, NULL, n, true);
}

struct uaccess_string {
	u64 copied;
	s64 status;
};
struct uaccess_string uaccess_copy_string(char *to, const char *from, size_t n);

struct uaccess_string uaccess_copy_string(char *to, const char *from, size_t n)
{
	for (u64 i = 0; i < n; i++) {
		if (user_copy((u64)from + i, to + i, 1, false))
			return (struct uaccess_string){i, -1};
		if (!to[i])
			return (struct uaccess_string){i, 1};
	}
	return (struct uaccess_string){n, 0};
}

void memory_info(struct memory_info *info)
{
	*info = (struct memory_info){.total = 1 << 16, .free = 1 << 15, .pool_total = 1 << 16, .pool_free = 1 << 15};
}
