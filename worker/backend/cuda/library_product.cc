#include "worker/backend/cuda/library_product.h"

#include <cublasLt.h>

#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/device_memory.h"

namespace caravan::worker::cuda {
namespace {

// Of what is multiplied: 16 bytes, which the fastest loads want; the library
// would assume 256.
constexpr uint32_t kAlignment = 16;

absl::Status CublasStatus(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  const std::string message =
      absl::StrCat(call, " failed: ", cublasLtGetStatusName(status));
  return status == CUBLAS_STATUS_ALLOC_FAILED
             ? absl::ResourceExhaustedError(message)
             : absl::InternalError(message);
}

struct Destroyer {
  void operator()(cublasLtHandle_t handle) const { cublasLtDestroy(handle); }
  void operator()(cublasLtMatmulDesc_t description) const {
    cublasLtMatmulDescDestroy(description);
  }
  void operator()(cublasLtMatrixLayout_t layout) const {
    cublasLtMatrixLayoutDestroy(layout);
  }
  void operator()(cublasLtMatmulPreference_t preference) const {
    cublasLtMatmulPreferenceDestroy(preference);
  }
};
template <typename Handle>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroyer>;
using Layout = Owned<cublasLtMatrixLayout_t>;

// Column-major, as the library has it: the rows of a matrix of ours are its
// columns.
absl::StatusOr<Layout> MakeLayout(cudaDataType_t type, int64_t rows,
                                  int64_t cols, int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  CARAVAN_RETURN_IF_ERROR(CublasStatus(
      cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(rows),
                                 static_cast<uint64_t>(cols), stride),
      "cublasLtMatrixLayoutCreate"));
  return Layout(layout);
}

// What the answer depends on: format, rows, outputs, inputs, stride of out, and
// whether something is added.
using Shape = std::tuple<HeldFormat, int64_t, int64_t, int64_t, int64_t, bool>;
Shape ShapeOf(const LibraryProductArguments& a) {
  return {a.format,     a.num_rows,   a.num_outputs,
          a.num_inputs, a.out_stride, a.residual != nullptr};
}

struct Algorithm {
  Layout weight;
  Layout x;
  Layout out;
  cublasLtMatmulAlgo_t algorithm = {};
};

bool IsAligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % kAlignment == 0;
}

}  // namespace

class LibraryProduct::Impl final {
 public:
  explicit Impl(DeviceContext& context) : context_(context) {}

  absl::Status Start();
  absl::StatusOr<bool> Multiply(const LibraryProductArguments& a);

 private:
  absl::Status Describe();
  // Null: there is none.
  absl::StatusOr<const Algorithm*> Find(const LibraryProductArguments& a);
  absl::StatusOr<std::unique_ptr<Algorithm>> Ask(
      const LibraryProductArguments& a);

  DeviceContext& context_;
  Owned<cublasLtHandle_t> library_;
  Owned<cublasLtMatmulDesc_t> product_;
  Owned<cublasLtMatmulPreference_t> preference_;
  DeviceMemory workspace_;
  std::map<Shape, std::unique_ptr<Algorithm>> algorithms_;
};

absl::Status LibraryProduct::Impl::Start() {
  CARAVAN_ASSIGN_OR_RETURN(workspace_,
                           DeviceMemory::Create(kLibraryWorkspaceBytes));
  cublasLtHandle_t library = nullptr;
  CARAVAN_RETURN_IF_ERROR(
      CublasStatus(cublasLtCreate(&library), "cublasLtCreate"));
  library_.reset(library);
  return Describe();
}

absl::Status LibraryProduct::Impl::Describe() {
  cublasLtMatmulDesc_t product = nullptr;
  CARAVAN_RETURN_IF_ERROR(CublasStatus(
      cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
      "cublasLtMatmulDescCreate"));
  product_.reset(product);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  CARAVAN_RETURN_IF_ERROR(CublasStatus(
      cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA,
                                     &transposed, sizeof(transposed)),
      "cublasLtMatmulDescSetAttribute"));
  cublasLtMatmulPreference_t preference = nullptr;
  CARAVAN_RETURN_IF_ERROR(
      CublasStatus(cublasLtMatmulPreferenceCreate(&preference),
                   "cublasLtMatmulPreferenceCreate"));
  preference_.reset(preference);
  const auto set = [preference](cublasLtMatmulPreferenceAttributes_t attribute,
                                const auto& value) {
    return CublasStatus(cublasLtMatmulPreferenceSetAttribute(
                            preference, attribute, &value, sizeof(value)),
                        "cublasLtMatmulPreferenceSetAttribute");
  };
  for (const auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    CARAVAN_RETURN_IF_ERROR(set(attribute, kAlignment));
  }
  return set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
             static_cast<uint64_t>(kLibraryWorkspaceBytes));
}

