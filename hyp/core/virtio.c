/* SPDX-License-Identifier: MIT */
/*
 * The devices' state. What the frontend wrote lives here and nowhere else: the register page is only a picture of it, and the
 * device view is the backend's copy.
 *
 *     Status 0 --ACKNOWLEDGE, DRIVER, features--> FEATURES_OK --queues--> DRIVER_OK --+
 *        ^                                                                            | Status = 0
 *        +------- LICHEN_HVC_RESET_DONE of this generation ------- resetting <--------+
 */
#include <string.h>
#include <asm/errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "log.h"
#include "mmu.h"
#include "stage2.h"
#include "trace.h"
#include "virtio.h"

#define VIRTIO_MAGIC  0x74726976
#define VIRTIO_VENDOR 0x4e48434c
#define STATUS_LIVE   VIRTIO_CONFIG_S_DRIVER_OK
#define STATUS_WRITABLE                                                                     \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
		VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)
#define QUEUE_SIZE_MAX 32768
#define CONFIG_SPACE   0x100

struct queue {
	bool ready;
	u8 channel;
	u32 num;
	u64 desc, driver, device;
	struct cpu *completion_cpu; /* NULL: the slot's SPI */
};

struct slot {
	struct spinlock lock;
	struct domain *frontend;
	u32 number;
	struct gic_spi spi;
	u8 *page; /* of registers */
	struct lichen_device_view *view;
	u32 device_id; /* 0: nothing is attached */
	u32 queues, queue_max;
	u64 device_features, driver_features;
	u32 device_features_sel, driver_features_sel, queue_sel;
	u32 status;
	bool resetting;
	u32 generation;
	u32 interrupt_status, config_generation;
	struct queue queue[LICHEN_QUEUES];
};

struct channel {
	struct lichen_doorbells *bells;
	struct gic_spi spi;
};

static struct slot slots[LICHEN_SLOTS];
static u32 slot_count;
static struct channel channels[LICHEN_CHANNELS];
static u32 channel_count;
static struct lichen_control *control;
static struct range window_control, window_bells, window_views, window_pages;
static const struct range_list *shared_pool;

static struct slot *slot_at(u64 index)
{
	return index < slot_count ? &slots[index] : NULL;
}

static u32 count_bits(u64 set)
{
	u32 n = 0;

	for (; set; set &= set - 1)
		n++;
	return n;
}

/* One a CPU of the driver domain, as far as there are. */
static u32 channels_wanted(void)
{
	return MIN(count_bits(driver_domain->config->cpus), LICHEN_CHANNELS);
}

u32 virtio_spis_needed(void)
{
	u32 n = channels_wanted();

	for (u32 i = 0; i < domain_count; i++)
		n += domains[i].config->slots;
	return n;
}

static bool completes_by_sgi(const struct domain *domain)
{
	return gic_version() == 3 && domain->config->signal_sgi;
}

static void reg_write(struct slot *slot, u32 offset, u32 value)
{
	*(volatile u32 *)(slot->page + offset) = value;
}

static struct range alloc_pages(u64 count, void *first)
{
	struct range range = {
		(u64)boot_alloc(MAX(count, 1) * PAGE_SIZE), MAX(count, 1) * PAGE_SIZE};

	*(void **)first = (void *)range.base;
	return range;
}

