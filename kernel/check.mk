# SPDX-License-Identifier: MIT
#
# Static checks, with the flags of the build:
#   clang -Wthread-safety   a spinlock held across an await, or not released
#   sparse                  a user pointer dereferenced
#   tests/compile           sources that must not compile, each for the reason that its first line names
#   clang-format            the layout (check-format)

check_c  := $(addprefix $(top)/,$(filter %.c,$(sources)))
stamps   := $(out)/check

clang_flags := --target=aarch64-linux-gnu -std=gnu11 -ffreestanding -nostdinc -mgeneral-regs-only -fsyntax-only \
	-Wall -Werror -Wthread-safety -Wno-unused-function -Wno-gnu-variable-sized-type-not-at-end -Wno-unknown-warning-option \
	-Wno-initializer-overrides
clang_system = -isystem $(top)/kernel/include/libc -isystem $(shell clang -print-resource-dir)/include -isystem $(uapi) \
	-isystem $(fdt)
sparse_flags = -ffreestanding --arch=arm64 \
	-std=gnu11 -nostdinc -Wsparse-error -Waddress-space -Wno-bitwise -Wno-decl \
	-Wno-non-pointer-null -Wno-unknown-attribute -Wno-shift-count-negative -Wno-pointer-to-int-cast -Wno-old-initializer

clang_all  := $(patsubst $(top)/%,$(stamps)/%.clang,$(check_c))
sparse_all := $(patsubst $(top)/%,$(stamps)/%.sparse,$(check_c))

check: $(clang_all) $(sparse_all) check-compile

$(clang_all): $(stamps)/%.clang: $(top)/% $(uapi)/.done $(wildcard include/lichen/*.h)
	@mkdir -p $(@D)
	$(Q)clang $(clang_flags) $(includes) $(clang_system) $< && touch $@
$(sparse_all): $(stamps)/%.sparse: $(top)/% $(uapi)/.done $(wildcard include/lichen/*.h)
	@mkdir -p $(@D)
	$(Q)sparse $(sparse_flags) $(includes) $(system_includes) $< && touch $@

check-compile: $(uapi)/.done
	$(Q)$(top)/tests/compile/run "$(CC) $(cflags) $(warnings) $(includes) $(system_includes)" \
		"clang $(clang_flags) $(includes) $(clang_system)" "sparse $(sparse_flags) $(includes) $(system_includes)"

check-format:
	$(Q)cd $(top) && clang-format --dry-run --Werror $(filter %.c %.h,$(patsubst $(top)/%,%,$(check_c)) \
		$(shell cd $(top) && ls kernel/include/lichen/*.h kernel/arch/$(ARCH)/include/arch/*.h virtio/include/lichen/*.h))

.PHONY: check-compile check-format
