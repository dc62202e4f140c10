#!/usr/bin/env bash
# Puts the official client packages (requirements.txt) into a virtual environment outside of git, once, and prints its folder.
# CLIENTS_VENV names another folder. Packages come from the index that this machine's pip is configured for.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${CLIENTS_VENV:-.build/clients-venv}
fail() {
    printf 'clients: %s\n' "$*" >&2
    exit 1
}
wanted=$( (cat Tests/clients/requirements.txt; python3 -c 'import sys; print(sys.version, sys.prefix)') | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    python3 -m venv "$venv" >"$log" 2>&1 \
        || fail "python3 cannot make a virtual environment in $venv. Run: apt-get install python3-venv"
    if ! "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement Tests/clients/requirements.txt >"$log" 2>&1; then
        tail -n 3 "$log" >&2
        rm -rf "$venv"
        fail "pip could not install the anthropic, openai and mcp packages (above): this test needs a network, or an index that pip is configured for."
    fi
    echo "$wanted" >"$venv/.installed"
fi
echo "$venv"
