#!/usr/bin/env bash
# Everything that is measured on a GPU, in one command, in under ten minutes and with no network:
#
#     bash benchmarks/gpu.sh [FOLDER] [quick]
#
# FOLDER (default benchmarks/results) gets gpu_*.json and gpu.log. `quick` does as much as a CPU can in a minute or
# two, to test this script. Its Python is $PYTHON, else that of `make`, else the first one on the path. Each part runs
# whatever became of the others, within a time limit of its own and within what is left of GPU_SECONDS (default 570)
# for the whole. Exit code 1: a test fails, or trainings differ that must come out the same (resumed and undisturbed, on
# a second device and the first, recorded and eager), or these were not compared to the end.
set -u
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python}
[ -n "${PYTHON:-}" ] || [ ! -x .venv/bin/python ] || python=.venv/bin/python
"$python" -c 'import torch' 2> /dev/null || {
    echo "error: $python cannot import torch; activate the environment of this project or set PYTHON" >&2
    exit 2
}
out=${1:-benchmarks/results}
quick=${2:-}
mkdir -p "$out"
log=$out/gpu.log
: > "$log"
export PYTHONUNBUFFERED=1 PYTHONPATH=${PYTHONPATH:-}:.
total=${GPU_SECONDS:-570}
summary=()
failed=0

part() { # NAME SECONDS COMMAND…
    local name=$1 limit=$2 begun=$SECONDS code
    shift 2
    # Ten seconds stay for the tables.
    if [ "$((total - SECONDS - 10))" -lt "$limit" ]; then limit=$((total - SECONDS - 10)); fi
    if [ "$limit" -lt 10 ]; then
        summary+=("$name: not begun, no time is left")
        case $name in tests | exact) failed=1 ;; esac
        return
    fi
    echo "== $name: $*" | tee -a "$log"
    timeout -k 5 "$limit" "$@" > "$out/part.log" 2>&1
    code=$?
    cat "$out/part.log" >> "$log"
    summary+=("$name: exit code $code after $((SECONDS - begun)) s")
    # A benchmark ends with 1 where a requirement is not met; the table says which. These two say what is wrong.
    case $name in tests | exact) [ "$code" = 0 ] || { failed=1; [ "$code" -gt 1 ] || tail -n 25 "$out/part.log"; } ;; esac
    if [ "$code" -gt 1 ]; then tail -n 25 "$out/part.log"; fi
    rm -f "$out/part.log"
}

if [ "$quick" = quick ]; then
    common=(--device cpu)
    few=(--images 64 --seconds 0.2)
    throughput=(--backbones resnet18 --sizes 32 --batch 8 --rounds 1 --extent 64 48 --loaders 1 --threads 1)
    methods=(full_finetune linear_probe)
    packing=(--sizes 28 --trainings 1 2 --batch 8)
    card=(--quick --repeats 3)
    exact=(--size 8 --epochs 2 --methods bn_affine)
else
    common=(--device cuda)
    few=()
    throughput=(--backbones resnet50 --sizes 224 --images 384 --rounds 3 --seconds 0.8)
    methods=(full_finetune lora_c gpaf gpaf:execution=compiled gpaf:execution=fused
        bn_affine linear_probe conv_adapter metalr curvature_tuning)
    packing=(--images 256 --seconds 2)
    card=()
    exact=()
    nvidia-smi >> "$log" 2>&1
fi

mapfile -t files < <(grep -rl 'mark.cuda' tests --include='test_*.py')
part tests 150 "$python" -m pytest -m cuda -q -rs -p no:cacheprovider "${files[@]}"
part exact 120 "$python" -m benchmarks.exact "${common[@]}" "${exact[@]}" --out "$out/gpu_exact.json"
part card 90 "$python" -m benchmarks.card "${common[@]}" "${card[@]}" --out "$out/gpu_card.json"
part throughput 240 "$python" -m benchmarks.throughput "${common[@]}" "${few[@]}" --synthetic "${throughput[@]}" \
    --methods "${methods[@]}" --out "$out/gpu_throughput.json"
part packing 110 "$python" -m benchmarks.packing "${common[@]}" "${few[@]}" "${packing[@]}" --out "$out/gpu_packing.json"
if command -v nvidia-cuda-mps-control > /dev/null && [ "$quick" != quick ]; then
    # With a daemon of our own, in a folder of our own: nobody else's settings change.
    CUDA_MPS_PIPE_DIRECTORY=$(mktemp -d) CUDA_MPS_LOG_DIRECTORY=$(mktemp -d)
    export CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
    part "MPS starts" 10 nvidia-cuda-mps-control -d
    part "packing with MPS" 70 "$python" -m benchmarks.packing "${common[@]}" "${packing[@]}" --sizes 64 --out "$out/gpu_packing_mps.json"
    echo quit | timeout 10 nvidia-cuda-mps-control >> "$log" 2>&1
    unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
fi
if [ "$quick" != quick ]; then
    part compiled 100 "$python" -m benchmarks.throughput "${common[@]}" --synthetic --backbones resnet50 --sizes 224 \
        --images 128 --rounds 3 --seconds 0.8 --methods full_finetune{,+compiled} gpaf{,+compiled} \
        --out "$out/gpu_compiled.json"
fi

echo
echo "=== $(date -u +%FT%TZ), $SECONDS s"
printf '%s\n' "${summary[@]}"
"$python" -m benchmarks.gpu_tables "$out" || failed=1
exit "$failed"
