# SPDX-License-Identifier: MIT
# The vDSO: a shared object for user mode, then part of the kernel's image as it is.

vdso_dir   := arch/$(ARCH)/vdso
vdso_flags := -std=gnu11 -ffreestanding -nostdinc -O2 -fpic -fvisibility=default -fno-stack-protector -mno-outline-atomics \
	-mgeneral-regs-only -fasynchronous-unwind-tables -fno-common -fno-builtin -ffile-prefix-map=$(top)/=

$(out)/vdso.so: $(wildcard $(vdso_dir)/*) arch/$(ARCH)/include/arch/vdso.h $(uapi)/.done vdso.mk
	@echo "  VDSO    $(@F)"
	@mkdir -p $(out)/vdso
	$(Q)$(CC) $(vdso_flags) $(warnings) $(includes) $(system_includes) -c -o $(out)/vdso/vdso.o $(vdso_dir)/vdso.c
	$(Q)$(CC) -nostdinc $(system_includes) -c -o $(out)/vdso/sigreturn.o $(vdso_dir)/sigreturn.S
	$(Q)$(CROSS)ld -shared -soname linux-vdso.so.1 --hash-style=both -Bsymbolic --eh-frame-hdr --build-id=none \
		-z max-page-size=4096 -z noexecstack --no-undefined -T $(vdso_dir)/vdso.ld -o $@.tmp $(out)/vdso/vdso.o $(out)/vdso/sigreturn.o
	$(Q)$(CROSS)objcopy -S $@.tmp $@
	$(Q)$(CROSS)nm $@.tmp | sed -n 's/^\([0-9a-f]*\) . __kernel_rt_sigreturn$$/#define VDSO_SIGRETURN 0x\1/p' > $(out)/vdso-offsets.h
	$(Q)rm -f $@.tmp

$(out)/obj/kernel/arch/$(ARCH)/vdso_image.S.o: $(out)/vdso.so
