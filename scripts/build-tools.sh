#!/usr/bin/env bash
# Builds the C programs of the sandbox into dist/libexec: quick, and nothing when nothing changed.
#
#   dist/libexec/slipway-launcher             started by the server
#   dist/libexec/sandbox/{keeper,zone}        run inside a sandbox (the agent's binary is put beside them as `agent`)
#   dist/libexec/sandbox/seccomp.bpf          the filter they run under
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-dist/libexec}
cc=${CC:-cc}
flags=(-std=gnu17 -O2 -static -Wall -Wextra -Wshadow -Werror -D_FORTIFY_SOURCE=2 -fstack-protector-strong -Wl,-z,relro,-z,now)
machine=$(uname -m)

command -v "$cc" >/dev/null || { echo "build-tools: no C compiler: apt-get install gcc libc6-dev" >&2; exit 1; }
case $machine in x86_64 | aarch64) ;; *) echo "build-tools: the sandbox knows x86_64 and aarch64, this is $machine" >&2; exit 1 ;; esac
mkdir -p "$out/sandbox"
exec 9>"$out/.tools.lock"
flock 9                                       # several test processes may want them at the same time

# build PROGRAM FOLDER FILE…: compiles when a source, a header or this script is newer
build() {
    local program=$1 folder=$2
    shift 2
    if [ -e "$program" ] && [ -z "$(find "$folder" scripts/build-tools.sh -newer "$program" -name '*.[chs]*' -print -quit)" ]; then return; fi
    echo "cc $program"
    "$cc" "${flags[@]}" "${@/#/$folder/}" -o "$program.new"
    strip "$program.new"
    mv -f "$program.new" "$program"          # a running one keeps its old file
}

launcher=Sources/slipway-launcher zone=Sources/slipway-zone
build "$out/slipway-launcher" $launcher main.c common.c start.c place.c userns.c mounts.c outer.c cgroup.c process.c tree.c
build "$out/sandbox/zone" $zone zone.c request.c command.c child.c session.c ring.c rights.c
build "$out/sandbox/keeper" $zone keeper.c rights.c
build "$out/filter" $launcher filter.c
if [ ! -e "$out/sandbox/seccomp.bpf" ] || [ "$out/filter" -nt "$out/sandbox/seccomp.bpf" ]; then
    "$out/filter" "$machine" >"$out/sandbox/seccomp.bpf.new"
    mv -f "$out/sandbox/seccomp.bpf.new" "$out/sandbox/seccomp.bpf"
fi
