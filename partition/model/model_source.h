// Where a model's description and weights come from.
#ifndef CARAVAN_PARTITION_MODEL_MODEL_SOURCE_H_
#define CARAVAN_PARTITION_MODEL_MODEL_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/weight_format.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

// A vector is one row: (1, n).
struct TensorInfo {
  WeightFormat stored = WeightFormat::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;

  // Of the elements that Read delivers: quantized tensors are decoded.
  DType dtype() const { return DecodedDType(stored); }
};

// Rows [row_begin, row_end) and columns [col_begin, col_end) of a tensor.
struct TensorSlice {
  int64_t row_begin = 0;
  int64_t row_end = 0;
  int64_t col_begin = 0;
  int64_t col_end = 0;

  int64_t rows() const { return row_end - row_begin; }
  int64_t cols() const { return col_end - col_begin; }
  int64_t count() const { return rows() * cols(); }
};

// A checkpoint. Tensor names are Hugging Face's for LlamaForCausalLM
// (tensor_names.h), and so are layouts: matrices are (outputs, inputs), query
// and key rows in the order of rotate-half RoPE, whatever the file holds.
//
// Opening reads headers only and checks them whole: after it, exactly the
// tensors that the spec calls for exist with the right shapes (tied embeddings:
// no lm_head.weight). Const methods are thread-safe.
class ModelSource {
 public:
  virtual ~ModelSource() = default;

  virtual const ModelSpec& spec() const = 0;

  // kNotFound: no such tensor.
  virtual absl::StatusOr<TensorInfo> Find(absl::string_view name) const = 0;

  // Fills `out`, which holds exactly the slice's elements, row by row, and is
  // aligned for them; reads no more of the file than the slice needs.
  // kInvalidArgument: a slice outside the tensor or an `out` of another size.
  // kDataLoss: the file ends early.
  virtual absl::Status Read(absl::string_view name, const TensorSlice& slice,
                            absl::Span<std::byte> out) const = 0;

  // The same, but as the tensor is stored: each row takes ByteSize(stored,
  // slice.cols()) bytes, and the slice's columns begin and end between blocks
  // (else kInvalidArgument).
  virtual absl::Status ReadStored(absl::string_view name,
                                  const TensorSlice& slice,
                                  absl::Span<std::byte> out) const = 0;

  // SHA-256 in hex over configuration, tensor names, shapes, offsets and file
  // sizes: equal on nodes that hold the same checkpoint. Weights themselves are
  // not read.
  virtual std::string Fingerprint() const = 0;

  // Bytes of weights read from files so far.
  virtual int64_t BytesRead() const = 0;
};

enum class LoadFormat {
  kAuto,   // by what `path` is: a folder with config.json, or a .gguf file
  kDummy,  // synthetic weights in the shape of path's config.json, or of a name
           // that NamedModelSpec knows
};

struct ModelSourceOptions {
  std::string path;
  LoadFormat load_format = LoadFormat::kAuto;
  uint64_t seed = 0;  // kDummy
  // A JSON object whose fields stand instead of those of the config.json, or of
  // the one that a name has. Empty: none.
  std::string hf_overrides;
};

// kNotFound: nothing there; kInvalidArgument, kDataLoss, kUnimplemented: what
// is wrong with it, by file, tensor or field.
absl::StatusOr<std::unique_ptr<ModelSource>> OpenModel(
    const ModelSourceOptions& options);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_MODEL_SOURCE_H_
