// Products of many rows with matrices of 16-bit numbers, by NVIDIA's cuBLASLt.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_LIBRARY_PRODUCT_H_
#define CARAVAN_WORKER_BACKEND_CUDA_LIBRARY_PRODUCT_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/weight_layout.h"

namespace caravan::worker::cuda {

// What NVIDIA recommends for its largest GPUs (cuBLAS's documentation,
// cublasSetWorkspace). partition/plan/gpu_memory.cc plans it.
constexpr int64_t kLibraryWorkspaceBytes = int64_t{32} << 20;

// out(row, o) = sum over i of weight(o, i) * x(row, i), + residual(row, o).
// Sums are float32. All is on the device.
struct LibraryProductArguments {
  HeldFormat format = HeldFormat::kBFloat16;  // or kFloat16: of weight and x
  int64_t num_rows = 0;
  int64_t num_outputs = 0;
  int64_t num_inputs = 0;        // a multiple of 8
  const void* weight = nullptr;  // (num_outputs, num_inputs)
  const void* x = nullptr;       // (num_rows, num_inputs)
  float* out = nullptr;
  int64_t out_stride = 0;           // floats from a row to the next
  const float* residual = nullptr;  // like out, may be it; null: none
};

// The library chooses how to add up by the shape, so that a row's bits depend
// on how many rows are beside it. What it answered for a shape is kept, as long
// as this lives: there are as many as numbers of rows times matrices of
// different shapes. Enqueues on the context's stream. One thread.
class LibraryProduct final {
 public:
  // Takes the workspace. kResourceExhausted: no memory; kInternal: the library
  // does not start.
  static absl::StatusOr<std::unique_ptr<LibraryProduct>> Create(
      DeviceContext& context);
  ~LibraryProduct();
  LibraryProduct(const LibraryProduct&) = delete;
  LibraryProduct& operator=(const LibraryProduct&) = delete;

  // False, and nothing is enqueued: the library has no way for this shape, an
  // address is no multiple of 16, or it would have to be asked while a graph is
  // recorded, which some of its versions cannot bear. Takes no memory of the
  // device.
  absl::StatusOr<bool> Multiply(const LibraryProductArguments& arguments);

 private:
  class Impl;
  explicit LibraryProduct(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_LIBRARY_PRODUCT_H_
