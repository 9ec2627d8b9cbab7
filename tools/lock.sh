#!/bin/sh
# Writes requirements.lock: one list of exact versions that holds for Python 3.10-3.13 on Linux, macOS and Windows, for
# running and for developing. Versions stay as they are where they can; `tools/lock.sh --upgrade` takes the newest.
# Used as constraints, so that an install for running or with TORCH=cpu takes from it only what it needs.
set -e
cd "$(dirname "$0")/.."
.venv/bin/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-emit-index-url \
    --custom-compile-command "make lock" "$@" pyproject.toml --extra notebooks --group dev -o requirements.lock
grep -c == requirements.lock
