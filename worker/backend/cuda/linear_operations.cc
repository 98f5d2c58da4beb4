#include "worker/backend/cuda/linear_operations.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/backend/cuda/embed.h"

namespace caravan::worker::cuda {
namespace {

static_assert(kRowsAtOnce % kMatrixGroup == 0);

// Of a prepared row of halves, with its factor; others take no more.
int64_t RowBytes(int64_t cols) {
  static_assert(kHalfPiece % kFloatPiece == 0);
  return (RoundUp(cols, kHalfPiece) + 1) * static_cast<int64_t>(sizeof(float));
}

int64_t RowsOfChunk(int64_t first, int64_t num_rows) {
  return std::min(kRowsAtOnce, num_rows - first);
}

}  // namespace

const CudaWeight& AsCudaWeight(const Weight& weight) {
  const auto* ours = dynamic_cast<const CudaWeight*>(&weight);
  CARAVAN_CHECK(ours != nullptr);
  return *ours;
}

void CheckFloats(const Tensor& tensor, int64_t rows, int64_t cols) {
  CARAVAN_CHECK(tensor.dtype == DType::kFloat32);
  CARAVAN_CHECK(tensor.rows == rows);
  CARAVAN_CHECK(tensor.cols == cols);
}

absl::Status LinearOperations::Reserve(const CudaWeight& weight) {
  const int64_t bytes = kRowsAtOnce * RowBytes(weight.cols());
  if (bytes <= prepared_.bytes()) return absl::OkStatus();
  CARAVAN_RETURN_IF_ERROR(context_.Wait());
  CARAVAN_ASSIGN_OR_RETURN(prepared_, DeviceMemory::Create(bytes));
  return absl::OkStatus();
}

absl::Status LinearOperations::Reserve(const StepLimits& limits) {
  CARAVAN_RETURN_IF_ERROR(
      ids_.Reserve(limits.max_rows * static_cast<int64_t>(sizeof(int32_t))));
  return rows_.Reserve(limits.max_logit_rows *
                       static_cast<int64_t>(sizeof(int64_t)));
}

absl::StatusOr<ProductInput> LinearOperations::Prepare(
    const Tensor& x, const Norm* norm, const int64_t* indices,
    const CudaWeight& weight) {
  CARAVAN_CHECK(x.rows <= kRowsAtOnce);
  CARAVAN_CHECK(x.cols == weight.cols());
  if (norm != nullptr) CheckFloats(norm->weight, 1, x.cols);
  const HeldFormat format = weight.view().format;
  ProductInput input = {.format = format, .group = GroupFor(format, x.rows)};
  if (IsQuantized(format)) {
    const int64_t blocks = kRowsAtOnce * (x.cols / kQuantizedInputs);
    input.scales = prepared_.As<float2>();
    input.values = reinterpret_cast<const int8_t*>(input.scales + blocks);
  } else if (IsHalf(format)) {
    input.factors = prepared_.As<float>();
    input.halves =
        reinterpret_cast<const uint16_t*>(input.factors + kRowsAtOnce);
  } else {
    input.floats = prepared_.As<float>();
  }
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      PrepareRows({.x = x.floats(),
                   .cols = x.cols,
                   .num_rows = x.rows,
                   .indices = indices,
                   .norm = norm == nullptr ? nullptr : norm->weight.floats(),
                   .epsilon = norm == nullptr ? 0 : norm->epsilon,
                   .to = input},
                  context_.stream()),
      "PrepareRows"));
  return input;
}

absl::Status LinearOperations::EmbedRows(const CudaWeight& table,
                                         int64_t first_id,
                                         absl::Span<const int32_t> ids,
                                         const Tensor& out) {
  CheckFloats(out, static_cast<int64_t>(ids.size()), table.cols());
  CARAVAN_ASSIGN_OR_RETURN(const int32_t* const device_ids,
                           ids_.UploadArray(ids));
  return CudaStatus(Embed({.table = table.view(),
                           .first_id = first_id,
                           .ids = device_ids,
                           .num_ids = out.rows,
                           .out = out.floats()},
                          context_.stream()),
                    "Embed");
}

