/* SPDX-License-Identifier: MIT */
/*
 * The address space of a new program, built while the old one still runs:
 *
 *     stack_top   16 zero bytes | strings of argv, envp, path | AT_RANDOM, AT_PLATFORM | auxv | envp | argv | argc  <- sp
 *     mmap_base   below a gap for the stack's growth: [vvar] [vdso], the interpreter, then mmap downwards
 *     2/3 up      a position independent program and its brk; others where they were linked
 *
 * Every distance is randomised unless personality(2) says no.
 */
#include "exec.h"
#include <linux/auxvec.h>
#include <linux/mman.h>
#include <linux/personality.h>

#define STACK_TOP	(1ull << 48)
#define DYNAMIC_BASE	align_down(STACK_TOP / 3 * 2, PAGE_SIZE)
#define STACK_INITIAL	(132 * 1024ull)
#define STACK_GAP_MIN	(128ull << 20)
#define VMA_MAY_ALL	(VMA_MAY_READ | VMA_MAY_WRITE | VMA_MAY_EXEC)

static bool randomized(void)
{
	return !(current_thread()->process->personality & ADDR_NO_RANDOMIZE);
}

/* A random multiple of the page size below `limit`. */
static u64 random_offset(u64 limit)
{
	u64 value;

	if (!randomized())
		return 0;
	random_bytes(&value, sizeof(value));
	return (value % limit) & PAGE_MASK;
}

static void choose_layout(struct exec *e)
{
	u64 stack = limit_get(RLIMIT_STACK), gap;

	e->stack_top = STACK_TOP - random_offset(1ull << 34);
	gap = (stack > STACK_TOP ? STACK_TOP : stack) + STACK_GUARD + (1ull << 34);
	gap = max_t(u64, gap, STACK_GAP_MIN);
	gap = min_t(u64, gap, STACK_TOP / 6 * 5);
	e->mm->mmap_base = align_down(STACK_TOP - gap - random_offset(1ull << 36), PAGE_SIZE);
}

static u32 load_protection(const struct elf_load *load)
{
	return (load->readable ? PROT_READ : 0) | (load->writable ? PROT_WRITE : 0) | (load->executable ? PROT_EXEC : 0);
}

static u32 load_vma_flags(const struct elf_load *load)
{
	return (load->readable ? VMA_READ : 0) | (load->writable ? VMA_WRITE : 0) | (load->executable ? VMA_EXEC : 0) |
	       VMA_MAY_ALL;
}

static const u8 zeroes[PAGE_SIZE];

/* Maps the segments of one file at `bias`. */
ASYNC(map_image, struct mm *mm; struct file *file; const Elf64_Phdr *headers; u32 count; u64 bias; u32 index; struct elf_load load;
	u64 start; u64 file_end; u64 end; u64 zero;)
{
	ASYNC_BEGIN;
	while (elf_next_load(f->headers, f->count, &f->index, &f->load)) {
		f->start = f->bias + f->load.address;
		f->file_end = f->start + f->load.file_bytes;
		f->end = f->bias + f->load.end;
		if (f->load.file_bytes) {
			AWAIT(mm_map, .mm = f->mm, .file = f->file, .address = f->start,
				.length = align_up(f->load.file_bytes, PAGE_SIZE), .prot = load_protection(&f->load),
				.flags = MAP_PRIVATE | MAP_FIXED, .offset = f->load.offset);
			if (IS_ERR((void *)RESULT))
				ASYNC_RETURN(RESULT);
		}
		f->zero = align_up(f->file_end, PAGE_SIZE);
		if (f->end > f->zero) {
			AWAIT(mm_map_anonymous, .mm = f->mm, .address = f->zero, .length = align_up(f->end, PAGE_SIZE) - f->zero,
				.vma_flags = load_vma_flags(&f->load));
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
		}
		/* The rest of the file's last page is memory, not file. */
		if (f->end > f->file_end && (f->file_end & ~PAGE_MASK) && f->load.writable) {
			AWAIT(mm_access, .mm = f->mm, .address = f->file_end, .buffer = (void *)(uintptr_t)zeroes,
				.n = align_up(f->file_end, PAGE_SIZE) - f->file_end, .write = true);
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
		}
	}
	ASYNC_END;
}

static u64 image_place(struct mm *mm, const struct elf_image *image)
{
	u64 slack = image->alignment > PAGE_SIZE ? image->alignment : 0, at = 0;

	if (!rwlock_try_read(&mm->lock)) /* nobody else knows it */
		return 0;
	at = mm_find_gap(mm, image->high - image->low + slack, 0);
	rwlock_read_unlock(&mm->lock);
	return at ? align_up(at, image->alignment) : 0;
}

