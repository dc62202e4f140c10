#!/usr/bin/env bash
# Fuzzes the codecs of ModelAPI for SECONDS in all (300 unless told), each target as long as the others.
# Built with coverage into a folder of its own; the corpus grows there from run to run. A find is written to
# .build-fuzz/finds/<target>/ and ends the run: `.build-fuzz/release/fuzz-codecs <target> FILE` repeats it.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${SECONDS_TO_FUZZ:-300}
targets=${*:-sse eventstream json request answer}
# The driver has a main of its own, which the library that -sanitize=fuzzer links would have, too.
toolchain=$(dirname "$(readlink -f "$(command -v swiftc)")")/..
SLIPWAY_FUZZ=$(find "$toolchain/lib/clang" -name "libclang_rt.fuzzer_no_main-$(uname -m).a" -print -quit)
[ -n "$SLIPWAY_FUZZ" ] || { echo "The Swift toolchain in $toolchain has no libFuzzer (libclang_rt.fuzzer_no_main)." >&2; exit 1; }
export SLIPWAY_FUZZ
# A trap is libFuzzer's to catch: it writes down the input.
export SWIFT_BACKTRACE=enable=no
swift build -c release --product fuzz-codecs --scratch-path .build-fuzz
count=$(wc -w <<<"$targets")
for target in $targets; do
    mkdir -p ".build-fuzz/corpus/$target" ".build-fuzz/finds/$target"
    echo "== $target, $((seconds / count)) s"
    .build-fuzz/release/fuzz-codecs "$target" -max_total_time="$((seconds / count))" -max_len=16384 -timeout=10 -rss_limit_mb=2048 \
        -verbosity=0 -print_final_stats=1 -artifact_prefix=".build-fuzz/finds/$target/" \
        ".build-fuzz/corpus/$target" "Fuzz/Seeds/$target"
done
