/* SPDX-License-Identifier: MIT */
#include "fs.h"
#include "shim.h"
/* The owner of a new inode is the running thread's: there is none. */
#define inode_init_owner inode_init_owner_of_thread
#include "../../../kernel/fs/inode.c"
#undef inode_init_owner
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/task.h>
#include <stdlib.h>
#include <string.h>

/* --- the disk --- */

static struct list queue = LIST_INIT(queue); /* one for all disks: a request knows its own by `driver` */
static struct wait_queue queued = WAIT_QUEUE_INIT(queued);
static struct memory_disk *disk_of[4096];
static u32 waiting;
static bool running;

static void do_request(struct memory_disk *disk, struct block_request *request)
{
	u64 at = request->sector * BLOCK_SECTOR;
	bool write = request->op == BLOCK_WRITE;

	if (request->op != BLOCK_READ && disk->writes_left != ~0ull && !disk->writes_left) {
		block_request_done(request, -5);
		return;
	}
	if (write && disk->writes_left != ~0ull)
		disk->writes_left--;
	for (u32 i = 0; (write || request->op == BLOCK_READ) && i < request->segment_count; i++) {
		void *memory = phys_address(request->segments[i].address);

		if (write)
			memcpy(disk->data + at, memory, request->segments[i].bytes);
		else
			memcpy(memory, disk->data + at, request->segments[i].bytes);
		at += request->segments[i].bytes;
	}
	block_request_done(request, 0);
}

ASYNC(disk_task, u32 ticket; u32 pause;)
{
	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&queued);
		if (list_empty(&queue)) {
			AWAIT(wait_on, .queue = &queued, .ticket = f->ticket, .uninterruptible = true);
			continue;
		}
		for (f->pause = (u32)rand() % 3; f->pause; f->pause--)
			AWAIT(task_yield);
		if (!list_empty(&queue)) {
			/* Either end. */
			struct list *node = rand() % 2 ? queue.next : queue.prev;
			struct block_request *request = list_entry(node, struct block_request, node);
			struct memory_disk *disk = disk_of[0];

			list_remove(node);
			waiting--;
			do_request(disk, request);
		}
	}
	ASYNC_END;
}

static void disk_submit(struct block_device *device, struct block_request *request)
{
	struct memory_disk *disk = device->driver;

	if (disk->immediate) {
		do_request(disk, request);
		return;
	}
	if (!running) {
		running = true;
		task_spawn("disk", &disk_task_fn, NULL, 0);
	}
	disk_of[0] = disk; /* one at a time */
	waiting++;
	list_add_tail(&queue, &request->node);
	wait_wake_all(&queued);
}

static const struct block_ops disk_ops = {.submit = disk_submit};

void memory_disk_init(struct memory_disk *disk, void *data, size_t bytes)
{
	memset(disk, 0, sizeof(*disk));
	disk->data = data;
	disk->bytes = bytes;
	disk->writes_left = ~0ull;
	disk->block = (struct block_device){
		.name = "mem", .sectors = bytes / BLOCK_SECTOR, .logical_block = 512, .physical_block = 512, .max_segments = 16,
		.max_segment_bytes = 1 << 20, .max_sectors = 1024, .has_flush = true, .ops = &disk_ops, .driver = disk, .dev = 1,
	};
	disk->block.whole = &disk->block;
}

struct wait_queue block_devices_changed = WAIT_QUEUE_INIT(block_devices_changed);

long block_claim(struct block_device *device, void *owner)
{
	void *nobody = NULL;

	return atomic_compare_exchange_strong(&device->exclusive, &nobody, owner) ? 0 : -16;
}

void block_release(struct block_device *device, void *owner)
{
	atomic_compare_exchange_strong(&device->exclusive, &owner, NULL);
}

/* --- mounting --- */

struct filesystem *shim_filesystem;

void filesystem_register(struct filesystem *fs)
{
	shim_filesystem = fs;
}

long superblock_set_root(struct superblock *sb, struct inode *inode)
{
	sb->root = kzalloc(sizeof(*sb->root));
	if (!sb->root)
		return -12;
	sb->root->inode = inode;
	return 0;
}

