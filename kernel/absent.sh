#!/bin/bash
# SPDX-License-Identifier: MIT
#
# absent.sh CROSS OUT OBJECTS...: writes OUT/absent.o, where each function that some object wants and none has is a call of
# absent_call(name). So a kernel links, and boots, while parts of it are still to come.
set -eu
cross=$1 out=$2
shift 2
defined='image_start|image_end|image_size|text_start|text_end|rodata_end|data_end|bss_start|bss_end|KERNEL_VIRT|.*_table_(start|end)|initcall_(start|end)'
missing=$(comm -13 \
	<("${cross}nm" --defined-only -g "$@" | awk 'NF==3 {print $3}' | LC_ALL=C sort -u) \
	<("${cross}nm" -u "$@" | awk '$1=="U" {print $2}' | LC_ALL=C sort -u) | grep -Evx "$defined" || :)
{
	for s in $missing; do
		printf '\t.globl %s\n%s:\n\tadr x0, 1f\n\tb absent_call\n1:\t.asciz "%s"\n\t.balign 8\n' "$s" "$s" "$s"
	done
} > "$out/absent.S"
[ -z "$missing" ] || echo "  ABSENT  $(echo $missing)"
"${cross}gcc" -c -o "$out/absent.o" "$out/absent.S"