void virtio_init(const struct range_list *pool)
{
	struct lichen_device_view *views;
	struct lichen_doorbells *bells;
	u8 *pages;
	u32 frontend_cpus = 0;
	bool sgi = false;

	shared_pool = pool;
	for (u32 i = 0; i < domain_count; i++) {
		for (u32 j = 0; j < domains[i].config->slots; j++)
			slots[slot_count++].frontend = &domains[i];
		if (&domains[i] != driver_domain)
			frontend_cpus = MAX(frontend_cpus, count_bits(domains[i].config->cpus));
	}
	channel_count = channels_wanted();
	window_control = alloc_pages(1, &control);
	window_bells = alloc_pages(channel_count, &bells);
	window_views = alloc_pages(slot_count, &views);
	window_pages = alloc_pages(slot_count, &pages);
	mmu_uncache(window_pages.base, window_pages.size);

	for (u32 i = 0; i < slot_count; i++) {
		struct slot *slot = &slots[i];

		slot->number = i;
		slot->spi = gic_spare_take(slot->frontend);
		slot->page = pages + i * PAGE_SIZE;
		slot->view = (void *)((u8 *)views + i * PAGE_SIZE);
		sgi |= completes_by_sgi(slot->frontend);
		reg_write(slot, VIRTIO_MMIO_MAGIC_VALUE, VIRTIO_MAGIC);
		reg_write(slot, VIRTIO_MMIO_VERSION, 2);
		reg_write(slot, VIRTIO_MMIO_VENDOR_ID, VIRTIO_VENDOR);
		reg_write(slot, VIRTIO_MMIO_SHM_LEN_LOW, ~0u); /* no shared memory regions */
		reg_write(slot, VIRTIO_MMIO_SHM_LEN_HIGH, ~0u);
		reg_write(slot, VIRTIO_MMIO_SHM_BASE_LOW, ~0u);
		reg_write(slot, VIRTIO_MMIO_SHM_BASE_HIGH, ~0u);
		reg_write(slot, LICHEN_MMIO_MAGIC, LICHEN_MMIO_MAGIC_VALUE);
		reg_write(slot, LICHEN_MMIO_SLOT, i);
	}
	for (u32 i = 0; i < channel_count; i++) {
		channels[i].bells = (void *)((u8 *)bells + i * PAGE_SIZE);
		channels[i].spi = gic_spare_take(driver_domain);
	}
	*control = (struct lichen_control){
		.magic = LICHEN_CONTROL_MAGIC,
		.version = LICHEN_ABI_VERSION,
		.slots = slot_count,
		.channels = channel_count,
		.completion_sgi = sgi ? GIC_COMPLETION_SGI : ~0u,
		.frontend_cpus = frontend_cpus,
	};
}

void virtio_map(struct domain *domain)
{
	if (domain == driver_domain) {
		stage2_map(domain, window_control.base, window_control.size, S2_SHARED);
		stage2_map(domain, window_bells.base, window_bells.size, S2_SHARED);
		stage2_map(domain, window_views.base, window_views.size, S2_SHARED_RO);
		stage2_map(domain, window_pages.base, window_pages.size, S2_UNCACHED);
		return;
	}
	for (u32 i = 0; i < slot_count; i++)
		if (slots[i].frontend == domain)
			stage2_map(domain, (u64)slots[i].page, PAGE_SIZE, S2_UNCACHED_RO);
}

void virtio_describe_backend(struct dt_backend *backend)
{
	backend->control = window_control;
	backend->doorbells = window_bells;
	backend->views = window_views;
	backend->registers = window_pages;
	backend->channels = channel_count;
	for (u32 i = 0; i < channel_count; i++)
		backend->channel[i] = channels[i].spi.intid;
}

void virtio_describe_frontend(const struct domain *domain, bool all, struct dt_frontend *frontend)
{
	frontend->devices = 0;
	frontend->completion_sgi = completes_by_sgi(domain) ? GIC_COMPLETION_SGI : -1;
	for (u32 i = 0; i < slot_count; i++)
		if (slots[i].frontend == domain && (all || slots[i].device_id))
			frontend->device[frontend->devices++] =
				(struct dt_device){(u64)slots[i].page, slots[i].spi.intid};
}

/* Bits first, then their summary, then the interrupt. */
static inline void post(u64 *word, u64 bits, u64 *summary, u64 summary_bits)
{
	if (word)
		atomic_or_shared(word, bits);
	atomic_or_shared(summary, summary_bits);
}

static inline void pend(const struct gic_spi *spi)
{
	dsb(ishst);
	mmio_write32(spi->pend_address, spi->pend_value);
}

static inline void ring(
	struct channel *channel, u64 *word, u64 bits, u64 *summary, u64 summary_bits)
{
	post(word, bits, summary, summary_bits);
	pend(&channel->spi);
}

static bool backend_lives(void)
{
	return driver_domain->state == DOMAIN_RUNNING;
}

static void post_changed(struct slot *slot)
{
	if (backend_lives())
		ring(&channels[0], NULL, 0, &channels[0].bells->changed, BIT(slot->number));
}

long virtio_post_machine(u64 bits)
{
	if (!backend_lives())
		return -ENODEV;
	ring(&channels[0], NULL, 0, &channels[0].bells->machine, bits);
	return 0;
}

