#!/usr/bin/env bash
# The tests that need a GPU, on a machine that has one.
#   tests/gpu/run.sh FOLDER                   made by bundle.sh
# Uses the first GPU only: ranks of one test are told apart by NCCL_HOSTID, so that NCCL joins them by sockets.
set -uo pipefail
cd "$(dirname "$0")/../.."
[ $# = 1 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
bin="$(realpath "$1")/bin"
nccl="$(python3 -c 'import glob, site
paths = [p for s in site.getsitepackages() for p in glob.glob(s + "/nvidia/nccl/lib")]
print(paths[0] if paths else "")' 2>/dev/null)"
export LD_LIBRARY_PATH="$(realpath "$1")/lib:${nccl}:${LD_LIBRARY_PATH:-}"
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
run "backend conformance" "$bin/backend_gpu_test" --gtest_brief=1
run "NCCL, ranks as processes" env CARAVAN_TEST_NCCL_HOSTS=1 \
  python3 tests/worker/comm/nccl/nccl_processes_test.py "$bin/nccl_gpu_rank"
run "serving on one GPU" python3 tests/gpu/serve_gpu_test.py "$bin/caravan"
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    run "compute-sanitizer $tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$bin/backend_gpu_test" --gtest_brief=1 --gtest_filter='*Attention*:*Linear*'
  done
fi
printf '\n%s\n' "$([ ${#failed[@]} = 0 ] && echo 'all passed' || printf 'failed: %s; ' "${failed[@]}")"
exit ${#failed[@]}
