#!/usr/bin/env bash
# The main job, end to end, as a new user would do it: a server, a repository with a failing test, a task, its commit, price and record.
# EXIT=1 stops the server at the end; MODEL=… uses a real model (with ANTHROPIC_API_KEY, or OPENAI_API_KEY and OPENAI_BASE_URL).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${SLIPWAY_BIN:?run this as 'make demo'}
port=${PORT:-7990}
url=http://127.0.0.1:$port
data=${DATA:-$PWD/data/demo}
work=$(mktemp -d /tmp/slipway-demo.XXXXXX)
export SLIPWAY_CONFIG_DIR=$work/config SLIPWAY_URL=$url
unset SLIPWAY_TOKEN SLIPWAY_BIN
server=""
step() { printf '\n\033[1m── %s\033[0m\n' "$*"; }
stop() { [ -n "$server" ] && kill -TERM "$server" 2>/dev/null && wait "$server" 2>/dev/null; rm -rf "$work"; }
fail() { printf 'demo: %s\n' "$*" >&2; tail -n 20 "$log" >&2 || true; stop; exit 1; }
log=$data/server.log

model=${MODEL:-demo-scripted}
scripted=()
if [ "$model" = demo-scripted ]; then
    scripted=(--demo-model)
elif [ -z "${ANTHROPIC_API_KEY:-}${OPENAI_API_KEY:-}" ]; then
    echo "demo: MODEL=$model needs ANTHROPIC_API_KEY, or OPENAI_API_KEY and OPENAI_BASE_URL, in the environment." >&2
    exit 1
fi

step "Starting a server at $url (data in $data)"
mkdir -p "$data"
password_file=$data/demo-password
if [ ! -s "$password_file" ]; then
    (umask 077 && head -c 18 /dev/urandom | base64 | tr '+/' '-_' >"$password_file")
fi
password=$(cat "$password_file")
setsid "$bin/slipway-server" --data-dir "$data" --listen "127.0.0.1:$port" "${scripted[@]}" >"$log" 2>&1 </dev/null &
server=$!
for _ in $(seq 1 300); do
    python3 - "$url/readyz" <<'PY' && break || true
import sys, urllib.request
try: sys.exit(0 if urllib.request.urlopen(sys.argv[1], timeout=1).status == 200 else 1)
except Exception: sys.exit(1)
PY
    kill -0 "$server" 2>/dev/null || fail "the server ended; its log says:"
    sleep 0.1
done

# A new server says the code right after it is ready.
for _ in $(seq 1 20); do
    grep -q 'set-up code' "$log" && break
    [ -s "$data/demo-ready" ] && break
    sleep 0.1
done
code=$(sed -n 's/.*set-up code[^A-Z0-9]*\([A-Z0-9-]\{8,\}\).*/\1/p' "$log" | tail -n 1)
if [ -n "$code" ] && "$bin/slipway" login "$url" --first-user --setup-code "$code" --username demo --email demo@example.com --password-stdin <<<"$password" >/dev/null 2>&1; then
    echo "first user 'demo' created with the printed set-up code"
else
    "$bin/slipway" login "$url" --username demo --password-stdin <<<"$password" || fail "could not sign in as demo"
fi

echo yes >"$data/demo-ready"

step "A sample repository with a failing test"
repo=$work/sample
cp -r config/demo/sample-repo "$repo"
git -C "$repo" init -q -b main
git -C "$repo" -c user.name=Demo -c user.email=demo@example.com add -A
git -C "$repo" -c user.name=Demo -c user.email=demo@example.com commit -qm "A small package with a failing test"
(cd "$repo" && python3 -m unittest -q 2>&1 | tail -n 12) || true

step "Delegating the task (model: $model)"
task=$("$bin/slipway" task create --repo "$repo" --model "$model" --prompt "A test fails. Find the bug, fix it, and show that all tests pass." --output json | python3 -c 'import json,sys; print(json.load(sys.stdin)["id"])')
"$bin/slipway" task follow "$task" || fail "the task did not complete"

step "The result: a commit on branch slipway/…"
(cd "$repo" && "$bin/slipway" task pull "$task")
branch=$(git -C "$repo" for-each-ref --format='%(refname:short)' 'refs/heads/slipway/*' | head -n 1)
git -C "$repo" log --oneline -n 3 "$branch"
step "The tests on that branch"
git -C "$repo" checkout -q "$branch"
(cd "$repo" && python3 -m unittest 2>&1 | tail -n 4)
step "The diff"
"$bin/slipway" task diff "$task"
step "What it cost"
"$bin/slipway" usage
step "The record"
"$bin/slipway" audit verify || fail "the audit chain does not verify"

if [ "${EXIT:-}" = 1 ]; then
    step "Stopping the server (EXIT=1)"
    stop
    exit 0
fi
rm -rf "$work"
disown "$server"
step "The server is still running"
cat <<TXT
  pages      $url/tasks/$task
  user       demo
  password   $password
  stop it    kill $server
TXT