/* Where a program's brk area begins; where it goes when it is not fixed. */
static long choose_bias(struct exec *e)
{
	const struct elf_image *image = &e->image;
	struct memory_info memory;
	u64 at;

	/* Never could it have that much: better said now than when it writes. */
	memory_info(&memory);
	if (image->writable_bytes / PAGE_SIZE > memory.total)
		return -ENOMEM;
	if (!image->dynamic)
		return 0;
	if (e->interpreter) {
		at = align_down(DYNAMIC_BASE + random_offset(1ull << 36), image->alignment);
	} else {
		at = image_place(e->mm, image); /* static-pie, or an interpreter run by its name: leaves room for brk */
		if (!at)
			return -ENOMEM;
	}
	e->bias = at - image->low;
	return image->high + e->bias > ELF_USER_END ? -ENOMEM : 0;
}

static void note_program(struct exec *e)
{
	struct mm *mm = e->mm;
	u64 bias = e->bias, brk = align_up(e->image.end_bss + bias, PAGE_SIZE);

	mm->start_code = e->image.start_code + bias;
	mm->end_code = e->image.end_code + bias;
	mm->start_data = e->image.start_data + bias;
	mm->end_data = e->image.end_data + bias;
	if (e->image.dynamic && !e->interpreter)
		brk = DYNAMIC_BASE;
	mm->start_brk = mm->brk = brk + random_offset(1ull << 30);
	mm->executable = e->file;
	file_get(e->file);
}

ASYNC(map_vdso, struct exec *e; u64 at; struct mm *mm;)
{
	ASYNC_BEGIN;
	f->mm = f->e->mm;
	if (!vdso.code || !rwlock_try_read(&f->mm->lock))
		ASYNC_RETURN(0);
	f->at = mm_find_gap(f->mm, (1 + vdso.code_pages) * PAGE_SIZE, 0);
	rwlock_read_unlock(&f->mm->lock);
	if (!f->at)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(mm_map_special, .mm = f->mm, .address = f->at, .page = vdso.data, .pages = 1, .vma_flags = VMA_READ | VMA_MAY_READ,
		.name = "[vvar]");
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(mm_map_special, .mm = f->mm, .address = f->at + PAGE_SIZE, .page = vdso.code, .pages = vdso.code_pages,
		.vma_flags = VMA_READ | VMA_EXEC | VMA_MAY_READ | VMA_MAY_EXEC, .name = "[vdso]");
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->mm->vdso = f->at + PAGE_SIZE;
	ASYNC_END;
}

/* --- the stack --- */

#define AUXV_WORDS (2 * 24)
/* Newer than Debian 12's headers. */
#define AT_RSEQ_FEATURE_SIZE_ 27
#define AT_RSEQ_ALIGN_	      28

/* Pairs that getauxval(3) finds; the order is Linux's. */
static u32 fill_auxv(struct exec *e, u64 *auxv, u64 random, u64 platform, u64 path)
{
	u64 caps[2], *p = auxv;
	const struct cred *c = e->cred;

	arch_hwcaps(caps);
#define PAIR(key, value) (*p++ = (key), *p++ = (value))
	if (e->mm->vdso)
		PAIR(AT_SYSINFO_EHDR, e->mm->vdso);
	PAIR(AT_MINSIGSTKSZ, ARCH_MINIMUM_SIGNAL_STACK);
	PAIR(AT_HWCAP, caps[0]);
	PAIR(AT_PAGESZ, PAGE_SIZE);
	PAIR(AT_CLKTCK, 100);
	PAIR(AT_PHDR, e->image.headers ? e->image.headers + e->bias : 0);
	PAIR(AT_PHENT, sizeof(Elf64_Phdr));
	PAIR(AT_PHNUM, e->image.header_count);
	PAIR(AT_BASE, e->interpreter ? e->interpreter_bias + e->interpreter_image.low : 0);
	PAIR(AT_FLAGS, 0);
	PAIR(AT_ENTRY, e->image.entry + e->bias);
	PAIR(AT_UID, c->uid);
	PAIR(AT_EUID, c->euid);
	PAIR(AT_GID, c->gid);
	PAIR(AT_EGID, c->egid);
	PAIR(AT_SECURE, e->secure);
	PAIR(AT_RANDOM, random);
	PAIR(AT_HWCAP2, caps[1]);
	PAIR(AT_EXECFN, path);
	PAIR(AT_PLATFORM, platform);
	PAIR(AT_RSEQ_FEATURE_SIZE_, 28);
	PAIR(AT_RSEQ_ALIGN_, 32);
	PAIR(AT_NULL, 0);
#undef PAIR
	memcpy(e->mm->auxv, auxv, (p - auxv) * sizeof(u64));
	return p - auxv;
}

