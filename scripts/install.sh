#!/usr/bin/env bash
# Install one hashed lock file into .venv, then the project itself. Usage: scripts/install.sh LOCK
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1
python=.venv/bin/python
if "$python" -m pip install --quiet --require-hashes -r requirements/uv.txt &&
  "$python" -m uv pip install --quiet --compile-bytecode --require-hashes -r "$lock"; then
  :
else
  echo "uv could not install the lock; using pip" >&2
  "$python" -m pip install --quiet --require-hashes -r "$lock"
fi
"$python" -m pip install --quiet --no-deps --no-build-isolation --no-index -e .