absl::Status LinearOperations::Linear(const Tensor& x, const CudaWeight& weight,
                                      const Tensor* residual,
                                      const Tensor& out) {
  CheckFloats(x, out.rows, weight.cols());
  CheckFloats(out, x.rows, weight.rows());
  if (residual != nullptr) CheckFloats(*residual, out.rows, out.cols);
  for (int64_t first = 0; first < x.rows; first += kRowsAtOnce) {
    const int64_t num_rows = RowsOfChunk(first, x.rows);
    CARAVAN_ASSIGN_OR_RETURN(
        const ProductInput input,
        Prepare(x.Rows(first, num_rows), nullptr, nullptr, weight));
    CARAVAN_RETURN_IF_ERROR(CudaStatus(
        Product({.weight = weight.view(),
                 .x = input,
                 .num_rows = num_rows,
                 .out = out.Rows(first, num_rows).floats(),
                 .out_stride = out.cols,
                 .split = out.cols,
                 .residual = residual == nullptr
                                 ? nullptr
                                 : residual->Rows(first, num_rows).floats(),
                 .residual_stride = out.cols},
                context_.stream()),
        "Product"));
  }
  return absl::OkStatus();
}

absl::Status LinearOperations::GatedMlp(const Tensor& x, const Norm& norm,
                                        const CudaWeight& gate_up,
                                        const Tensor& out) {
  CARAVAN_CHECK(gate_up.rows() % 2 == 0);
  CheckFloats(x, out.rows, gate_up.cols());
  CheckFloats(out, x.rows, gate_up.rows() / 2);
  for (int64_t first = 0; first < x.rows; first += kRowsAtOnce) {
    const int64_t num_rows = RowsOfChunk(first, x.rows);
    CARAVAN_ASSIGN_OR_RETURN(
        const ProductInput input,
        Prepare(x.Rows(first, num_rows), &norm, nullptr, gate_up));
    CARAVAN_RETURN_IF_ERROR(
        CudaStatus(GatedProduct({.weight = gate_up.view(),
                                 .x = input,
                                 .num_rows = num_rows,
                                 .out = out.Rows(first, num_rows).floats(),
                                 .out_stride = out.cols,
                                 .split = out.cols},
                                context_.stream()),
                   "GatedProduct"));
  }
  return absl::OkStatus();
}

absl::Status LinearOperations::Head(const Tensor& x,
                                    absl::Span<const int64_t> rows,
                                    const Norm& norm, const CudaWeight& head,
                                    const Tensor& logits) {
  const int64_t all_rows = static_cast<int64_t>(rows.size());
  CheckFloats(x, x.rows, head.cols());
  CheckFloats(logits, all_rows, head.rows());
  for (const int64_t row : rows) CARAVAN_CHECK(row >= 0 && row < x.rows);
  CARAVAN_ASSIGN_OR_RETURN(const int64_t* const indices,
                           rows_.UploadArray(rows));
  for (int64_t first = 0; first < all_rows; first += kRowsAtOnce) {
    const int64_t num_rows = RowsOfChunk(first, all_rows);
    const Tensor chosen = {x.data, x.dtype, num_rows, x.cols};
    CARAVAN_ASSIGN_OR_RETURN(const ProductInput input,
                             Prepare(chosen, &norm, indices + first, head));
    CARAVAN_RETURN_IF_ERROR(
        CudaStatus(Product({.weight = head.view(),
                            .x = input,
                            .num_rows = num_rows,
                            .out = logits.Rows(first, num_rows).floats(),
                            .out_stride = logits.cols,
                            .split = logits.cols},
                           context_.stream()),
                   "Product"));
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker::cuda
