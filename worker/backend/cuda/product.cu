#include "worker/backend/cuda/product.h"
#include "worker/backend/cuda/product_formats.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kMaxGridX = 0x7fffffff;
constexpr int64_t kMaxTiles = 65535;
// Steps, times the number of parts, are counted in 32 bits.
constexpr int64_t kMaxCols = int64_t{1} << 28;

cudaError_t Start(const ProductArguments& a, cudaStream_t stream) {
  if (a.weight.rows < 1 || a.weight.cols < 1 || a.num_rows < 0 ||
      a.num_rows > kMaxGridX || a.weight.num_tiles() > kMaxTiles) {
    return cudaErrorInvalidValue;
  }
  const HeldFormat format = a.weight.format;
  if (a.x.format != format || a.weight.cols > kMaxCols ||
      (IsQuantized(format) && a.weight.cols % kQuantizedInputs != 0) ||
      (IsHalf(format) && a.x.group != kMatrixGroup)) {
    return cudaErrorInvalidValue;
  }
  if (a.num_rows == 0) return cudaSuccess;
  if (IsHalf(format)) return LaunchHalfProduct(a, stream);
  if (!IsQuantized(format)) return LaunchFloatProduct(a, stream);
  return a.x.group == kMatrixGroup ? LaunchQuantizedMatrixProduct(a, stream)
                                   : LaunchQuantizedProduct(a, stream);
}

}  // namespace

cudaError_t Product(const ProductArguments& arguments, cudaStream_t stream) {
  return Start(arguments, stream);
}

cudaError_t GatedProduct(ProductArguments arguments, cudaStream_t stream) {
  const int64_t rows = arguments.weight.rows;
  if (rows % 2 != 0 || rows > kMaxTiles * kTileRows) {
    return cudaErrorInvalidValue;
  }
  arguments.pair_distance = static_cast<int>(rows / 2);
  return Start(arguments, stream);
}

cudaError_t RotatedProduct(ProductArguments arguments, cudaStream_t stream) {
  const Rotation& rotation = arguments.rotation;
  const int head_dim = rotation.cache.head_dim;
  if (!CanRotateProduct(head_dim, arguments.num_rows) ||
      rotation.places == nullptr ||
      arguments.weight.rows !=
          static_cast<int64_t>(rotation.NumAllHeads()) * head_dim) {
    return cudaErrorInvalidValue;
  }
  arguments.pair_distance = head_dim / 2;
  return Start(arguments, stream);
}

}  // namespace caravan::worker::cuda
