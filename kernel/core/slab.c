/* SPDX-License-Identifier: MIT */
/*
 * Slab allocator. A cache cuts blocks of pages into objects of one size; each CPU has a magazine of free objects in front
 * of it, so that the common case touches no lock.
 *
 * A free object holds a link and a tag: the tag is a secret mixed with the object's address. Freeing an object that carries
 * its tag is a double free: a panic, not a corruption.
 *
 * Block's struct page: private = the cache, index = objects in use, executable = the block's first page (on all of its
 * pages), cache = its list of free objects.
 */
#include <lichen/boot.h>
#include <lichen/cpu.h>
#include <lichen/list.h>
#include <lichen/page.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>

enum { MAGAZINE = 30, BATCH = 15, CACHES = 64, LARGE = 4096 };

struct free_object {
	struct free_object *next;
	u64 tag;
};

struct magazine {
	u32 count;
	u32 reserved;
	u64 allocations;
	void *objects[MAGAZINE];
};

struct slab_cache {
	const char *name;
	u32 size, order, per_block;
	spinlock_t lock;     /* interrupts masked */
	struct list partial; /* blocks with free objects */
	u64 blocks, in_use;  /* objects that left the blocks, those in magazines too */
	struct magazine *magazines[CPUS_MAX];
};

static struct slab_cache caches[CACHES];
static _Atomic u32 cache_count;
static bool closed; /* the boot is over */
static u64 secret = 0x6c696368656e2121;

static spinlock_t magazine_lock = SPINLOCK_INIT;
static char *magazine_room;
static size_t magazine_left;
static _Atomic u64 large_allocations;

static u64 tag_of(const void *object)
{
	return (u64)object * 0x9e3779b97f4a7c15 ^ secret;
}


static struct free_object *block_list(struct page *block)
{
	return (struct free_object *)block->cache;
}

static void block_set_list(struct page *block, struct free_object *object)
{
	block->cache = (struct page_cache *)object;
}

static bool block_new(struct slab_cache *cache) REQUIRES(cache->lock)
{
	struct page *block = page_alloc(cache->order, 0);
	char *p;

	if (!block)
		return false;
	for (u32 i = 0; i < 1u << cache->order; i++) {
		page_set(&block[i], PAGE_SLAB);
		block[i].executable = block;
		block[i].private = cache;
	}
	p = page_address(block);
	for (u32 i = cache->per_block; i-- > 0;) {
		struct free_object *object = (void *)(p + (size_t)i * cache->size);

		object->next = block_list(block);
		object->tag = tag_of(object);
		block_set_list(block, object);
	}
	block->index = 0;
	list_add(&cache->partial, &block->list);
	cache->blocks++;
	memory_count(MEMORY_SLAB, 1 << cache->order);
	return true;
}

static void block_free(struct slab_cache *cache, struct page *block) REQUIRES(cache->lock)
{
	list_remove(&block->list);
	for (u32 i = 0; i < 1u << cache->order; i++) {
		page_clear(&block[i], PAGE_SLAB);
		block[i].executable = NULL;
		block[i].private = NULL;
	}
	block->cache = NULL;
	cache->blocks--;
	memory_count(MEMORY_SLAB, -(1 << cache->order));
	page_put(block);
}

static struct free_object *take(struct slab_cache *cache) REQUIRES(cache->lock)
{
	struct free_object *object;
	struct page *block;

	if (list_empty(&cache->partial) && !block_new(cache))
		return NULL;
	block = list_first(&cache->partial, struct page, list);
	object = block_list(block);
	block_set_list(block, object->next);
	block->index++;
	cache->in_use++;
	if (!object->next)
		list_remove(&block->list);
	return object;
}