ASYNC(mount_it, struct superblock *sb;)
{
	ASYNC_BEGIN;
	AWAIT_OP(shim_filesystem->mount, fs_mount, .sb = f->sb);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

long fs_mount(struct memory_disk *disk, bool read_only, struct superblock **sb)
{
	long error;

	*sb = kzalloc(sizeof(**sb));
	(*sb)->fs = shim_filesystem;
	(*sb)->device = &disk->block;
	(*sb)->dev = 1;
	(*sb)->flags = read_only ? MS_RDONLY : 0;
	atomic_init(&(*sb)->mounts, 1);
	list_init(&(*sb)->inodes);
	mutex_init(&(*sb)->rename_mutex);
	error = async_run(mount_it, .sb = *sb);
	if (error) {
		kfree(*sb);
		*sb = NULL;
	}
	return error;
}

ASYNC(unmount_it, struct superblock *sb; long error;)
{
	ASYNC_BEGIN;
	AWAIT(inode_sync_all, .sb = f->sb);
	f->error = RESULT;
	if (shim_filesystem->sync && !(f->sb->flags & MS_RDONLY)) {
		AWAIT_OP(shim_filesystem->sync, fs_sb, .sb = f->sb);
		if (!f->error)
			f->error = RESULT;
	}
	atomic_store(&f->sb->mounts, 0);
	AWAIT(inode_put, .inode = f->sb->root->inode);
	AWAIT(inode_evict_all, .sb = f->sb); /* a leaked reference: the deadline of the test */
	AWAIT_OP(shim_filesystem->unmount, fs_sb, .sb = f->sb);
	ASYNC_RETURN(f->error ? f->error : RESULT);
	ASYNC_END;
}

long fs_unmount(struct superblock *sb)
{
	long error = async_run(unmount_it, .sb = sb);

	kfree(sb->root);
	kfree(sb);
	return error;
}

ASYNC_DEFINE(fs_shrink)
{
	ASYNC_BEGIN;
	AWAIT(inode_shrink, .n = f->n);
	ASYNC_END;
}

/* --- what the page cache and the inode cache call --- */

void mm_unmap_file_range(struct page_cache *cache, u64 start, u64 end, bool only_shared)
{
}
void mm_protect_file_page(struct page_cache *cache, u64 index)
{
}
ASYNC_DEFINE_SHALLOW(page_alloc_wait, sizeof(struct task_yield_frame))
{
	struct page *page;

	ASYNC_BEGIN;
	while (!(page = page_alloc(f->order, f->flags)))
		AWAIT_TRY(task_yield);
	ASYNC_RETURN((long)page);
	ASYNC_END;
}
ASYNC_DEFINE(memory_wait_for)
{
	ASYNC_BEGIN;
	AWAIT(task_yield);
	ASYNC_RETURN(0);
	ASYNC_END;
}
void locks_free(struct inode *inode)
{
}
void notify_free(struct inode *inode)
{
}
void lru_add(struct page *page)
{
}
void lru_add_run(struct page **pages, u32 n)
{
}
void lru_remove(struct page *page)
{
}
void cache_sync_executable(void *address, size_t bytes)
{
}
void memory_info(struct memory_info *info)
{
	*info = (struct memory_info){.total = 16384, .free = 8192, .pool_total = 16384, .pool_free = 8192};
}
/* There are no users: the kernel's buffers alone are read and written. */
size_t copy_from_user(void *to, const void *from, size_t n)
{
	panic("user memory");
}
size_t copy_to_user(void *to, const void *from, size_t n)
{
	panic("user memory");
}
size_t clear_user(void *to, size_t n)
{
	panic("user memory");
}
ASYNC_DEFINE(fault_in)
{
	ASYNC_BEGIN;
	ASYNC_RETURN(-14);
	ASYNC_END;
}
ASYNC_DEFINE(mm_pin_page)
{
	ASYNC_BEGIN;
	ASYNC_RETURN(-14);
	ASYNC_END;
}
long mm_pin_page_fast(struct mm *mm, u64 address, bool write, bool device, struct page **page)
{
	return -14;
}
void inode_init_owner(struct inode *inode, const struct inode *dir, mode_t mode)
{
	inode->mode = mode;
}
bool cred_in_group(const struct cred *cred, gid_t gid)
{
	return true;
}
bool capable(int capability)
{
	return true;
}
void inode_init_special(struct inode *inode, mode_t mode, dev_t rdev)
{
	inode->mode = mode;
	inode->rdev = rdev;
}
void notify_inode(struct inode *inode, u32 mask, const struct name *name, u32 cookie)
{
}
bool signal_fatal_pending(struct thread *thread)
{
	return false;
}
u64 limit_get(unsigned resource)
{
	return ~0ull;
}
long signal_send_thread(struct thread *thread, int signal, const siginfo_t *info)
{
	return 0;
}
bool dir_emit_dots(struct file *file, struct dir_emit *to)
{
	if (to->pos < 2)
		to->pos = 2;
	return true;
}
