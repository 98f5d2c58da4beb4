#!/usr/bin/env bash
# Installs what the tests need, builds and runs all of them.
#   ./deploy/test.sh [--gpu] [PRESET]     PRESET: release (default), dev, asan, tsan or clang
# --gpu: also run CUDA code, on the emulated device; NVIDIA's headers come from PyPI (0.7 GB) if there is no toolkit.
set -euo pipefail
# shellcheck source=deploy/common.sh
. "$(dirname "$0")/common.sh"

GPU=no
if [ "${1:-}" = --gpu ]; then
  GPU=yes
  shift
fi
PRESET="${1:-release}"
install_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
if [ "$PRESET" = clang ]; then install_packages clang-19 clang-tidy-19 libclang-rt-19-dev; fi
fetch_model
export CARAVAN_TEST_GGUF="$MODEL"

step "Make the Python environment of the tests" "It comes from PyPI with pip: see tests/requirements.txt."
if ! cmp -s tests/requirements.txt build/python/requirements.txt; then
  python3 -m venv build/python
  build/python/bin/pip install -q --disable-pip-version-check -r tests/requirements.txt
  cp tests/requirements.txt build/python/
fi
export CARAVAN_TEST_PYTHON="$PWD/build/python/bin/python"

OPTIONS=(-DCARAVAN_BUILD_TESTS=ON -DCARAVAN_BUILD_BENCHMARKS=ON)
if [ "$GPU" = yes ] && [ ! -e "${CUDA_HOME:-/usr/local/cuda}/include/cuda_runtime.h" ]; then
  step "Fetch NVIDIA's headers (0.7 GB)" "They come from PyPI with pip: see tests/requirements-gpu.txt."
  build/python/bin/pip install -q --disable-pip-version-check --no-deps -r tests/requirements-gpu.txt
  NVIDIA="$(echo "$PWD"/build/python/lib/python3*/site-packages/nvidia)"
  OPTIONS+=("-DCARAVAN_CUDA_INCLUDE_DIRS=$NVIDIA/cu13/include;$NVIDIA/nccl/include")
fi
build "$PRESET" "${OPTIONS[@]}"
step "Compile every header alone" "A header lacks an include that its users happen to have."
cmake --build --preset "$PRESET" --target all_verify_interface_header_sets
step "Run the tests ($PRESET)" "Run one again: ctest --preset $PRESET -R NAME --output-on-failure"
ctest --preset "$PRESET"
