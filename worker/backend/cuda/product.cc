#include "worker/backend/cuda/product.h"

#include "worker/backend/cuda/product_formats.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kMaxGridX = 0x7fffffff;
constexpr int64_t kMaxTiles = 65535;

cudaError_t Start(const ProductArguments& a, bool gated, cudaStream_t stream) {
  if (a.weight.rows < 1 || a.weight.cols < 1 || a.num_rows < 0 ||
      a.num_rows > kMaxGridX || a.weight.num_tiles() > kMaxTiles ||
      (gated && a.weight.rows % 2 != 0)) {
    return cudaErrorInvalidValue;
  }
  const bool quantized = IsQuantized(a.weight.format);
  if (quantized ? a.weight.cols % kQuantizedInputs != 0
                : a.x.floats == nullptr) {
    return cudaErrorInvalidValue;
  }
  if (a.num_rows == 0) return cudaSuccess;
  return quantized ? LaunchQuantizedProduct(a, gated, stream)
                   : LaunchPlainProduct(a, gated, stream);
}

}  // namespace

cudaError_t Product(const ProductArguments& arguments, cudaStream_t stream) {
  return Start(arguments, /*gated=*/false, stream);
}

cudaError_t GatedProduct(const ProductArguments& arguments,
                         cudaStream_t stream) {
  return Start(arguments, /*gated=*/true, stream);
}

}  // namespace caravan::worker::cuda
