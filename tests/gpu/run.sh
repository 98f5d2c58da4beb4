#!/usr/bin/env bash
# The tests and measurements that need a GPU, on a machine that has one.
#   tests/gpu/run.sh FOLDER [tests|speed]     FOLDER: made by bundle.sh; both where neither is said
# Uses the first GPU only: ranks of one test are told apart by NCCL_HOSTID, so that NCCL joins them by sockets.
set -uo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
bin="$(realpath "$1")/bin"
# NVIDIA's libraries as PyTorch brings them, or the toolkit's.
nvidia="$(python3 -c 'import glob, site
print(":".join(p for s in site.getsitepackages() for p in glob.glob(s + "/nvidia/*/lib")))' 2>/dev/null)"
export LD_LIBRARY_PATH="$(realpath "$1")/lib:${nvidia}:${CUDA_HOME:-/usr/local/cuda}/lib64:${LD_LIBRARY_PATH:-}"
export NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-=lo}" NCCL_DEBUG="${NCCL_DEBUG:-WARN}"

failed=()
run() {
  local name="$1"
  shift
  printf '\n==> %s\n' "$name"
  local begin=$SECONDS
  if "$@"; then
    echo "$name: ok ($((SECONDS - begin)) s)"
  else
    failed+=("$name")
    echo "$name: FAILED ($((SECONDS - begin)) s)"
  fi
}

if ! "$bin/caravan-engine-cuda" --devices; then
  echo "no GPU here: the line above says why"
  exit 77
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv || true
run_tests() {
  run "backend conformance" "$bin/backend_gpu_test" --gtest_brief=1
  run "small models against transformers" "$bin/golden_gpu" tests/goldens/models/{multi_head,grouped_8_to_1,heads_6_kv_3}
  run "true shapes against transformers" python3 tests/gpu/true_shape_golden.py "$bin/golden_gpu"
  run "NCCL, ranks as processes" env CARAVAN_TEST_NCCL_HOSTS=1 \
    python3 tests/worker/comm/nccl/nccl_processes_test.py "$bin/nccl_gpu_rank"
  run "tensor and pipeline parallelism against transformers" env CARAVAN_TEST_NCCL_HOSTS=1 \
    python3 tests/worker/engine/golden_nccl_test.py "$bin/golden_nccl_gpu_rank"
  run "serving on one GPU" python3 tests/gpu/serve_gpu_test.py "$bin/caravan"
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
      run "compute-sanitizer $tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
        "$bin/backend_gpu_test" --gtest_brief=1 --gtest_filter='*Attention*:*Linear*'
    done
  fi
}

run_speed() {
  run "7B in bfloat16" "$bin/gpu_bench" llama-2-7b --quantization none
  run "7B in bfloat16, deterministic" "$bin/gpu_bench" llama-2-7b --quantization none --deterministic
  run "7B in 4 bits" "$bin/gpu_bench" llama-2-7b --quantization q4
  run "70B in 4 bits" "$bin/gpu_bench" llama-2-70b --quantization q4
  run "70B in 8 bits" "$bin/gpu_bench" llama-2-70b --quantization q8
}

case "${2:-all}" in
  tests) run_tests ;;
  speed) run_speed ;;
  all) run_tests; run_speed ;;
  *) sed -n '2,4s/^# //p' "$0"; exit 2 ;;
esac
printf '\n%s\n' "$([ ${#failed[@]} = 0 ] && echo 'all passed' || printf 'failed: %s; ' "${failed[@]}")"
exit ${#failed[@]}
