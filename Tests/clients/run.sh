#!/usr/bin/env bash
# Sets up the official client packages once, in .build/clients, and runs check.py with the arguments given.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${CLIENTS_VENV:-.build/clients}
if ! "$venv/bin/python" -c 'import anthropic, openai' 2>/dev/null; then
    python3 -m venv "$venv" || { echo "clients: python3 -m venv failed: apt-get install python3-venv" >&2; exit 1; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check anthropic openai \
        || { echo "clients: the anthropic and openai packages could not be installed into $venv" >&2; exit 1; }
fi
exec "$venv/bin/python" Tests/clients/check.py "$@"