/* A kick while the trace is on. Apart, and called in tail position: the other way has no frame and saves no register. */
static __attribute__((noinline)) bool notify_traced(
	const struct cpu *cpu, const struct slot *slot, u32 queue, struct channel *channel)
{
	u32 key = LICHEN_TRACE_KEY(slot->number, queue, LICHEN_TRACE_NO_HEAD);

	trace_put(cpu, LICHEN_TRACE_EL2_IN, key);
	post(&channel->bells->queues[slot->number], BIT(queue), &channel->bells->kicked,
		BIT(slot->number));
	trace_put(cpu, LICHEN_TRACE_EL2_OUT, key);
	pend(&channel->spi);
	return true;
}

bool virtio_notify(struct cpu *cpu, u64 ipa, u32 value)
{
	u64 index = (ipa - window_pages.base) / PAGE_SIZE;
	struct channel *channel;
	struct slot *slot;

	if (unlikely(index >= slot_count))
		return false;
	slot = &slots[index];
	if (unlikely(slot->frontend != cpu->domain))
		return false;
	cpu_count(cpu, LICHEN_STATS_NOTIFY);
	if (unlikely(value >= LICHEN_QUEUES || !slot->queue[value].ready ||
		     !(slot->status & STATUS_LIVE)))
		return true;
	channel = &channels[slot->queue[value].channel];
	if (trace_enabled())
		return notify_traced(cpu, slot, value, channel);
	ring(channel, &channel->bells->queues[slot->number], BIT(value), &channel->bells->kicked,
		BIT(slot->number));
	return true;
}

bool virtio_acknowledge(struct cpu *cpu, u64 ipa, u32 value)
{
	struct slot *slot = slot_at((ipa - window_pages.base) / PAGE_SIZE);

	if (unlikely(!slot || slot->frontend != cpu->domain))
		return false;
	cpu_count(cpu, LICHEN_STATS_VIRTIO);
	spin_lock(&slot->lock);
	slot->interrupt_status &= ~value;
	reg_write(slot, VIRTIO_MMIO_INTERRUPT_STATUS, slot->interrupt_status);
	spin_unlock(&slot->lock);
	return true;
}

/* The sequence lock of a view: odd while it is written. Bracketed by the slot's lock. */
static void view_begin(struct lichen_device_view *view)
{
	*(volatile u32 *)&view->sequence |= 1;
	dsb(ishst);
}

static void view_end(struct lichen_device_view *view)
{
	dsb(ishst);
	(*(volatile u32 *)&view->sequence)++;
}

/* The value that the backend stores to ICC_SGI1R_EL1 (IHI 0069, 12.2.20). */
static u64 sgi_value(const struct cpu *cpu)
{
	u64 m = cpu->mpidr;

	return (m >> 32 & 0xff) << 48 | (m >> 4 & 0xf) << 44 | (m >> 16 & 0xff) << 32 |
	       (u64)GIC_COMPLETION_SGI << 24 | (m >> 8 & 0xff) << 16 | BIT(m & 0xf);
}

static void view_queue(struct slot *slot, u32 index)
{
	const struct queue *queue = &slot->queue[index];
	struct lichen_queue_view *view = &slot->view->queue[index];

	view->desc = queue->desc;
	view->driver = queue->driver;
	view->device = queue->device;
	view->num = queue->num;
	view->ready = queue->ready;
	view->channel = queue->channel;
	view->complete = queue->completion_cpu ? LICHEN_COMPLETE_SGI : LICHEN_COMPLETE_HVC;
	view->target = queue->completion_cpu ? sgi_value(queue->completion_cpu) : 0;
}

static void view_device(struct slot *slot)
{
	struct lichen_device_view *view = slot->view;

	view_begin(view);
	view->generation = slot->generation;
	view->status = slot->resetting ? 0 : slot->status;
	view->device_id = slot->device_id;
	view->driver_features = slot->driver_features;
	view->queues = slot->queues;
	for (u32 i = 0; i < slot->queues; i++)
		view_queue(slot, i);
	view_end(view);
}

