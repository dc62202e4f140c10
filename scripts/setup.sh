#!/usr/bin/env bash
# Installs what Slipway needs and this machine lacks. `setup.sh` for building and running, `setup.sh test` for the tests too,
# `setup.sh bench` for the side-by-side measurements. Idempotent; does nothing, and needs no rights, when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

command -v swift >/dev/null || fail "Swift is missing: install Swift 6.3 (swift.org/install) and put 'swift' on the PATH."
version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
case "$version" in
    6.[3-9]|6.[1-9][0-9]|[7-9].*) ;;
    *) fail "Swift $version is too old: Slipway needs Swift 6.3 or newer." ;;
esac

packages="build-essential pkg-config libcurl4-openssl-dev libpq-dev zlib1g-dev libjemalloc-dev postgresql-15 bubblewrap git python3 ca-certificates"
case "${1:-}" in
    "") ;;
    test) packages="$packages python3-venv chromium procps openssl" ;;
    bench) packages="$packages nginx-light caddy" ;;
    *) fail "unknown set '$1': it is nothing, 'test' or 'bench'." ;;
esac

# A server that root starts gives root up and runs as this user.
if [ "$(id -u)" = 0 ] && ! id slipway >/dev/null 2>&1; then
    say "making the system user 'slipway'"
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin slipway
fi

missing=""
for package in $packages; do
    case $package in
        # Any package that brings the program will do.
        nginx-light) command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$missing $package" ;;
        caddy) command -v caddy >/dev/null || missing="$missing $package" ;;
        *) dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package" ;;
    esac
done
[ -z "$missing" ] && exit 0

root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "these Debian packages are missing:$missing. Install them as root, or install sudo."
    root="sudo"
fi
say "installing:$missing"
# Slipway runs a PostgreSQL of its own: no cluster of the distribution's is created or started, nor any other service.
if ! dpkg-query -W -f='${Status}' postgresql-15 2>/dev/null | grep -q 'ok installed'; then
    $root mkdir -p /etc/postgresql-common/createcluster.d
    echo "create_main_cluster = false" | $root tee /etc/postgresql-common/createcluster.d/slipway.conf >/dev/null
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
install() { $root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends $missing >"$log" 2>&1; }
if ! install; then
    $root apt-get update >"$log" 2>&1 || { tail -n 5 "$log" >&2; fail "apt-get update failed (above)."; }
    install || { tail -n 15 "$log" >&2; fail "apt-get could not install:$missing (above)."; }
fi
rm -f "$log"
