/* SPDX-License-Identifier: MIT */
/* Small kernel objects, from private memory. Never blocks; any context but NMI-like. NULL when memory is out. */
#ifndef LICHEN_SLAB_H
#define LICHEN_SLAB_H

#include <lichen/types.h>

struct slab_cache;
/* For objects of one type; `align` 0 = 16. The name is static. At boot alone, by its one CPU: an init call. */
struct slab_cache *slab_cache_create(const char *name, size_t size, size_t align);
void *slab_alloc(struct slab_cache *cache);
void *slab_zalloc(struct slab_cache *cache);
void slab_free(struct slab_cache *cache, void *object);

void *kmalloc(size_t bytes); /* up to 4 MiB (large ones are whole pages) */
void *kzalloc(size_t bytes);
/* For what lives shortly and lets memory be freed: may use the last reserve. Up to a page. */
void *kmalloc_reserve(size_t bytes);
void kfree(void *object); /* NULL is fine */
char *kstrdup(const char *s);

/* "name active total object-size" lines for /proc/slabinfo; and the sum of allocations since boot, for tests of hot paths. */
size_t slab_info(char *buf, size_t bytes);
u64 slab_allocations(void);

#endif