absl::StatusOr<const Algorithm*> LibraryProduct::Impl::Find(
    const LibraryProductArguments& a) {
  const Shape shape = ShapeOf(a);
  auto known = algorithms_.find(shape);
  if (known == algorithms_.end()) {
    if (context_.recording()) return nullptr;
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<Algorithm> found, Ask(a));
    known = algorithms_.emplace(shape, std::move(found)).first;
  }
  return known->second.get();
}

absl::StatusOr<std::unique_ptr<Algorithm>> LibraryProduct::Impl::Ask(
    const LibraryProductArguments& a) {
  const cudaDataType_t type =
      a.format == HeldFormat::kFloat16 ? CUDA_R_16F : CUDA_R_16BF;
  auto chosen = std::make_unique<Algorithm>();
  CARAVAN_ASSIGN_OR_RETURN(
      chosen->weight,
      MakeLayout(type, a.num_inputs, a.num_outputs, a.num_inputs));
  CARAVAN_ASSIGN_OR_RETURN(
      chosen->x, MakeLayout(type, a.num_inputs, a.num_rows, a.num_inputs));
  CARAVAN_ASSIGN_OR_RETURN(chosen->out, MakeLayout(CUDA_R_32F, a.num_outputs,
                                                   a.num_rows, a.out_stride));
  cublasLtMatmulHeuristicResult_t result = {};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      library_.get(), product_.get(), chosen->weight.get(), chosen->x.get(),
      chosen->out.get(), chosen->out.get(), preference_.get(), 1, &result,
      &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return nullptr;
  CARAVAN_RETURN_IF_ERROR(
      CublasStatus(status, "cublasLtMatmulAlgoGetHeuristic"));
  if (found < 1 || result.state != CUBLAS_STATUS_SUCCESS) return nullptr;
  chosen->algorithm = result.algo;
  return chosen;
}

absl::StatusOr<bool> LibraryProduct::Impl::Multiply(
    const LibraryProductArguments& a) {
  CARAVAN_CHECK(a.num_rows > 0 && a.num_outputs > 0 && a.num_inputs > 0);
  for (const void* address : {a.weight, a.x, static_cast<const void*>(a.out),
                              static_cast<const void*>(a.residual)}) {
    if (!IsAligned(address)) return false;
  }
  CARAVAN_ASSIGN_OR_RETURN(const Algorithm* const chosen, Find(a));
  if (chosen == nullptr) return false;
  const float alpha = 1;
  const float beta = a.residual == nullptr ? 0 : 1;
  const float* const added = a.residual == nullptr ? a.out : a.residual;
  CARAVAN_RETURN_IF_ERROR(CublasStatus(
      cublasLtMatmul(library_.get(), product_.get(), &alpha, a.weight,
                     chosen->weight.get(), a.x, chosen->x.get(), &beta, added,
                     chosen->out.get(), a.out, chosen->out.get(),
                     &chosen->algorithm, workspace_.data(),
                     static_cast<size_t>(workspace_.bytes()),
                     context_.stream()),
      "cublasLtMatmul"));
  return true;
}

LibraryProduct::LibraryProduct(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
LibraryProduct::~LibraryProduct() = default;

absl::StatusOr<std::unique_ptr<LibraryProduct>> LibraryProduct::Create(
    DeviceContext& context) {
  auto impl = std::make_unique<Impl>(context);
  CARAVAN_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<LibraryProduct>(new LibraryProduct(std::move(impl)));
}

absl::StatusOr<bool> LibraryProduct::Multiply(
    const LibraryProductArguments& arguments) {
  return impl_->Multiply(arguments);
}

}  // namespace caravan::worker::cuda