static u64 *fill_strings(u64 *to, const char *buffer, u32 *offset, u32 n, u64 base)
{
	while (n--) {
		*to++ = base + *offset;
		*offset += strlen(buffer + *offset) + 1;
	}
	*to++ = 0;
	return to;
}

/*
 * The words from argc to auxv, in a buffer whose tail holds AT_RANDOM's bytes and the platform's name, and then the strings: all
 * that is written to the stack, in one piece, up to stack_top - 16.
 */
static long build_stack(struct exec *e, struct exec_build_mm_frame *f)
{
	static const char platform[16] = ARCH_PLATFORM;
	const struct exec_arguments *args = &e->args;
	u32 fixed = (1 + args->argc + 1 + args->envc + 1 + AUXV_WORDS) * sizeof(u64), offset = 0;
	u64 strings = align_down(e->stack_top - 16 - args->bytes, 16);
	u64 extras = strings - sizeof(e->random) - sizeof(platform), sp, *p;

	sp = align_down(extras - fixed, 16);
	f->bytes = extras - sp;
	f->table = kzalloc(f->bytes);
	if (!f->table)
		return -ENOMEM;
	p = f->table;
	*p++ = args->argc;
	p = fill_strings(p, args->buffer, &offset, args->argc, strings);
	p = fill_strings(p, args->buffer, &offset, args->envc, strings);
	fill_auxv(e, p, extras, extras + sizeof(e->random), strings + args->path_offset);
	random_bytes(e->random, sizeof(e->random));
	e->mm->arg_start = strings;
	e->mm->arg_end = e->mm->env_start = strings + args->env_offset;
	e->mm->env_end = strings + args->path_offset;
	e->mm->start_stack = sp;
	e->stack_pointer = sp;
	memcpy(e->tail, e->random, sizeof(e->random));
	memcpy(e->tail + sizeof(e->random), platform, sizeof(platform));
	f->address = strings;
	return 0;
}

ASYNC_DEFINE(exec_build_mm)
{
	struct exec *e = f->e;

	ASYNC_BEGIN;
	e->mm = mm_create();
	if (!e->mm)
		ASYNC_RETURN(-ENOMEM);
	choose_layout(e);
	f->bytes = align_up(STACK_INITIAL + e->args.bytes + (e->args.argc + e->args.envc) * sizeof(u64), PAGE_SIZE);
	AWAIT(mm_map_anonymous, .mm = e->mm, .address = e->stack_top - f->bytes, .length = f->bytes,
		.vma_flags = VMA_READ | VMA_WRITE | VMA_GROWSDOWN | VMA_MAY_ALL | (e->image.executable_stack ? VMA_EXEC : 0),
		.name = "[stack]");
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(map_vdso, .e = e);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->error = choose_bias(e);
	if (f->error)
		ASYNC_RETURN(f->error);
	AWAIT(map_image, .mm = e->mm, .file = e->file, .headers = e->headers, .count = e->image.header_count, .bias = e->bias);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	note_program(e);
	e->entry = e->image.entry + e->bias;
	if (e->interpreter) {
		if (e->interpreter_image.dynamic) {
			e->interpreter_bias = image_place(e->mm, &e->interpreter_image);
			if (!e->interpreter_bias)
				ASYNC_RETURN(-ENOMEM);
			e->interpreter_bias -= e->interpreter_image.low;
		}
		AWAIT(map_image, .mm = e->mm, .file = e->interpreter, .headers = e->interpreter_headers,
			.count = e->interpreter_image.header_count, .bias = e->interpreter_bias);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		e->entry = e->interpreter_image.entry + e->interpreter_bias;
	}
	f->error = build_stack(e, f);
	if (f->error)
		ASYNC_RETURN(f->error);
	AWAIT(mm_access, .mm = e->mm, .address = e->stack_pointer, .buffer = f->table, .n = f->bytes, .write = true);
	f->error = RESULT == (long)f->bytes ? 0 : RESULT < 0 ? RESULT : -EFAULT;
	kfree(f->table);
	if (f->error)
		ASYNC_RETURN(f->error);
	AWAIT(mm_access, .mm = e->mm, .address = f->address - sizeof(e->tail), .buffer = e->tail, .n = sizeof(e->tail), .write = true);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	AWAIT(mm_access, .mm = e->mm, .address = f->address, .buffer = e->args.buffer, .n = e->args.bytes, .write = true);
	ASYNC_RETURN(RESULT < 0 ? RESULT : 0);
	ASYNC_END;
}
