#include "worker/backend/cuda/linear_operations.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/backend/cuda/embed.h"
#include "worker/backend/cuda/silu_multiply.h"

namespace caravan::worker::cuda {
namespace {

static_assert(kRowsAtOnce % kMatrixGroup == 0);

// Of a prepared row of halves, with its factor; others take no more.
int64_t RowBytes(int64_t cols) {
  static_assert(kHalfPiece % kFloatPiece == 0);
  return (RoundUp(cols, kHalfPiece) + 1) * static_cast<int64_t>(sizeof(float));
}

constexpr int64_t kFloatBytes = sizeof(float);
// Of the outputs whose gates are made at a time, so that the next ones' weights
// and outputs lie at multiples of what the library wants.
constexpr int64_t kGateAlignment = 32;
static_assert(kGateBytes / (kRowsAtOnce * kFloatBytes) >= kGateAlignment);

// Outputs [begin, end) of a product with rows that are rounded, to `out`.
LibraryProductArguments PartOf(const ProductArguments& product,
                               const uint16_t* x, int64_t begin, int64_t end) {
  const WeightView& weight = product.weight;
  const int64_t row_bytes = weight.num_units() * kUnitBytes;
  return {.format = weight.format,
          .num_rows = product.num_rows,
          .num_outputs = end - begin,
          .num_inputs = weight.num_units() * UnitInputs(weight.format),
          .weight =
              static_cast<const std::byte*>(weight.values) + begin * row_bytes,
          .x = x,
          .out = product.out,
          .out_stride = product.out_stride};
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
  if (weight.view().row_major && least_library_rows_ > 0 &&
      library_ == nullptr) {
    CARAVAN_ASSIGN_OR_RETURN(gates_, DeviceMemory::Create(kGateBytes));
    CARAVAN_ASSIGN_OR_RETURN(library_, LibraryProduct::Create(context_));
  }
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

absl::Status LinearOperations::Enqueue(const ProductRows& rows,
                                       const ProductInput& to) {
  const Tensor& x = rows.x;
  CARAVAN_CHECK(x.rows <= kRowsAtOnce);
  const Norm* const norm = rows.norm;
  if (norm != nullptr) CheckFloats(norm->weight, 1, x.cols);
  return CudaStatus(
      PrepareRows({.x = x.floats(),
                   .cols = x.cols,
                   .num_rows = x.rows,
                   .indices = rows.indices,
                   .norm = norm == nullptr ? nullptr : norm->weight.floats(),
                   .epsilon = norm == nullptr ? 0 : norm->epsilon,
                   .to = to},
                  context_.stream()),
      "PrepareRows");
}

absl::StatusOr<ProductInput> LinearOperations::Prepare(const ProductRows& rows,
                                                       HeldFormat format) {
  ProductInput input = {.format = format,
                        .group = GroupFor(format, rows.x.rows)};
  if (IsQuantized(format)) {
    const int64_t blocks = kRowsAtOnce * (rows.x.cols / kQuantizedInputs);
    input.scales = prepared_.As<float2>();
    input.values = reinterpret_cast<const int8_t*>(input.scales + blocks);
  } else if (IsHalf(format)) {
    input.factors = prepared_.As<float>();
    input.halves =
        reinterpret_cast<const uint16_t*>(input.factors + kRowsAtOnce);
  } else {
    input.floats = prepared_.As<float>();
  }
  CARAVAN_RETURN_IF_ERROR(Enqueue(rows, input));
  return input;
}

absl::StatusOr<const uint16_t*> LinearOperations::PrepareRounded(
    const ProductRows& rows, HeldFormat format) {
  const ProductInput input = {.format = format,
                              .group = kMatrixGroup,
                              .rounded = prepared_.As<uint16_t>()};
  CARAVAN_RETURN_IF_ERROR(Enqueue(rows, input));
  return input.rounded;
}

bool LinearOperations::UsesLibrary(const ProductArguments& product) const {
  return library_ != nullptr && product.weight.row_major &&
         product.num_rows >= least_library_rows_;
}

absl::StatusOr<bool> LinearOperations::MultiplyByLibrary(
    const ProductRows& rows, const ProductArguments& product) {
  CARAVAN_ASSIGN_OR_RETURN(const uint16_t* const x,
                           PrepareRounded(rows, product.weight.format));
  // What is added may be where it goes: nothing may follow that could fail.
  CARAVAN_CHECK(product.residual == nullptr ||
                (product.split == product.weight.rows &&
                 product.residual_stride == product.out_stride));
  LibraryProductArguments part = PartOf(product, x, 0, product.split);
  part.residual = product.residual;
  CARAVAN_ASSIGN_OR_RETURN(const bool done, library_->Multiply(part));
  if (!done || product.split == product.weight.rows) return done;
  part = PartOf(product, x, product.split, product.weight.rows);
  part.out = product.second;
  part.out_stride = product.second_stride;
  return library_->Multiply(part);
}

absl::StatusOr<bool> LinearOperations::MultiplyGatedByLibrary(
    const ProductRows& rows, const ProductArguments& product) {
  const int64_t num_outputs = product.weight.rows / 2;
  CARAVAN_ASSIGN_OR_RETURN(const uint16_t* const x,
                           PrepareRounded(rows, product.weight.format));
  CARAVAN_ASSIGN_OR_RETURN(
      bool done,
      library_->Multiply(PartOf(product, x, num_outputs, product.weight.rows)));
  const int64_t most = gates_.bytes() / (product.num_rows * kFloatBytes) /
                       kGateAlignment * kGateAlignment;
  for (int64_t first = 0; done && first < num_outputs; first += most) {
    const int64_t end = std::min(first + most, num_outputs);
    LibraryProductArguments gate = PartOf(product, x, first, end);
    gate.out = gates_.As<float>();
    gate.out_stride = end - first;
    CARAVAN_ASSIGN_OR_RETURN(done, library_->Multiply(gate));
    if (!done) break;
    CARAVAN_RETURN_IF_ERROR(
        CudaStatus(SiluMultiply({.gate = gate.out,
                                 .out = product.out + first,
                                 .out_stride = product.out_stride,
                                 .num_rows = product.num_rows,
                                 .num_cols = end - first},
                                context_.stream()),
                   "SiluMultiply"));
  }
  return done;
}

absl::Status LinearOperations::Multiply(const ProductRows& rows,
                                        const CudaWeight& weight,
                                        ProductArguments product, bool gated) {
  CARAVAN_CHECK(rows.x.cols == weight.cols());
  product.weight = weight.view();
  product.num_rows = rows.x.rows;
  if (UsesLibrary(product)) {
    CARAVAN_ASSIGN_OR_RETURN(const bool done,
                             gated ? MultiplyGatedByLibrary(rows, product)
                                   : MultiplyByLibrary(rows, product));
    if (done) return absl::OkStatus();
  }
  CARAVAN_ASSIGN_OR_RETURN(product.x, Prepare(rows, product.weight.format));
  return gated ? CudaStatus(GatedProduct(product, context_.stream()),
                            "GatedProduct")
               : CudaStatus(Product(product, context_.stream()), "Product");
}

bool LinearOperations::CanRotate(const CudaWeight& weight, int64_t num_rows,
                                 int64_t head_dim) const {
  return CanRotateProduct(head_dim, num_rows) &&
         !UsesLibrary({.weight = weight.view(), .num_rows = num_rows});
}

absl::Status LinearOperations::MultiplyRotated(const ProductRows& rows,
                                               const CudaWeight& weight,
                                               ProductArguments product) {
  CARAVAN_CHECK(rows.x.cols == weight.cols());
  product.weight = weight.view();
  product.num_rows = rows.x.rows;
  CARAVAN_ASSIGN_OR_RETURN(product.x, Prepare(rows, product.weight.format));
  return CudaStatus(RotatedProduct(product, context_.stream()),
                    "RotatedProduct");
}

absl::Status LinearOperations::EmbedRows(const CudaWeight& table,
                                         int64_t first_id,
                                         const EmbedTokens& tokens,
                                         const Tensor& out) {
  CheckFloats(out, static_cast<int64_t>(tokens.ids.size()), table.cols());
  CARAVAN_ASSIGN_OR_RETURN(const int32_t* const device_ids,
                           BringIds(tokens.ids));
  return CudaStatus(Embed({.table = table.view(),
                           .first_id = first_id,
                           .ids = device_ids,
                           .num_ids = out.rows,
                           .slots = tokens.slots,
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
    CARAVAN_RETURN_IF_ERROR(
        Multiply({.x = x.Rows(first, num_rows)}, weight,
                 {.out = out.Rows(first, num_rows).floats(),
                  .out_stride = out.cols,
                  .split = out.cols,
                  .residual = residual == nullptr
                                  ? nullptr
                                  : residual->Rows(first, num_rows).floats(),
                  .residual_stride = out.cols}));
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
    CARAVAN_RETURN_IF_ERROR(
        Multiply({.x = x.Rows(first, num_rows), .norm = &norm}, gate_up,
                 {.out = out.Rows(first, num_rows).floats(),
                  .out_stride = out.cols,
                  .split = out.cols},
                 /*gated=*/true));
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
  CARAVAN_ASSIGN_OR_RETURN(const int64_t* const indices, BringRows(rows));
  for (int64_t first = 0; first < all_rows; first += kRowsAtOnce) {
    const int64_t num_rows = RowsOfChunk(first, all_rows);
    CARAVAN_RETURN_IF_ERROR(
        Multiply({.x = {x.data, x.dtype, num_rows, x.cols},
                  .norm = &norm,
                  .indices = indices + first},
                 head,
                 {.out = logits.Rows(first, num_rows).floats(),
                  .out_stride = logits.cols,
                  .split = logits.cols}));
  }
  return absl::OkStatus();
}

}  // namespace caravan::worker::cuda