static void give(struct slab_cache *cache, void *p) REQUIRES(cache->lock)
{
	struct free_object *object = p;
	struct page *block = address_page(p)->executable;

	if (!block_list(block))
		list_add(&cache->partial, &block->list);
	object->next = block_list(block);
	block_set_list(block, object);
	cache->in_use--;
	/* One empty block stays, against going back and forth. */
	if (!--block->index && (block->list.next != &cache->partial || block->list.prev != &cache->partial))
		block_free(cache, block);
}

static struct magazine *magazine_new(struct slab_cache *cache, u32 cpu)
{
	struct magazine *m = NULL;

	spin_lock(&magazine_lock);
	if (magazine_left < sizeof(*m)) {
		struct page *page = page_alloc(0, ALLOC_ZERO);

		if (page) {
			magazine_room = page_address(page);
			magazine_left = PAGE_SIZE;
			memory_count(MEMORY_SLAB, 1);
		}
	}
	if (magazine_left >= sizeof(*m)) {
		m = (struct magazine *)magazine_room;
		magazine_room += sizeof(*m);
		magazine_left -= sizeof(*m);
	}
	spin_unlock(&magazine_lock);
	cache->magazines[cpu] = m;
	return m;
}

/* Interrupts masked. */
static struct magazine *my_magazine(struct slab_cache *cache)
{
	u32 cpu = cpu_id();

	return likely(cache->magazines[cpu] != NULL) ? cache->magazines[cpu] : magazine_new(cache, cpu);
}

void *slab_alloc(struct slab_cache *cache)
{
	unsigned long flags = irq_save();
	struct magazine *m = my_magazine(cache);
	struct free_object *object = NULL;

	if (unlikely(!m || !m->count)) {
		spin_lock(&cache->lock);
		while (m && m->count < BATCH && (object = take(cache)))
			m->objects[m->count++] = object;
		if (!m)
			object = take(cache);
		spin_unlock(&cache->lock);
	}
	if (likely(m != NULL)) {
		object = m->count ? m->objects[--m->count] : NULL;
		m->allocations++;
	}
	irq_restore(flags);
	if (unlikely(!object))
		return NULL;
	if (unlikely(object->tag != tag_of(object)))
		panic("slab %s: object %p was written after it was freed", cache->name, (void *)object);
	object->tag = 0;
	return object;
}

void *slab_zalloc(struct slab_cache *cache)
{
	void *object = slab_alloc(cache);

	if (object)
		memset(object, 0, cache->size);
	return object;
}

static void release(struct slab_cache *cache, void *p)
{
	struct free_object *object = p;
	struct magazine *m;
	unsigned long flags;

	if (unlikely(object->tag == tag_of(object)))
		panic("slab %s: object %p freed twice", cache->name, p);
	object->tag = tag_of(object);
	flags = irq_save();
	m = my_magazine(cache);
	if (likely(m && m->count < MAGAZINE)) {
		m->objects[m->count++] = p;
	} else {
		spin_lock(&cache->lock);
		give(cache, p);
		while (m && m->count > MAGAZINE - BATCH)
			give(cache, m->objects[--m->count]);
		spin_unlock(&cache->lock);
	}
	irq_restore(flags);
}

static struct slab_cache *cache_of(const void *object)
{
	struct page *page = address_page(object);

	return page_test(page, PAGE_SLAB) ? page->private : NULL;
}

void slab_free(struct slab_cache *cache, void *object)
{
	if (!object)
		return;
	if (unlikely(cache_of(object) != cache))
		panic("slab %s: %p is not one of its objects", cache->name, object);
	release(cache, object);
}

struct slab_cache *slab_cache_create(const char *name, size_t size, size_t align)
{
	u32 index = atomic_fetch_add(&cache_count, 1);
	struct slab_cache *cache = &caches[index];
	size_t waste;

