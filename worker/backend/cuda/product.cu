#include "worker/backend/cuda/product.h"
#include "worker/backend/cuda/product_formats.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kMaxGridX = 0x7fffffff;
constexpr int64_t kMaxTiles = 65535;
// Steps, times the number of parts, are counted in 32 bits.
constexpr int64_t kMaxCols = int64_t{1} << 28;

cudaError_t Start(const ProductArguments& a, bool gated, cudaStream_t stream) {
  if (a.weight.rows < 1 || a.weight.cols < 1 || a.num_rows < 0 ||
      a.num_rows > kMaxGridX || a.weight.num_tiles() > kMaxTiles ||
      (gated && a.weight.rows % 2 != 0)) {
    return cudaErrorInvalidValue;
  }
  const HeldFormat format = a.weight.format;
  if (a.x.format != format || a.weight.cols > kMaxCols ||
      (IsQuantized(format) && a.weight.cols % kQuantizedInputs != 0) ||
      (IsHalf(format) && a.x.group != kMatrixGroup)) {
    return cudaErrorInvalidValue;
  }
  if (a.num_rows == 0) return cudaSuccess;
  if (IsHalf(format)) return LaunchHalfProduct(a, gated, stream);
  if (!IsQuantized(format)) return LaunchFloatProduct(a, gated, stream);
  return a.x.group == kMatrixGroup
             ? LaunchQuantizedMatrixProduct(a, gated, stream)
             : LaunchQuantizedProduct(a, gated, stream);
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
