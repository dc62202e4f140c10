#!/usr/bin/env bash
# Runs the built tests, one test target after the other: several of them load the machine on purpose, and what one measures
# must not be another's doing. `test.sh` runs all, `test.sh GatewayTests ServerTests` these; `clients` are the official Python
# packages against the gateway (Tests/clients). Nothing is tried twice: a test that fails now and then has found a race, in itself or
# in what it tests.
set -uo pipefail
cd "$(dirname "$0")/.."
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for folder in Tests/*Tests; do targets+=("$(basename "$folder")"); done
    targets+=(clients)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Where a test crashed, not the lines of all threads and libraries, which take minutes to look up.
export SWIFT_BACKTRACE="${SWIFT_BACKTRACE:-symbolicate=fast,threads=crashed,images=none,limit=32}"
passed=0
failed=()
# The built bundle itself: 'swift test' would plan the whole build anew for every target.
bundle=$(swift build --show-bin-path)/slipwayPackageTests.xctest
[ -x "$bundle" ] || { echo "the tests are not built: run 'make test', or 'swift build --build-tests' first" >&2; exit 1; }
# Those that start real servers and sandboxes, and look at the clock, run one test at a time.
alone=" ServerTests WorkspacesTests "
run() {
    if [ "$target" = clients ]; then # the official Python packages against the gateway
        SLIPWAY_BIN=$(dirname "$bundle") Tests/clients/gateway.sh >"$log" 2>&1
        local status=$?
        count=$(sed -nE 's/^all ([0-9]+) passed$/\1/p' "$log" | awk '{ sum += $1 } END { print sum }')
        [ $status = 0 ] && [ "${count:-0}" -gt 0 ]
        return
    fi
    local how=()
    [[ $alone == *" $target "* ]] && how=(--no-parallel)
    # A test that hangs fails its target, and says which one it was, instead of holding up all others.
    timeout --kill-after=10 1500 "$bundle" --filter "^$target\\." --testing-library swift-testing ${how[@]+"${how[@]}"} >"$log" 2>&1
    local status=$?
    count=$(sed -nE 's/^. Test run with ([0-9]+) tests?.*/\1/p' "$log" | tail -n 1)
    [ $status = 0 ] && [ "${count:-0}" -gt 0 ]
}
complain() {
    [ $((SECONDS - begin)) -ge 1500 ] && echo "gave up after 1500 s; the last test that began: $(grep ' started' "$log" | tail -n 1)"
    printf '%-20s FAILED in %d s\n' "$target" $((SECONDS - begin))
    [ "$target" = clients ] && { grep -v '^ok ' "$log" | tail -n 40; return; }
    grep -E '✘|↳|rror:|atal|Thread' "$log" | grep -vE '^[◇✔]|↳ (Testing Library|Target)' | cut -c1-1500 | tail -n 80
}
for target in "${targets[@]}"; do
    begin=$SECONDS
    if run "$target"; then
        passed=$((passed + count))
        printf '%-20s %4d tests passed in %d s\n' "$target" "$count" $((SECONDS - begin))
    else
        failed+=("$target")
        complain
    fi
done
echo "$passed passed, ${#failed[@]} failed"
[ ${#failed[@]} = 0 ]
