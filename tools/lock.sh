#!/usr/bin/env bash
# Writes the two lock files from pyproject.toml, and those of the published clients (tests/clients). `tools/lock.sh` keeps every pin that
# still fits; `tools/lock.sh --upgrade` takes the newest of all; npm's lock is written anew by `npm install --package-lock-only` there. The locks hold for any CPython from 3.11 on and any Linux, and name no place to download from.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"

compile() {
    "$scratch/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@"
}

# The whole set first, then the runtime as a part of it, so that both hold the same versions.
compile pyproject.toml --group dev --output-file requirements-dev.lock "$@"
compile pyproject.toml --constraints requirements-dev.lock --output-file requirements.lock "$@"
clients=tests/clients
compile $clients/requirements.in --output-file $clients/requirements.lock "$@"
compile $clients/collections.in --no-deps --output-file $clients/collections.lock "$@"

for lock in requirements.lock requirements-dev.lock $clients/requirements.lock $clients/collections.lock; do
    if grep -n '://' "$lock"; then
        echo "lock: $lock names a place to download from" >&2
        exit 1
    fi
    sed -i -e "s/ ; implementation_name == 'cpython' and sys_platform == 'linux'//" \
        -e "1i # Written by \`make lock\`; install with: pip install --require-hashes -r $lock" "$lock"
done
