/* SPDX-License-Identifier: MIT */
/* Checks ELF headers before anything is done with them. A file that passes can be mapped without arithmetic that overflows. */
#include "elf.h"
#ifdef LICHEN_HOST_BUILD
#include <string.h>
#else
#include <lichen/string.h>
#endif

#define NOT_EXECUTABLE (-8) /* ENOEXEC */

long elf_check_header(const Elf64_Ehdr *header, u32 *bytes)
{
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_ident[EI_CLASS] != ELFCLASS64 ||
		header->e_ident[EI_DATA] != ELFDATA2LSB)
		return NOT_EXECUTABLE;
	if (header->e_machine != EM_AARCH64 || (header->e_type != ET_EXEC && header->e_type != ET_DYN))
		return NOT_EXECUTABLE;
	if (header->e_phentsize != sizeof(Elf64_Phdr) || !header->e_phnum ||
		header->e_phnum > ELF_HEADERS_MAX / sizeof(Elf64_Phdr))
		return NOT_EXECUTABLE;
	*bytes = header->e_phnum * (u32)sizeof(Elf64_Phdr);
	if (header->e_phoff > INT64_MAX - *bytes)
		return NOT_EXECUTABLE;
	return 0;
}

/* One that can be mapped: in user memory, congruent with the file, after the one before. */
static bool load_is_good(const Elf64_Phdr *p, u64 after)
{
	if (p->p_filesz > p->p_memsz || p->p_vaddr >= ELF_USER_END || p->p_memsz > ELF_USER_END - p->p_vaddr)
		return false;
	if (p->p_offset > INT64_MAX - PAGE_SIZE || p->p_filesz > INT64_MAX - PAGE_SIZE - p->p_offset)
		return false;
	if ((p->p_vaddr - p->p_offset) & (PAGE_SIZE - 1))
		return false;
	if (p->p_align & (p->p_align - 1))
		return false;
	return p->p_vaddr >= after;
}

static void image_add(struct elf_image *image, const Elf64_Phdr *p, const Elf64_Ehdr *header)
{
	u64 start = p->p_vaddr, file_end = start + p->p_filesz, end = start + p->p_memsz;

	if (image->low == image->high)
		image->low = align_down(start, PAGE_SIZE);
	image->high = align_up(end, PAGE_SIZE);
	if (p->p_align > image->alignment && p->p_align < ELF_USER_END)
		image->alignment = p->p_align;
	if (header->e_phoff >= p->p_offset &&
		header->e_phoff + header->e_phnum * sizeof(*p) <= p->p_offset + p->p_filesz)
		image->headers = header->e_phoff - p->p_offset + start;
	if (p->p_flags & PF_X) {
		if (!image->start_code)
			image->start_code = start;
		if (file_end > image->end_code)
			image->end_code = file_end;
	}
	if (!(p->p_flags & PF_X) || (p->p_flags & PF_W)) {
		image->start_data = start;
		image->end_data = file_end;
	}
	image->end_bss = end;
	if (p->p_flags & PF_W || p->p_memsz > p->p_filesz)
		image->writable_bytes += p->p_memsz;
}

long elf_parse(const Elf64_Ehdr *header, const Elf64_Phdr *headers, struct elf_image *image)
{
	u64 after = 0;

	memset(image, 0, sizeof(*image));
	image->dynamic = header->e_type == ET_DYN;
	image->entry = header->e_entry;
	image->header_count = header->e_phnum;
	image->alignment = PAGE_SIZE;
	for (u32 i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *p = &headers[i];

		if (p->p_type == PT_INTERP && !image->interpreter_bytes) {
			if (p->p_filesz < 2 || p->p_filesz > ELF_PATH_MAX || p->p_offset > (u64)INT64_MAX - ELF_PATH_MAX)
				return NOT_EXECUTABLE;
			image->interpreter_offset = p->p_offset;
			image->interpreter_bytes = p->p_filesz;
		} else if (p->p_type == PT_GNU_STACK) {
			image->executable_stack = p->p_flags & PF_X;
		} else if (p->p_type == PT_LOAD && p->p_memsz) {
			if (!load_is_good(p, after))
				return NOT_EXECUTABLE;
			after = p->p_vaddr + p->p_memsz;
			image_add(image, p, header);
		}
	}
	if (image->low == image->high || image->entry >= ELF_USER_END)
		return NOT_EXECUTABLE;
	return 0;
}

bool elf_next_load(const Elf64_Phdr *headers, u32 count, u32 *index, struct elf_load *load)
{
	for (; *index < count; ++*index) {
		const Elf64_Phdr *p = &headers[*index];
		u64 inset = p->p_vaddr & (PAGE_SIZE - 1);

		if (p->p_type != PT_LOAD || !p->p_memsz)
			continue;
		*load = (struct elf_load){
			.address = p->p_vaddr - inset,
			.offset = p->p_offset - inset,
			.file_bytes = p->p_filesz ? p->p_filesz + inset : 0,
			.end = p->p_vaddr + p->p_memsz,
			.readable = p->p_flags & PF_R,
			.writable = p->p_flags & PF_W,
			.executable = p->p_flags & PF_X,
		};
		++*index;
		return true;
	}
	return false;
}
