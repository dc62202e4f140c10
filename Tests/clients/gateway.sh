#!/usr/bin/env bash
# The official client packages against the gateway: a server of its own with the scripted model, a first user, a token, check.py,
# and the audit record afterwards. SLIPWAY_BIN names the folder of the built programs (default .build/debug).
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${SLIPWAY_BIN:-.build/debug}
port=${PORT:-7871}
url=http://127.0.0.1:$port
work=$(mktemp -d /tmp/slipway-clients.XXXXXX)
chmod 711 "$work" # the embedded database runs as another user when started by root
server=""
finish() {
    [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
    rm -rf "$work"
}
trap finish EXIT
fail() {
    printf 'clients: %s\n' "$*" >&2
    tail -n 20 "$work/server.log" >&2 || true
    exit 1
}
export SLIPWAY_CONFIG_DIR=$work/config SLIPWAY_URL=$url
unset SLIPWAY_TOKEN SLIPWAY_BIN

"$bin/slipway-server" --data-dir "$work/data" --listen "127.0.0.1:$port" --demo-model >"$work/server.log" 2>&1 &
server=$!
code=""
for _ in $(seq 1 300); do # the code is printed shortly after the server is ready
    code=$(sed -n 's/.*one-time set-up code \([A-Z0-9-]*\).*/\1/p' "$work/server.log" | tail -n 1)
    [ -n "$code" ] && break
    kill -0 "$server" 2>/dev/null || fail "the server ended; its log says:"
    sleep 0.1
done
[ -n "$code" ] || fail "the server printed no set-up code within 30 seconds; its log says:"
"$bin/slipway" login "$url" --first-user --setup-code "$code" --username clients --email clients@example.com \
    --password-stdin <<<"$(head -c 18 /dev/urandom | base64)" >/dev/null || fail "the first user could not be made"
token=$("$bin/slipway" tokens create --name clients --output json | python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])') \
    || fail "no token could be made"
Tests/clients/run.sh --token "$token" --anthropic "$url/api/v2/ai-gateway/demo" --openai "$url/api/v2/ai-gateway/demo-openai/v1"
"$bin/slipway" audit verify
