#!/bin/bash
# verify-generated.sh  regenerates the BPF objects and fails when they differ from
# the committed ones. It works in a copy, so that a difference is reported and the
# tree stays as it was. Without the compiler the sources name it skips, loudly.
set -euo pipefail
cd "$(dirname "$0")/.."

clang=$(grep -oE -m1 -- '-cc [^ ]+' bpf/gen.go | cut -d' ' -f2)
if ! command -v "$clang" > /dev/null; then
	echo "verify-generated: $clang is not installed: apt-get install clang-19 llvm-19 libbpf-dev" >&2
	[ -z "${WEIR_REQUIRE:-}" ]
	exit
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/weir-generated.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -a bpf go.mod go.sum "$work/"
(cd "$work" && go generate ./bpf)
if ! diff -rq bpf "$work/bpf"; then
	echo "verify-generated: bpf/ is not what its sources generate: run make generate and commit" >&2
	exit 1
fi
