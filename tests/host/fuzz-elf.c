// SPDX-License-Identifier: MIT
// sources: kernel/proc/elf.c
// cflags: -DLICHEN_HOST_BUILD -Ikernel/include -Ikernel/proc -Wno-unused-parameter
/*
 * Hostile ELF files: what passes the checks must be such that exec can map it without a further thought. The input is the file;
 * everything that exec computes from it is computed here, and must hold.
 */
#include <stdlib.h>
#include <string.h>
#include "elf.h"

#define MUST(condition)                                                                                           \
	do {                                                                                                      \
		if (!(condition))                                                                                 \
			abort();                                                                                  \
	} while (0)

static bool aligned(uint64_t value)
{
	return value % PAGE_SIZE == 0;
}

static void check_loads(const Elf64_Phdr *headers, const struct elf_image *image)
{
	uint64_t last = image->low;
	uint32_t index = 0, loads = 0;
	struct elf_load load;

	while (elf_next_load(headers, image->header_count, &index, &load)) {
		MUST(index <= image->header_count);
		MUST(aligned(load.address) && aligned(load.offset));
		MUST(load.address >= image->low && load.end <= image->high);
		MUST(load.end > load.address);
		MUST(load.file_bytes <= load.end - load.address);
		/* what mmap(2) gets */
		MUST(load.offset <= INT64_MAX && load.file_bytes <= INT64_MAX - load.offset);
		MUST(load.address + align_up(load.file_bytes, PAGE_SIZE) <= ELF_USER_END);
		MUST(align_up(load.end, PAGE_SIZE) <= image->high);
		/* in order; two may share a page, no more */
		MUST(load.address + PAGE_SIZE > last);
		last = load.end;
		loads++;
	}
	MUST(loads > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Elf64_Ehdr header = {0};
	struct elf_image image;
	Elf64_Phdr *headers;
	uint32_t bytes;

	memcpy(&header, data, size < sizeof(header) ? size : sizeof(header));
	if (size >= 1 && data[0] & 1) { /* half of the inputs get past the first door */
		memcpy(header.e_ident, ELFMAG, SELFMAG);
		header.e_ident[EI_CLASS] = ELFCLASS64;
		header.e_ident[EI_DATA] = ELFDATA2LSB;
		header.e_machine = EM_AARCH64;
		header.e_type = data[0] & 2 ? ET_EXEC : ET_DYN;
		header.e_phentsize = sizeof(Elf64_Phdr);
		header.e_phnum = 1 + (data[0] >> 2) % 8;
	}
	if (elf_check_header(&header, &bytes))
		return 0;
	MUST(bytes && bytes <= ELF_HEADERS_MAX && bytes == header.e_phnum * sizeof(Elf64_Phdr));
	MUST(header.e_phoff <= INT64_MAX - bytes);
	/* of exactly the size that exec reads; what the input lacks is zero */
	headers = calloc(1, bytes);
	if (!headers)
		return 0;
	if (size > sizeof(header))
		memcpy(headers, data + sizeof(header), size - sizeof(header) < bytes ? size - sizeof(header) : bytes);
	if (elf_parse(&header, headers, &image) == 0) {
		MUST(aligned(image.low) && aligned(image.high) && image.low < image.high && image.high <= ELF_USER_END);
		MUST(image.alignment >= PAGE_SIZE && !(image.alignment & (image.alignment - 1)) && image.alignment < ELF_USER_END);
		MUST(!image.headers || (image.headers >= image.low && image.headers + bytes <= image.high));
		MUST(!image.interpreter_bytes || (image.interpreter_bytes >= 2 && image.interpreter_bytes <= ELF_PATH_MAX));
		MUST(image.interpreter_offset <= INT64_MAX - ELF_PATH_MAX);
		MUST(image.end_bss <= image.high && image.entry < ELF_USER_END);
		check_loads(headers, &image);
	}
	free(headers);
	return 0;
}
