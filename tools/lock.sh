#!/bin/sh
# Writes requirements.lock: one list of exact versions that holds for Python 3.10-3.13 on Linux, macOS and Windows.
# Used as constraints on requirements.txt, so that a CPU-only install does not pull the CUDA packages named in it.
set -e
cd "$(dirname "$0")/.."
.venv/bin/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-emit-index-url \
    --custom-compile-command "make lock" --upgrade requirements.txt -o requirements.lock
grep -c == requirements.lock
