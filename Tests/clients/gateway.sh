#!/usr/bin/env bash
# The official client packages against the gateway: a server of its own with the scripted model, a first user, a token, somebody
# without a budget, check.py, and the audit record afterwards. SLIPWAY_BIN names the folder of the built programs.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${SLIPWAY_BIN:-.build/debug}
# Before anything is started: without the packages there is nothing to see.
Tests/clients/setup.sh >/dev/null
work=$(mktemp -d /tmp/slipway-clients.XXXXXX)
chmod 711 "$work" # started by root, the server runs as another user
server=""
tool_servers=()
finish() {
    for pid in ${tool_servers[@]+"${tool_servers[@]}"}; do kill "$pid" 2>/dev/null || true; done
    [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
    rm -rf "$work"
}
trap finish EXIT
fail() {
    printf 'clients: %s\n' "$*" >&2
    tail -n 20 "$work/server.log" >&2 || true
    exit 1
}
export SLIPWAY_CONFIG_DIR=$work/config
unset SLIPWAY_TOKEN SLIPWAY_BIN SLIPWAY_URL

# The official package's server of tools as a program: all that it needs is shown in its sandbox.
venv=$(Tests/clients/setup.sh)
mkdir "$work/packages"
cp -r "$venv"/lib/python3*/site-packages/. Tests/clients/mcp_server.py "$work/packages"
chmod -R a+rX "$work/packages"

"$bin/slipway-server" --tools "$work/packages" --data-dir "$work/data" --listen 127.0.0.1:0 --demo-model >"$work/server.log" 2>&1 &
server=$!
url="" code=""
for _ in $(seq 1 600); do # the code is printed shortly after the server is ready
    url=$(sed -n 's/.*is ready at \([^ ]*\) .*/\1/p' "$work/server.log" | tail -n 1)
    code=$(sed -n 's/.*one-time set-up code \([A-Z0-9-]*\).*/\1/p' "$work/server.log" | tail -n 1)
    [ -n "$url" ] && [ -n "$code" ] && break
    kill -0 "$server" 2>/dev/null || fail "the server ended; its log says:"
    sleep 0.1
done
[ -n "$code" ] || fail "the server printed no set-up code within 60 seconds; its log says:"
export SLIPWAY_URL=$url
password() { head -c 18 /dev/urandom | base64; }
token() { "$bin/slipway" tokens create --name "$1" --output json | python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])'; }
"$bin/slipway" login "$url" --first-user --setup-code "$code" --username clients --email clients@example.com \
    --password-stdin <<<"$(password)" >/dev/null || fail "the first user could not be made"
token=$(token clients) || fail "no token could be made"

# Somebody whose budget covers nothing.
poor=$(password)
"$bin/slipway" users create poor --password-stdin <<<"$poor" >/dev/null || fail "the second user could not be made"
"$bin/slipway" budget set poor 0.000001 >/dev/null || fail "the budget could not be set"
poor_token=$(SLIPWAY_CONFIG_DIR=$work/poor && export SLIPWAY_CONFIG_DIR \
    && "$bin/slipway" login "$url" --username poor --password-stdin <<<"$poor" >/dev/null && token poor) || fail "poor has no token"

Tests/clients/run.sh --token "$token" --poor-token "$poor_token" --anthropic "$url/api/v2/ai-gateway/demo" \
    --openai "$url/api/v2/ai-gateway/demo-openai/v1"

# Servers of tools, made with the official package, behind the endpoint for tools.
tool_server() { # NAME ARGUMENT…: starts one and leaves its address in $address
    local name=$1
    shift
    "$venv/bin/python" Tests/clients/mcp_server.py "$@" >"$work/$name.url" 2>"$work/$name.log" &
    tool_servers+=($!)
    for _ in $(seq 1 600); do
        address=$(cat "$work/$name.url")
        [ -n "$address" ] && return
        sleep 0.1
    done
    fail "the server of tools '$name' did not start: $(cat "$work/$name.log")"
}
tool_server notes
"$bin/slipway" mcp add notes "$address" --allow-private --deny "delete_*" --inject asked >/dev/null || fail "notes could not be registered"
"$bin/slipway" mcp add program --stdio -- env PYTHONPATH="$work/packages" python3 -m mcp_server --stdio >/dev/null \
    || fail "program could not be registered"

# Every client on every kind of provider.
"$venv/bin/python" Tests/clients/providers.py >"$work/providers.url" 2>"$work/providers.log" &
tool_servers+=($!)
for _ in $(seq 1 600); do
    providers=$(cat "$work/providers.url")
    [ -n "$providers" ] && break
    sleep 0.1
done
[ -n "$providers" ] || fail "the scripted providers did not start: $(cat "$work/providers.log")"
provider() { # TYPE BASE-URL MODEL [NAME]
    "$bin/slipway" providers add "matrix-${4:-$1}" --type "$1" --base-url "$2" --allow-private --key-stdin <<<"AKIDMATRIX:secret-of-matrix" \
        >/dev/null || fail "matrix-${4:-$1} could not be added"
    "$bin/slipway" models price "$3" --type "$1" --input-price 1 --output-price 5 \
        >/dev/null || fail "$3 has no price"
}
provider anthropic "$providers" matrix-model
provider openai "$providers/v1" matrix-model
provider gemini "$providers" matrix-model
provider bedrock "$providers" anthropic.claude-matrix-v1:0
provider bedrock "$providers" eu.amazon.nova-matrix-v1:0 converse
"$venv/bin/python" Tests/clients/matrix.py --gateway "$url/api/v2/ai-gateway" --token "$token" || {
    tail -n 20 "$work/providers.log" >&2
    fail "the matrix of clients and providers has holes"
}

secret=$(password)
tool_server plain --json --token "$secret"
"$bin/slipway" mcp add plain "$address" --allow-private --auth user >/dev/null || fail "plain could not be registered"
"$bin/slipway" mcp login plain --stdin <<<"$secret" >/dev/null || fail "nobody could sign in to plain"
"$venv/bin/python" Tests/clients/mcp_check.py --url "$url/api/v2/mcp" --token "$token" --other-token "$poor_token"
[ "$("$bin/slipway" mcp call plain__add --arguments '{"a": 20, "b": 22}')" = 42 ] || fail "slipway mcp call did not add"
"$bin/slipway" mcp add self "$url/api/v2/mcp" --allow-private --header Authorization --stdin <<<"Bearer $token" >/dev/null
if "$bin/slipway" mcp tools self >"$work/self" 2>&1; then fail "the gateway calls itself"; fi
grep -q "status 409" "$work/self" || fail "the gateway does not say that it was called by itself: $(cat "$work/self")"
"$bin/slipway" mcp logout plain >/dev/null
! "$bin/slipway" mcp call plain__add --arguments '{"a": 20, "b": 22}' 2>/dev/null || fail "a call without log-in passed"
"$bin/slipway" audit verify
