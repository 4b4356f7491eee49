/* SPDX-License-Identifier: MIT */
/*
 * What an ELF file asks for, checked: no I/O, no memory, no kernel, so that it is fuzzed on the host. System V gABI 4.1,
 * chapters 4 and 5; ELF for the Arm 64-bit Architecture.
 */
#ifndef PROC_ELF_H
#define PROC_ELF_H

#include <lichen/types.h>
#include <linux/elf.h>

#define ELF_USER_END	  (1ull << 48)
#define ELF_HEADERS_MAX	  65536u /* bytes of program headers */
#define ELF_PATH_MAX	  4096u

struct elf_image {
	bool dynamic; /* ET_DYN: may lie anywhere */
	u64 entry;
	u64 low, high;	   /* what the segments span: page aligned, low < high */
	u64 alignment;	   /* the largest of the segments; a power of two */
	u64 headers;	   /* address of the program headers in memory, or 0 */
	u32 header_count;
	u64 interpreter_offset;
	u32 interpreter_bytes; /* with the NUL; 0: none */
	bool executable_stack;
	u64 writable_bytes; /* memory that it wants for itself */
	u64 start_code, end_code, start_data, end_data, end_bss;
};

struct elf_load {
	u64 address, offset;	   /* page aligned */
	u64 file_bytes;		   /* from address, page offset included; 0: nothing of the file */
	u64 end;		   /* of memory, not aligned: beyond address + file_bytes it is zero */
	bool readable, writable, executable;
};

/* 0, or -ENOEXEC (-8): not an arm64 program. *bytes: how much of program headers to read from header->e_phoff. */
long elf_check_header(const Elf64_Ehdr *header, u32 *bytes);
/* 0 or -ENOEXEC. `headers` holds what elf_check_header asked for. */
long elf_parse(const Elf64_Ehdr *header, const Elf64_Phdr *headers, struct elf_image *image);
/* The next PT_LOAD from *index on, which moves; false: no more. The headers passed elf_parse. */
bool elf_next_load(const Elf64_Phdr *headers, u32 count, u32 *index, struct elf_load *load);

#endif
