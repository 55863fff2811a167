#!/bin/bash
# run.sh LEVEL…  runs test levels and leaves each one's event stream in
# out/test/LEVEL.json for `summary report`. With no level: all of them.
#
#   lint       gofmt, vet, staticcheck
#   generated  BPF objects and dashboards are what their sources generate
#   unit       every package that does not touch kernel state, in parallel
#   race       of those the packages that start goroutines, under the race detector
#   root       packages whose tests want root, one after the other, but test/cases
#   cases-a    test/cases: A to E of docs/cases.md
#   cases-f    F on, and what has no letter
#   deploy     ./deploy: images, compose files and the demo, by a Docker Engine; sink/kafka
#              with a real Kafka and Telegraf
#   habits     the cases of test/cases that wait for minutes: what is unusual
#   e2e        test/e2e: the program against real servers and containers
#   kernels    TestKernel… and weir under emulated 5.10, 6.1, 6.12; cases that want
#              systemd in a guest that has it
#   fuzz       every fuzz target for $FUZZTIME
#   bench      every benchmark once
#
# With no level named, four of them run at a time (STREAMS below).
# A level goes on after a failure; the exit status says whether one failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# As make build and what is built for guests, so that nothing is compiled twice.
export CGO_ENABLED=0 GOFLAGS="-trimpath -tags=grpcnotrace"

# What runs when all levels do: streams of levels, each with its own priority. Cases
# mostly wait: for intervals, for time-outs. What only computes has the processors
# meanwhile, at the lowest priority; and what waits for minutes of a demo waits at the same
# time. Kernels come last: a guest that gets no processor for seconds is no host that weir
# is made for. $NICE LEVEL… each; the first stream's output is shown as it comes.
STREAMS=("0 unit cases-a e2e kernels" "0 root cases-f" "1 habits deploy" "19 lint generated race fuzz bench")
LEVELS=$(printf '%s ' "${STREAMS[@]#* }")
# A count, not a time: at a deadline the fuzzing engine fails by chance with
# "context deadline exceeded" (golang/go#75804).
FUZZTIME=${FUZZTIME:-10000x}
BENCHTIME=${BENCHTIME:-1x}
SUMMARY=$(mktemp "${TMPDIR:-/tmp}/weir-summary.XXXXXX")
trap 'rm -f "$SUMMARY"' EXIT
go build -o "$SUMMARY" ./test/summary || exit 1

