// SPDX-License-Identifier: MIT
/*
 * For libraries that are preloaded into QEMU: makes one of its functions jump to another. x86-64 and arm64 only; elsewhere, and where
 * the page cannot be written, it says so, returns false and has changed nothing.
 */
#ifndef REDIRECT_H
#define REDIRECT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool redirect(void *function, void *target)
{
	unsigned char *from = function;
	uintptr_t page_size = (uintptr_t)sysconf(_SC_PAGESIZE), page = (uintptr_t)from & ~(page_size - 1);
#if defined(__x86_64__)
	/* movabs $target, %rax; jmp *%rax */
	unsigned char code[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
	size_t address = 2;
#elif defined(__aarch64__)
	/* ldr x16, .+8; br x16; target */
	unsigned char code[16] = {0x50, 0, 0, 0x58, 0, 0x02, 0x1f, 0xd6};
	size_t address = 8;
#else
	fprintf(stderr, "redirect: not for this processor\n");
	return false;
#endif
#if defined(__x86_64__) || defined(__aarch64__)
	memcpy(code + address, &target, sizeof(target));
	if (mprotect((void *)page, 2 * page_size, PROT_READ | PROT_WRITE | PROT_EXEC)) {
		perror("redirect: mprotect");
		return false;
	}
	memcpy(from, code, sizeof(code));
	mprotect((void *)page, 2 * page_size, PROT_READ | PROT_EXEC);
	__builtin___clear_cache((char *)from, (char *)from + sizeof(code));
	return true;
#endif
}

#endif
