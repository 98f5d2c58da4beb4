#!/usr/bin/env bash
# Collects what run.sh needs on a machine with a GPU into one folder, with the libraries that such a machine may lack.
#   tests/gpu/bundle.sh FOLDER [PRESET]       after the build of PRESET (release)
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 1 ] || { sed -n '2,3s/^# //p' "$0"; exit 2; }
folder="$1"
build="build/${2:-release}"
mkdir -p "$folder/bin" "$folder/lib"
programs=("$build"/bin/{caravan,caravan-engine,caravan-engine-cuda,gpu_bench}
  "$build"/gpu/{backend_gpu_test,golden_gpu,golden_nccl_gpu_rank,nccl_gpu_rank})
for program in "${programs[@]}"; do
  strip -o "$folder/bin/$(basename "$program")" "$program"
done
# Not glibc, which must be the machine's own, nor NCCL and cuBLASLt, which are large and there with PyTorch.
ldd "${programs[@]}" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
  grep -vE '/(libc|libm|libdl|libpthread|librt|libresolv|libnccl|libcublasLt)\.so' |
  while read -r library; do cp -L "$library" "$folder/lib/"; done
du -sh "$folder"
