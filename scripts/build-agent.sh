#!/usr/bin/env bash
# Builds the workspace agent as one static binary: it runs in roots that hold nothing else. dist/libexec/slipway-agent, and the
# same file as dist/libexec/sandbox/agent, where sandboxes find it.
# Quick when nothing changed. A scratch path of its own, since static and dynamic builds would invalidate each other.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v swift >/dev/null || { echo "swift is missing: install Swift 6.3 (https://swift.org/install) and put it on the PATH" >&2; exit 1; }

mkdir -p dist/libexec/sandbox .build-agent
exec 9>dist/libexec/.agent.lock
flock 9
target=dist/libexec/slipway-agent
stamp=.build-agent/slipway-agent.sources
sources=$( { cat Package.swift; swift --version 2>/dev/null
    find Sources/{AgentProtocol,AgentRuntime,CAgent,slipway-agent} -type f | LC_ALL=C sort | xargs sha256sum; } | sha256sum )
inside=dist/libexec/sandbox/agent
if [ -x "$target" ] && [ "$inside" -ef "$target" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sources" ]; then exit 0; fi

# ld warns that getaddrinfo and dlopen need the libraries of the build machine; the agent uses neither.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! swift build -c release --product slipway-agent --static-swift-stdlib -Xswiftc -static-executable -Xlinker -s \
    --scratch-path .build-agent >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
# Renamed into place: a running agent keeps its file.
install -m 0755 .build-agent/release/slipway-agent "$target.new"
mv -f "$target.new" "$target"
ln -f "$target" "$inside.new"
mv -f "$inside.new" "$inside"
echo "$sources" >"$stamp"
echo "$target: $(stat -c %s "$target") bytes"
