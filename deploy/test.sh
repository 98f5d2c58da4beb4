#!/usr/bin/env bash
# Installs what the tests need, builds and runs all of them.
#   ./deploy/test.sh [PRESET]     PRESET: release (default), dev, asan, tsan or clang
set -euo pipefail
# shellcheck source=deploy/common.sh
. "$(dirname "$0")/common.sh"

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

build "$PRESET" -DCARAVAN_BUILD_TESTS=ON -DCARAVAN_BUILD_BENCHMARKS=ON
step "Compile every header alone" "A header lacks an include that its users happen to have."
cmake --build --preset "$PRESET" --target all_verify_interface_header_sets
step "Run the tests ($PRESET)" "Run one again: ctest --preset $PRESET -R NAME --output-on-failure"
ctest --preset "$PRESET"
