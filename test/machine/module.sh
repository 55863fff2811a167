# module.sh  is what the build scripts of the servers share ("." it): a program is built
# from its Go module into ${WEIR_CACHE:-~/.cache/weir}, once, and its log is kept there.
# shellcheck shell=sh
#
#   begin NAME WHAT             ends the script where $cache/NAME is; else nobody else builds
#                               NAME until the script ends, and it says WHAT is built
#   unpack MODULE@VERSION       makes a copy of the module's source the current directory
#   build PACKAGE ARGUMENTS…    go build with the arguments, into $cache/NAME; the copy is gone

cache=${WEIR_CACHE:-$HOME/.cache/weir}

begin() {
	out=$cache/$1
	log=$cache/log/$1.log
	src=$cache/src-$1
	what=$2
	[ -x "$out" ] && exit 0
	mkdir -p "$cache/log"
	if command -v flock > /dev/null; then
		exec 9> "$cache/.$1.lock"
		flock 9
		[ -x "$out" ] && exit 0
	fi
	echo "building $what; log: $log"
	: > "$log"
}

# Not by go install: it refuses a module with replacements, and not every proxy answers
# what it asks of the path of a command.
unpack() {
	dir=$(cd / && go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
	rm -rf "$src"
	cp -r "$dir" "$src"
	chmod -R u+w "$src"
	cd "$src"
}

# The toolchain is the one here, whichever the module asks for, and C is not needed, unless
# GOTOOLCHAIN and CGO_ENABLED say so.
build() {
	package=$1
	shift
	if ! GOTOOLCHAIN=${GOTOOLCHAIN:-local} CGO_ENABLED=${CGO_ENABLED:-0} GOFLAGS=-mod=mod \
		nice go build -o "$out.tmp" "$@" "$package" >> "$log" 2>&1; then
		tail -n 25 "$log" >&2
		echo "$what could not be built; whole log: $log" >&2
		exit 1
	fi
	mv "$out.tmp" "$out"
	cd /
	rm -rf "$src"
	echo "built $out"
}
