#!/usr/bin/env bash
# Writes requirements.lock: every package that pyproject.toml and its dev extra need, pinned.
# pip resolves without installing; the local build tag of torch (+cpu) is left off, so that the same
# lock serves CPU and CUDA machines.
set -euo pipefail
python="${1:-python3.11}"
cd "$(dirname "$0")/.."
report="$(mktemp)"
trap 'rm -f "$report"' EXIT
"$python" -m pip install --quiet --disable-pip-version-check --dry-run --ignore-installed \
    --report "$report" '.[dev]' hatchling editables
{
    echo "# Written by 'make lock' from pyproject.toml. Do not edit."
    "$python" - "$report" <<'PY'
import json
import sys

packages = json.load(open(sys.argv[1]))["install"]
pins = {p["metadata"]["name"].lower(): p["metadata"]["version"].split("+")[0] for p in packages}
for name in sorted(pins.keys() - {"srlm"}):
    print(f"{name}=={pins[name]}")
PY
} > requirements.lock
wc -l requirements.lock
