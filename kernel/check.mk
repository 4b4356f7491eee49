# SPDX-License-Identifier: MIT
# Static checks, on the same flags as the build.

clang_flags := --target=aarch64-linux-gnu -std=gnu11 -ffreestanding -nostdinc -mgeneral-regs-only -fsyntax-only \
	-Wall -Werror -Wthread-safety -Wno-unused-function -Wno-gnu-variable-sized-type-not-at-end \
	-Wno-unused-label -Wno-unknown-warning-option
clang_include = -isystem $(shell clang -print-resource-dir)/include

check:
	@true
