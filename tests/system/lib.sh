# SPDX-License-Identifier: MIT
# For tests/system/*.test in bash. RUN, VARIANT, SOURCE, BUILD and TMP come from tests/run.
set -uo pipefail
failures=0

# run OPTION... -- COMMAND...: one boot of the variant.
run() { $RUN "$@"; }

fail() {
	echo "FAILED: $*"
	failures=$((failures + 1))
}

# same WHAT GOT WANTED
same() {
	if [ "$2" = "$3" ]; then
		echo "right: $1"
	else
		fail "$1"
		printf 'got:    %s\nwanted: %s\n' "$2" "$3" | head -c 4000
	fi
}

# like WHAT GOT REGEX
like() {
	if grep -Eq -- "$3" <<< "$2"; then
		echo "right: $1"
	else
		fail "$1"
		printf 'got:     %s\nto match: %s\n' "$2" "$3" | head -c 4000
	fi
}

# What the same shell command says on Linux, on the same disk. Asked once for each Linux and disk.
oracle() {
	local key file
	key=$({ echo "$1"; readlink "$BUILD/images/disk.img"; stat -c %Y "$BUILD/driver-domain/linux.Image"; } |
		sha256sum | cut -c1-16)
	file=$BUILD/tests/oracle/$key
	if [ ! -e "$file" ]; then
		mkdir -p "${file%/*}"
		"$SOURCE/scripts/run" --guest linux-bare --timeout 100 -- sh -c "$1" > "$file.new" || return 1
		mv "$file.new" "$file"
	fi
	cat "$file"
}

skip() {
	echo "$*"
	exit 77
}

finish() {
	[ "$failures" = 0 ] || echo "$failures wrong"
	exit $((failures > 0))
}
