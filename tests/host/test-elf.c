// SPDX-License-Identifier: MIT
// sources: kernel/proc/elf.c
// cflags: -DLICHEN_HOST_BUILD -Ikernel/include -Ikernel/proc -Wno-unused-parameter
// What is read out of good ELF headers, and that each rule alone refuses a bad one.
#include <string.h>
#include "check.h"
#include "elf.h"

static Elf64_Ehdr header;
static Elf64_Phdr headers[4];
static struct elf_image image;

/* As a linker writes it: code, then data with some bss, an interpreter, a stack that is not executable. */
static void good(void)
{
	memset(&header, 0, sizeof(header));
	memcpy(header.e_ident, ELFMAG, SELFMAG);
	header.e_ident[EI_CLASS] = ELFCLASS64;
	header.e_ident[EI_DATA] = ELFDATA2LSB;
	header.e_machine = EM_AARCH64;
	header.e_type = ET_DYN;
	header.e_entry = 0x640;
	header.e_phoff = 64;
	header.e_phentsize = sizeof(Elf64_Phdr);
	header.e_phnum = 4;
	headers[0] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = 0x238, .p_filesz = 27};
	headers[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = 0x8cc, .p_memsz = 0x8cc, .p_align = 0x10000};
	headers[2] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = 0xd90, .p_vaddr = 0x10d90,
		.p_filesz = 0x280, .p_memsz = 0x2288, .p_align = 0x10000};
	headers[3] = (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W};
}

static long parse(void)
{
	uint32_t bytes;

	return elf_check_header(&header, &bytes) ?: elf_parse(&header, headers, &image);
}

int main(void)
{
	struct elf_load load;
	uint32_t index = 0;

	good();
	CHECK(parse() == 0);
	CHECK(image.dynamic && image.low == 0 && image.high == 0x14000 && image.alignment == 0x10000);
	CHECK(image.headers == 64 && image.header_count == 4 && image.entry == 0x640);
	CHECK(image.interpreter_offset == 0x238 && image.interpreter_bytes == 27 && !image.executable_stack);
	CHECK(image.end_code == 0x8cc && image.start_data == 0x10d90 && image.end_data == 0x11010 && image.end_bss == 0x13018);
	CHECK(elf_next_load(headers, 4, &index, &load));
	CHECK(load.address == 0 && load.file_bytes == 0x8cc && load.end == 0x8cc && load.executable && !load.writable);
	CHECK(elf_next_load(headers, 4, &index, &load));
	CHECK(load.address == 0x10000 && load.offset == 0 && load.file_bytes == 0x1010 && load.end == 0x13018 && load.writable);
	CHECK(!elf_next_load(headers, 4, &index, &load));

#define REFUSED(change)                                                                                           \
	do {                                                                                                      \
		good();                                                                                           \
		(void)(change);                                                                                   \
		CHECK(parse() == -8);                                                                             \
	} while (0)
	REFUSED(header.e_ident[0] = 0);
	REFUSED(header.e_ident[EI_CLASS] = ELFCLASS32);
	REFUSED(header.e_ident[EI_DATA] = ELFDATA2MSB);
	REFUSED(header.e_machine = EM_X86_64);
	REFUSED(header.e_type = ET_REL);
	REFUSED(header.e_phentsize = 1);
	REFUSED(header.e_phnum = 0);
	REFUSED(header.e_phnum = 0xffff);
	REFUSED(header.e_phoff = ~0ull);
	REFUSED(header.e_entry = 1ull << 48);
	REFUSED(headers[0].p_filesz = 1);
	REFUSED(headers[0].p_filesz = 5000);
	REFUSED(headers[0].p_offset = ~0ull);
	REFUSED(headers[1].p_filesz = 0x8cd);
	REFUSED(headers[1].p_vaddr = 0x800);
	REFUSED(headers[1].p_align = 3);
	REFUSED(headers[2].p_vaddr = 1ull << 48);
	REFUSED(headers[2].p_memsz = 1ull << 48);
	REFUSED(headers[2].p_memsz = ~0ull);
	REFUSED(headers[2].p_offset = 0x7ffffffffffffd90);
	REFUSED(headers[2].p_vaddr = 0xd90 - 0x1000);
	REFUSED((headers[1].p_type = PT_NULL, headers[2].p_type = PT_NULL));
	REFUSED((headers[1].p_memsz = headers[1].p_filesz = 0, headers[2].p_type = PT_NOTE));
	return CHECK_RESULT();
}
