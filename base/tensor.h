// Views of matrices in a device's memory. A view owns nothing.
#ifndef CARAVAN_BASE_TENSOR_H_
#define CARAVAN_BASE_TENSOR_H_

#include <cstdint>

#include "base/dtype.h"

namespace caravan {

// Row-major and dense: (rows, cols). The memory belongs to a Buffer that must
// outlive the view; it is the memory of whatever device the Backend drives.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;

  int64_t count() const { return rows * cols; }
  int64_t bytes() const { return count() * ByteSize(dtype); }

  // Rows [first, first + num_rows).
  Tensor Rows(int64_t first, int64_t num_rows) const {
    return {static_cast<char*>(data) + first * cols * ByteSize(dtype), dtype,
            num_rows, cols};
  }
  // For host memory of kFloat32.
  float* floats() const { return static_cast<float*>(data); }
};

}  // namespace caravan

#endif  // CARAVAN_BASE_TENSOR_H_
