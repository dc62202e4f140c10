#!/usr/bin/env bash
# Sets up the official client packages once and runs check.py with the arguments given.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=$(Tests/clients/setup.sh)
exec "$venv/bin/python" Tests/clients/check.py "$@"