	if (index >= CACHES || size > 16 * PAGE_SIZE)
		panic("slab %s: no room for another cache", name);
	/* Where it is made at first use, two CPUs make two. */
	if (closed)
		panic("slab %s: made after the boot", name);
	size = align_up(max(size, sizeof(struct free_object)), align ? max(align, (size_t)16) : (size_t)16);
	cache->name = name;
	cache->size = (u32)size;
	/* The smallest block that wastes less than an eighth. */
	for (cache->order = 0; cache->order < 4; cache->order++) {
		waste = (PAGE_SIZE << cache->order) % size;
		if ((PAGE_SIZE << cache->order) >= size && waste * 8 <= PAGE_SIZE << cache->order)
			break;
	}
	cache->per_block = (u32)((PAGE_SIZE << cache->order) / size);
	spin_init(&cache->lock);
	list_init(&cache->partial);
	return cache;
}

void slab_close(void)
{
	closed = true;
}

static const u16 sizes[] = {32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096};
static const char *const size_names[] = {"kmalloc-32", "kmalloc-64", "kmalloc-96", "kmalloc-128", "kmalloc-192",
	"kmalloc-256", "kmalloc-384", "kmalloc-512", "kmalloc-768", "kmalloc-1024", "kmalloc-1536", "kmalloc-2048",
	"kmalloc-3072", "kmalloc-4096"};
static struct slab_cache *size_caches[ARRAY_SIZE(sizes)];
static u8 size_class[LARGE / 32 + 1]; /* by (bytes + 31) / 32 */

void slab_init(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++)
		size_caches[i] = slab_cache_create(size_names[i], sizes[i], 0);
	for (u32 n = 0, i = 0; n <= LARGE / 32; n++) {
		if (n * 32 > sizes[i])
			i++;
		size_class[n] = (u8)i;
	}
}

void *kmalloc(size_t bytes)
{
	struct page *page;
	unsigned order = 0;

	if (likely(bytes <= LARGE))
		return slab_alloc(size_caches[size_class[(bytes + 31) / 32]]);
	while (order < 11 && PAGE_SIZE << order < bytes)
		order++;
	page = page_alloc(order, 0);
	atomic_fetch_add_explicit(&large_allocations, 1, memory_order_relaxed);
	return page ? page_address(page) : NULL;
}

void *kmalloc_reserve(size_t bytes)
{
	void *object = kmalloc(bytes);
	struct page *page;

	if (likely(object) || bytes > PAGE_SIZE)
		return object;
	page = page_alloc(0, ALLOC_NOFAIL_RESERVE);
	return page ? page_address(page) : NULL;
}

void *kzalloc(size_t bytes)
{
	void *object = kmalloc(bytes);

	if (object)
		memset(object, 0, bytes);
	return object;
}

void kfree(void *object)
{
	struct slab_cache *cache;

	if (!object)
		return;
	cache = cache_of(object);
	if (likely(cache != NULL))
		release(cache, object);
	else
		page_put(address_page(object));
}

char *kstrdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = kmalloc(n);

	if (copy)
		memcpy(copy, s, n);
	return copy;
}

size_t slab_info(char *buf, size_t bytes)
{
	size_t n = 0;

	for (u32 i = 0; i < min(cache_count, (u32)CACHES) && n < bytes; i++) {
		struct slab_cache *cache = &caches[i];
		u64 cached = 0;

		for (u32 c = 0; c < cpu_count(); c++)
			if (cache->magazines[c])
				cached += cache->magazines[c]->count;
		n += (size_t)snprintf(buf + n, bytes - n, "%-20s %8llu %8llu %6u\n", cache->name,
			(unsigned long long)(cache->in_use - min(cache->in_use, cached)),
			(unsigned long long)cache->blocks * cache->per_block, cache->size);
	}
	return min(n, bytes);
}

u64 slab_allocations(void)
{
	u64 n = large_allocations;

	for (u32 i = 0; i < min(cache_count, (u32)CACHES); i++)
		for (u32 c = 0; c < cpu_count(); c++)
			if (caches[i].magazines[c])
				n += caches[i].magazines[c]->allocations;
	return n;
}
