#include "worker/engine/shard_loader.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "partition/model/tensor_names.h"
#include "worker/engine/matrix_parts.h"

namespace caravan::worker {
namespace {

using partition::LayerTensor;
using partition::ModelSource;
using partition::ModelSpec;
using partition::TensorSlice;

partition::Range ToRange(const v1::Range& range) {
  return {range.begin(), range.end()};
}

class ShardLoader {
 public:
  ShardLoader(const ModelSource& source, const ShardOptions& options,
              Backend& backend)
      : source_(source),
        spec_(source.spec()),
        options_(options),
        rank_(*options.rank),
        shard_{.heads = ToRange(rank_.heads()),
               .kv_heads = ToRange(rank_.kv_heads()),
               .mlp_columns = ToRange(rank_.mlp_columns()),
               .vocabulary = ToRange(rank_.vocabulary())},
        backend_(backend) {}

  absl::StatusOr<DecoderWeights> Load() {
    DecoderWeights weights;
    total_ = rank_.weight_bytes();
    if (options_.has_embedding) {
      CARAVAN_ASSIGN_OR_RETURN(weights.embedding,
                               Vocabulary(partition::kEmbedding));
    }
    for (int64_t layer = rank_.layers().begin(); layer < rank_.layers().end();
         ++layer) {
      CARAVAN_ASSIGN_OR_RETURN(LayerWeights loaded,
                               Layer(static_cast<int>(layer)));
      weights.layers.push_back(std::move(loaded));
    }
    if (options_.has_head) {
      CARAVAN_ASSIGN_OR_RETURN(weights.final_norm,
                               LoadNorm(std::string(partition::kFinalNorm)));
      if (spec_.tied_embeddings && weights.embedding != nullptr) {
        weights.head = weights.embedding;
      } else {
        CARAVAN_ASSIGN_OR_RETURN(
            weights.head,
            Vocabulary(spec_.tied_embeddings ? partition::kEmbedding
                                             : partition::kHead));
      }
    }
    return weights;
  }

 private:
  absl::StatusOr<LayerWeights> Layer(int layer) {
    const int64_t hidden = spec_.hidden_size;
    const TensorSlice queries = HeadRows(rank_.heads());
    const TensorSlice keys = HeadRows(rank_.kv_heads());
    const TensorSlice columns{rank_.mlp_columns().begin(),
                              rank_.mlp_columns().end(), 0, hidden};
    const auto name = [layer](absl::string_view part) {
      return LayerTensor(layer, part);
    };
    const partition::HeldLayer formats =
        HeldLayerFormats(spec_, shard_, options_.hold, layer);
    LayerWeights weights;
    CARAVAN_ASSIGN_OR_RETURN(weights.input_norm,
                             LoadNorm(name(partition::kInputNorm)));
    CARAVAN_ASSIGN_OR_RETURN(weights.qkv,
                             LoadMatrix({{name(partition::kQuery), queries},
                                         {name(partition::kKey), keys},
                                         {name(partition::kValue), keys}},
                                        formats.qkv));
    CARAVAN_ASSIGN_OR_RETURN(
        weights.attention_output,
        LoadMatrix({{name(partition::kAttentionOutput),
                     {0, hidden, queries.row_begin, queries.row_end}}},
                   formats.attention_output));
    CARAVAN_ASSIGN_OR_RETURN(weights.mlp_norm,
                             LoadNorm(name(partition::kMlpNorm)));
    CARAVAN_ASSIGN_OR_RETURN(weights.gate_up,
                             LoadMatrix({{name(partition::kGate), columns},
                                         {name(partition::kUp), columns}},
                                        formats.gate_up));
    CARAVAN_ASSIGN_OR_RETURN(
        weights.down,
        LoadMatrix({{name(partition::kDown),
                     {0, hidden, columns.row_begin, columns.row_end}}},
                   formats.down));
    return weights;
  }

  TensorSlice HeadRows(const v1::Range& heads) const {
    return {heads.begin() * spec_.head_dim, heads.end() * spec_.head_dim, 0,
            spec_.hidden_size};
  }

  absl::StatusOr<std::shared_ptr<Weight>> Vocabulary(absl::string_view tensor) {
    const WeightFormat format = tensor == partition::kEmbedding
                                    ? HeldEmbedding(spec_, options_.hold)
                                    : HeldHead(spec_, options_.hold);
    CARAVAN_ASSIGN_OR_RETURN(
        std::unique_ptr<Weight> weight,
        LoadMatrix({{std::string(tensor),
                     {rank_.vocabulary().begin(), rank_.vocabulary().end(), 0,
                      spec_.hidden_size}}},
                   format));
    return std::shared_ptr<Weight>(std::move(weight));
  }

  absl::StatusOr<std::unique_ptr<Weight>> LoadMatrix(
      std::vector<MatrixPart> parts, WeightFormat format) {
    const std::string name = parts[0].tensor;
    CARAVAN_ASSIGN_OR_RETURN(MatrixReader reader,
                             JoinParts(source_, std::move(parts), format));
    absl::StatusOr<std::unique_ptr<Weight>> weight =
        backend_.LoadWeight(reader, format);
    if (!weight.ok()) return Annotate(weight.status(), "loading " + name);
    held_ += (*weight)->rows() * ByteSize(format, (*weight)->cols());
    if (options_.on_progress) {
      options_.on_progress(std::min(held_, total_), total_);
    }
    return weight;
  }

  absl::StatusOr<NormWeights> LoadNorm(const std::string& name) {
    const int64_t hidden = spec_.hidden_size;
    CARAVAN_ASSIGN_OR_RETURN(std::vector<float> values,
                             ReadFloats(source_, {name, {0, 1, 0, hidden}}));
    NormWeights weights;
    CARAVAN_ASSIGN_OR_RETURN(
        weights.buffer,
        backend_.Allocate(hidden * static_cast<int64_t>(sizeof(float))));
    weights.norm = {
        .weight = {weights.buffer->data(), DType::kFloat32, 1, hidden},
        .epsilon = static_cast<float>(spec_.rms_norm_epsilon)};
    CARAVAN_RETURN_IF_ERROR(backend_.CopyIn(
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                            values.size() * sizeof(float)),
        weights.norm.weight));
    return weights;
  }

  const ModelSource& source_;
  const ModelSpec& spec_;
  const ShardOptions& options_;
  const v1::RankPlan& rank_;
  const partition::TensorShard shard_;
  Backend& backend_;
  int64_t held_ = 0;
  int64_t total_ = 0;
};

}  // namespace

absl::StatusOr<DecoderWeights> LoadShard(const ModelSource& source,
                                         const ShardOptions& options,
                                         Backend& backend) {
  return ShardLoader(source, options, backend).Load();
}

}  // namespace caravan::worker