/* The registers that depend on a selector, and Status. */
static void show(struct slot *slot)
{
	bool exists = slot->queue_sel < slot->queues;
	u32 sel = slot->device_features_sel;

	reg_write(
		slot, VIRTIO_MMIO_DEVICE_FEATURES, sel < 2 ? slot->device_features >> 32 * sel : 0);
	reg_write(slot, VIRTIO_MMIO_QUEUE_NUM_MAX, exists ? slot->queue_max : 0);
	reg_write(slot, VIRTIO_MMIO_QUEUE_READY, exists ? slot->queue[slot->queue_sel].ready : 0);
	reg_write(slot, VIRTIO_MMIO_INTERRUPT_STATUS, slot->interrupt_status);
	reg_write(slot, VIRTIO_MMIO_STATUS, slot->status);
}

static void signal(struct slot *slot, u32 bits)
{
	if (bits & LICHEN_SIGNAL_CONFIG)
		reg_write(slot, VIRTIO_MMIO_CONFIG_GENERATION, ++slot->config_generation);
	/* What still completes while a reset is under way concerns no driver any more. */
	if (slot->resetting)
		return;
	slot->interrupt_status |= bits;
	reg_write(slot, VIRTIO_MMIO_INTERRUPT_STATUS, slot->interrupt_status);
	pend(&slot->spi);
}

static void forget_driver(struct slot *slot)
{
	for (u32 i = 0; i < LICHEN_QUEUES; i++) {
		u8 channel = slot->queue[i].channel;

		slot->queue[i] = (struct queue){.channel = channel};
	}
	slot->driver_features = 0;
	slot->device_features_sel = slot->driver_features_sel = slot->queue_sel = 0;
	slot->interrupt_status = 0;
}

/* Status = 0. What the backend never saw alive needs no handshake. */
static void reset(struct slot *slot)
{
	bool live = slot->status & STATUS_LIVE;

	/* Asked for again: nothing has changed since. */
	if (slot->resetting)
		return;
	slot->generation++;
	forget_driver(slot);
	slot->resetting = live && slot->device_id && backend_lives();
	if (!slot->resetting)
		slot->status = 0;
	view_device(slot);
	show(slot);
	if (slot->resetting)
		post_changed(slot);
}

static bool features_ok(const struct slot *slot)
{
	return !(slot->driver_features & ~slot->device_features) &&
	       slot->driver_features & BIT(VIRTIO_F_VERSION_1);
}

static void slot_needs_reset(struct slot *slot)
{
	if (!slot->device_id || slot->resetting || !slot->status)
		return;
	slot->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	view_device(slot);
	show(slot);
	signal(slot, LICHEN_SIGNAL_CONFIG);
}

