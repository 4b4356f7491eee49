/* SPDX-License-Identifier: MIT */
/* An execve on its way: what exec.c gathers and exec_mm.c makes an address space of. */
#ifndef PROC_EXEC_H
#define PROC_EXEC_H

#include "elf.h"
#include "proc.h"

/* The strings one after another, as they will lie on the new stack: argv, envp, the path. */
struct exec_arguments {
	char *buffer; /* kmalloc */
	u32 bytes, room, limit;
	u32 argc, envc;
	u32 env_offset, path_offset;
};

struct exec {
	struct file *file, *interpreter;
	char header[256] __aligned(8); /* BINPRM_BUF_SIZE */
	u32 header_bytes;
	Elf64_Phdr *headers, *interpreter_headers;
	Elf64_Ehdr interpreter_header;
	struct elf_image image, interpreter_image;
	char *path; /* of `file` as it was opened */
	char *interpreter_path;
	const char *first_path; /* what the caller named: AT_EXECFN and the thread's name */
	char *original_path;	/* kmalloc */
	char fd_path[64];
	char *prefix; /* strings before the caller's arguments, for scripts */
	u32 prefix_bytes, prefix_count;
	struct exec_arguments args;
	struct mm *mm;
	struct cred *cred;
	bool secure;
	struct signal_actions *actions; /* a private copy, if they were shared; afterwards the old ones */
	struct files *files;
	/* results of exec_build_mm */
	u64 bias, interpreter_bias, entry, stack_top, stack_pointer;
	u8 random[16];
	u8 tail[32]; /* AT_RANDOM, AT_PLATFORM */
};

/* Fills e->mm: 0 or -errno; e->mm is put by the caller in any case. */
ASYNC_DECLARE(exec_build_mm, struct exec *e; u64 *table; u32 words; u64 address; u64 bytes; long error;);

/* arch: AT_HWCAP, AT_HWCAP2 */
void arch_hwcaps(u64 caps[2]);
#define ARCH_PLATFORM "aarch64"
#define ARCH_MINIMUM_SIGNAL_STACK 4720

#endif
