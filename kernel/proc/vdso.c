/* SPDX-License-Identifier: MIT */
/* The vDSO's pages: its code as it was built, and the data page, brought up to date when the clock of the day is set. */
#include "proc.h"
#include <arch/clock.h>
#include <arch/vdso.h>

struct vdso vdso;

void vdso_update(void)
{
	static spinlock_t lock = SPINLOCK_INIT;
	struct vdso_data *data;
	unsigned long flags;

	if (!vdso.data)
		return;
	data = page_address(vdso.data);
	flags = spin_lock_irqsave(&lock);
	__atomic_store_n(&data->sequence, data->sequence + 1, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_release);
	data->boot_ticks = clock_boot_ticks();
	data->ns_per_tick_32 = (NSEC_PER_SEC << 32) / clock_frequency();
	data->realtime_offset = time_realtime_offset();
	atomic_thread_fence(memory_order_release);
	__atomic_store_n(&data->sequence, data->sequence + 1, __ATOMIC_RELAXED);
	spin_unlock_irqrestore(&lock, flags);
}

static void vdso_init(void)
{
	size_t bytes = vdso_image_end - vdso_image_start;
	u32 pages = div_round_up(bytes, PAGE_SIZE), order = 0;

	while ((1u << order) < pages)
		order++;
	vdso.data = page_alloc(0, ALLOC_ZERO);
	vdso.code = page_alloc(order, ALLOC_ZERO);
	if (!vdso.data || !vdso.code)
		panic("no memory for the vDSO");
	vdso.code_pages = pages;
	vdso.sigreturn = vdso_sigreturn_offset;
	memcpy(page_address(vdso.code), vdso_image_start, bytes);
	cache_sync_executable(page_address(vdso.code), bytes);
	vdso_update();
}
INITCALL(INIT_LATE, vdso_init);