static void write_status(struct slot *slot, u32 value)
{
	u32 added = value & STATUS_WRITABLE & ~slot->status;

	if (!value) {
		reset(slot);
		return;
	}
	if (slot->resetting || !added)
		return;
	if (added & VIRTIO_CONFIG_S_FEATURES_OK && !features_ok(slot)) {
		log_line("%s: slot %u: features %lx are not a subset of %lx, or lack VERSION_1",
			slot->frontend->config->name, slot->number,
			(unsigned long)slot->driver_features, (unsigned long)slot->device_features);
		added &= ~(VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	}
	if (added & STATUS_LIVE && !((slot->status | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= ~STATUS_LIVE;
	slot->status |= added;
	view_device(slot);
	show(slot);
	if (added & (STATUS_LIVE | VIRTIO_CONFIG_S_FAILED))
		post_changed(slot);
	/* Nobody will ever serve it: virtio_backend_gone came before there was a driver to tell. */
	if (added & STATUS_LIVE && !backend_lives())
		slot_needs_reset(slot);
}

static bool in_shared(const struct slot *slot, u64 base, u64 size, u64 align)
{
	const struct range_list *list =
		slot->frontend->config->share_memory ? slot->frontend->ram : shared_pool;

	return !(base & (align - 1)) && range_list_contains(list, base, size);
}

static void write_ready(struct slot *slot, u32 value)
{
	struct queue *queue = &slot->queue[slot->queue_sel];
	u64 num = queue->num;

	if (value & 1 && !queue->ready) {
		/* virtio 1.2, 2.7: sizes and alignments of the three parts, with the event fields */
		bool ok = num && num <= slot->queue_max && !(num & (num - 1)) &&
			  in_shared(slot, queue->desc, 16 * num, 16) &&
			  in_shared(slot, queue->driver, 6 + 2 * num, 2) &&
			  in_shared(slot, queue->device, 6 + 8 * num, 4);

		if (!ok) {
			domain_complain(slot->frontend,
				"slot %u queue %u: %lu entries at %lx, %lx, %lx are not in shared memory",
				slot->number, slot->queue_sel, (unsigned long)num,
				(unsigned long)queue->desc, (unsigned long)queue->driver,
				(unsigned long)queue->device);
			return;
		}
		queue->ready = true;
	} else if (!(value & 1)) {
		queue->ready = false;
	}
	view_begin(slot->view);
	view_queue(slot, slot->queue_sel);
	view_end(slot->view);
	show(slot);
	if (slot->status & STATUS_LIVE)
		post_changed(slot);
}

static void write_queue_cpu(struct slot *slot, u32 value)
{
	struct cpu *cpu = cpu_find(slot->frontend, value & 0xffffff);

	if (!completes_by_sgi(slot->frontend))
		return;
	if (cpu)
		slot->queue[slot->queue_sel].completion_cpu = cpu;
	else
		domain_complain(slot->frontend, "slot %u: no CPU %x in this domain for completions",
			slot->number, value);
}

static void set_low(u64 *field, u32 value)
{
	*field = (*field & ~0xffffffffull) | value;
}

static void set_high(u64 *field, u32 value)
{
	*field = (*field & 0xffffffff) | (u64)value << 32;
}

/* Registers of the queue that QueueSel selects; they are fixed once it is ready (virtio 1.2, 4.2.2.2). */
static void write_queue(struct slot *slot, u32 offset, u32 value)
{
	struct queue *queue;

	if (slot->queue_sel >= slot->queues)
		return;
	queue = &slot->queue[slot->queue_sel];
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		write_ready(slot, value);
		return;
	}
	if (queue->ready)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		queue->num = MIN(value, QUEUE_SIZE_MAX + 1);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		set_low(&queue->desc, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_high(&queue->desc, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		set_low(&queue->driver, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_high(&queue->driver, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		set_low(&queue->device, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_high(&queue->device, value);
		break;
	case LICHEN_MMIO_QUEUE_CPU:
		write_queue_cpu(slot, value);
		break;
	}
}

static void write_register(struct slot *slot, u32 offset, u32 value)
{
	if (offset == VIRTIO_MMIO_STATUS) {
		write_status(slot, value);
		return;
	}
	if (slot->resetting)
		return;
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		slot->device_features_sel = value;
		show(slot);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		slot->driver_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (slot->status & VIRTIO_CONFIG_S_FEATURES_OK)
			break;
		if (slot->driver_features_sel == 0)
			set_low(&slot->driver_features, value);
		else if (slot->driver_features_sel == 1)
			set_high(&slot->driver_features, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		slot->queue_sel = value;
		show(slot);
		break;
	default: /* the selected queue's; what is none of these, and config space, ignores stores */
		write_queue(slot, offset, value);
	}
}

bool virtio_access(struct cpu *cpu, struct mmio *mmio)
{
	struct domain *domain = cpu->domain;
	struct slot *slot = slot_at((mmio->addr - window_pages.base) / PAGE_SIZE);

	if (!slot || slot->frontend != domain)
		return false;
	mmio->offset = mmio->addr & (PAGE_SIZE - 1);
	if (mmio->write && mmio->size == 4 && mmio->offset == VIRTIO_MMIO_QUEUE_NOTIFY)
		return virtio_notify(cpu, mmio->addr, mmio->value);
	if (mmio->write && mmio->size == 4 && mmio->offset == VIRTIO_MMIO_INTERRUPT_ACK)
		return virtio_acknowledge(cpu, mmio->addr, mmio->value);
	cpu_count(cpu, LICHEN_STATS_VIRTIO);
	if (!mmio->write || mmio->size != 4 || mmio->offset & 3) {
		if (mmio->write && mmio->offset < CONFIG_SPACE)
			domain_complain(domain, "slot %u: a store of %u bytes at %lx is ignored",
				slot->number, mmio->size, (unsigned long)mmio->offset);
		mmio->value = 0;
		return true;
	}
	spin_lock(&slot->lock);
	if (slot->device_id)
		write_register(slot, mmio->offset, mmio->value);
	/* An unmodified driver takes its memory back as soon as the store is over: for it a reset is one step. */
	mmio->again = slot->resetting && mmio->offset == VIRTIO_MMIO_STATUS &&
		      domain->config->share_memory;
	spin_unlock(&slot->lock);
	return true;
}

long virtio_attach(u64 index, u64 device_id, u64 queues, u64 queue_size, u64 features)
{
	struct slot *slot = slot_at(index);
	long err = 0;

	if (!slot || !device_id || device_id > 0xffffffff || !queues ||
		queues > LICHEN_QUEUES)
		return -EINVAL;
	if (!queue_size || queue_size > QUEUE_SIZE_MAX || queue_size & (queue_size - 1))
		return -EINVAL;
	spin_lock(&slot->lock);
	if (slot->device_id) {
		err = -EBUSY;
	} else {
		slot->device_id = device_id;
		slot->queues = queues;
		slot->queue_max = queue_size;
		slot->device_features = features;
		slot->generation++;
		slot->status = 0;
		slot->resetting = false;
		forget_driver(slot);
		view_device(slot);
		show(slot);
		reg_write(slot, VIRTIO_MMIO_DEVICE_ID, device_id);
	}
	spin_unlock(&slot->lock);
	return err;
}

static void slot_detach(struct slot *slot)
{
	slot->device_id = 0;
	slot->generation++;
	slot->status = 0;
	slot->resetting = false;
	forget_driver(slot);
	slot->queues = 0;
	for (u32 i = 0; i < LICHEN_QUEUES; i++)
		slot->queue[i].channel = 0;
	view_device(slot);
	reg_write(slot, VIRTIO_MMIO_DEVICE_ID, 0);
	show(slot);
	signal(slot, LICHEN_SIGNAL_CONFIG);
}

long virtio_detach(u64 index)
{
	struct slot *slot = slot_at(index);

	if (!slot)
		return -EINVAL;
	spin_lock(&slot->lock);
	if (slot->device_id)
		slot_detach(slot);
	spin_unlock(&slot->lock);
	return 0;
}

long virtio_reset_done(u64 index, u64 generation)
{
	struct slot *slot = slot_at(index);

	if (!slot)
		return -EINVAL;
	spin_lock(&slot->lock);
	if (slot->resetting && slot->generation == generation) {
		slot->resetting = false;
		slot->status = 0;
		show(slot);
	}
	spin_unlock(&slot->lock);
	return 0;
}

long virtio_signal(u64 index, u64 bits)
{
	struct slot *slot = slot_at(index);

	if (!slot || bits & ~(u64)(LICHEN_SIGNAL_USED | LICHEN_SIGNAL_CONFIG))
		return -EINVAL;
	spin_lock(&slot->lock);
	if (slot->device_id && bits)
		signal(slot, bits);
	spin_unlock(&slot->lock);
	return 0;
}

long virtio_needs_reset(u64 index)
{
	struct slot *slot = slot_at(index);

	if (!slot)
		return -EINVAL;
	spin_lock(&slot->lock);
	slot_needs_reset(slot);
	spin_unlock(&slot->lock);
	return 0;
}

long virtio_queue_channel(u64 index, u64 queue, u64 channel)
{
	struct slot *slot = slot_at(index);

	if (!slot || queue >= LICHEN_QUEUES || channel >= channel_count)
		return -EINVAL;
	spin_lock(&slot->lock);
	slot->queue[queue].channel = channel;
	if (queue < slot->queues) {
		view_begin(slot->view);
		view_queue(slot, queue);
		view_end(slot->view);
	}
	spin_unlock(&slot->lock);
	return 0;
}

void virtio_backend_gone(void)
{
	for (u32 i = 0; i < slot_count; i++) {
		struct slot *slot = &slots[i];

		spin_lock(&slot->lock);
		if (slot->resetting) {
			slot->resetting = false;
			slot->status = 0;
			show(slot);
		}
		slot_needs_reset(slot);
		spin_unlock(&slot->lock);
	}
}

void virtio_frontend_gone(const struct domain *domain)
{
	for (u32 i = 0; i < slot_count; i++) {
		struct slot *slot = &slots[i];

		if (slot->frontend != domain)
			continue;
		spin_lock(&slot->lock);
		reset(slot);
		spin_unlock(&slot->lock);
	}
}