# Packages by level. A package is a root package when a test of it says so to
# test/machine, or starts a Docker Engine; nothing has to be listed by hand but
# what has a level of its own.
all_packages() { go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./... | sed "s|^$PWD/|./|"; }
ELSEWHERE='^\./(test/(cases|e2e|kernels)(/|$)|(deploy|sink/kafka)$)'
root_packages() {
	all_packages | grep -vE "$ELSEWHERE" | while read -r dir; do
		grep -lqE 'machine\.Root\(|test/dockerd"' "$dir"/*_test.go && echo "$dir"
	done
}
unit_packages() { comm -23 <(all_packages | grep -vE "$ELSEWHERE" | sort) <(root_packages | sort); }
e2e_packages() { all_packages | grep -E '^\./test/e2e(/|$)'; }

# As an ordinary user the tests that want root run through sudo where it asks
# for no password, and skip with their reason where it does.
as_root=()
if [ "$(id -u)" != 0 ] && sudo -n true 2> /dev/null; then
	as_root=(-exec "sudo -E env PATH=$PATH")
fi

# go_test LEVEL PACKAGES arguments…
go_test() {
	local level=$1 packages=$2
	shift 2
	# shellcheck disable=SC2086 # one word per package
	if [ -z "$packages" ]; then
		echo "level $level: no package has tests" >&2
		"$SUMMARY" show "$level" < /dev/null
		return 1
	fi
	# lint has all of vet.
	go test -json -vet=off "$@" $packages | "$SUMMARY" show "$level"
}

# built waits for what install.sh builds beside the first levels.
built() {
	local cache=${WEIR_CACHE:-$HOME/.cache/weir}
	[ ! -e "$cache/.beside.lock" ] || flock "$cache/.beside.lock" true
}

# steps LEVEL runs the commands on stdin ("name<TAB>command"), each as one test
# of the level, with its output when it fails.
steps() {
	local level=$1 name command status=PASS
	{
		while IFS=$'\t' read -r name command; do
			echo "=== RUN   $name"
			if bash -c "$command" < /dev/null 2>&1; then
				echo "--- PASS: $name (0.00s)"
			else
				echo "--- FAIL: $name (0.00s)"
				status=FAIL
			fi
		done
		echo $status
		[ $status = PASS ]
	} | go tool test2json -t -p "$level" | "$SUMMARY" show "$level"
}

# targets REGEXP prints "directory function" of every test function that matches.
targets() {
	grep -rnoE --include='*_test.go' "^func $1[A-Za-z0-9_]*" . | sed -E 's|^(\./.*)/[^/]*:[0-9]+:func |\1 |' | sort -u
}

level_lint() {
	steps lint <<-'END'
		gofmt	files=$(gofmt -l $(git ls-files --cached --others --exclude-standard '*.go')); echo "$files"; [ -z "$files" ]
		vet	go vet ./...
		staticcheck	go tool staticcheck ./...
		modules	go mod verify
	END
}

level_generated() {
	steps generated <<-'END'
		bpf	make -s verify-generated
		dashboards	go test ./dashboards -run '^Test(AlertRulesAre)?Generated$' -count=1
	END
}

# What waits for a database for a minute begins first, beside the compiler.
level_unit() { go_test unit "$(unit_packages | sort -r)" -p 4 -count=1 -timeout 10m; }
# One goroutine has no races: what is checked is the packages that start one, or have what
# several share.
concurrent_packages() {
	unit_packages | while read -r dir; do
		find "$dir" -maxdepth 1 -name '*.go' ! -name '*_test.go' -exec grep -lqE '^\s+go (func|[a-zA-Z.]+)\(|"sync(/atomic)?"' {} + && echo "$dir"
	done
}
level_race() { CGO_ENABLED=1 go_test race "$(concurrent_packages)" -race -count=1 -timeout 15m; }
# Cases that wait for minutes, which they do together.
HABITS='^TestCaseJ(7|9|10|11)_'
# Tests that mostly wait do so together: -parallel.
level_root() { go_test root "$(root_packages)" -p 1 -parallel 8 -count=1 -timeout 30m "${as_root[@]}"; }
cases() { go_test "$1" ./test/cases "${@:2}" -parallel 8 -count=1 -timeout 30m "${as_root[@]}"; }
level_cases-a() { cases cases-a -run '^TestCase[A-E]'; }
level_cases-f() { cases cases-f -skip "^TestCase[A-E]|$HABITS"; }
level_habits() { cases habits -run "$HABITS"; }
level_deploy() { built && go_test deploy "./deploy ./sink/kafka" -p 1 -count=1 -timeout 20m "${as_root[@]}"; }
level_e2e() { go_test e2e "$(e2e_packages)" -p 1 -count=1 -timeout 20m "${as_root[@]}"; }
level_kernels() { WEIR_TEST_KERNELS=1 go_test kernels ./test/kernels -p 1 -count=1 -timeout 40m; }

level_fuzz() {
	targets Fuzz | while read -r dir name; do
		printf '%s\tgo test -vet=off %s -run "^$" -fuzz "^%s$" -fuzztime %s -parallel 2\n' "${dir#./}:$name" "$dir" "$name" "$FUZZTIME"
	done | steps fuzz
}

level_bench() {
	targets Benchmark | cut -d' ' -f1 | sort -u | while read -r dir; do
		printf '%s\tgo test -vet=off %s -run "^$" -bench . -benchtime %s -benchmem\n' "${dir#./}" "$dir" "$BENCHTIME"
	done | steps bench
}

# stream NICE LEVEL… runs levels one after the other.
stream() {
	local level failed=0
	renice -n "$1" "$BASHPID" > /dev/null
	shift
	for level in "$@"; do
		echo "== level $level"
		"level_$level" || failed=1
	done
	return $failed
}

mkdir -p out/test
for level in ${*:-$LEVELS}; do
	if ! declare -F "level_$level" > /dev/null; then
		echo "run.sh: no level $level; there are: $LEVELS" >&2
		exit 2
	fi
	rm -f "out/test/$level.json"
done
if [ $# != 0 ]; then
	stream 0 "$@"
	exit
fi
# What all of them need: two that compile the same at once both do.
go build ./... || exit 1
failed=0 beside=()
for s in "${STREAMS[@]:1}"; do
	# shellcheck disable=SC2086 # words
	(stream $s) > "out/test/beside-${#beside[@]}.log" 2>&1 &
	beside+=($!)
done
# shellcheck disable=SC2086 # words
(stream ${STREAMS[0]}) || failed=1
for job in "${beside[@]}"; do
	wait "$job" || failed=1
done
cat out/test/beside-*.log
exit $failed
