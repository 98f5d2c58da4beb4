#include "worker/llama/decoder.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "worker/backend/token_slots.h"

namespace caravan::worker {
namespace {

absl::Span<const std::byte> AsBytes(const std::vector<float>& values) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                             values.size() * sizeof(float));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Create(
    DecoderOptions options) {
  std::unique_ptr<Decoder> decoder(new Decoder(std::move(options)));
  CARAVAN_RETURN_IF_ERROR(decoder->Allocate());
  return decoder;
}

Decoder::Decoder(DecoderOptions options)
    : options_(std::move(options)),
      shard_({.first_id = options_.shape.vocabulary_begin,
              .rank = options_.group->rank(),
              .num_ranks = options_.group->size(),
              .gather = [group = options_.group](const Tensor& parts) {
                return group->AllGatherTensor(parts);
              }}) {}

absl::Status Decoder::Allocate() {
  const DecoderShape& shape = options_.shape;
  const DecoderLimits& limits = options_.limits;
  Backend& backend = *options_.backend;
  const auto allocate = [&](int64_t rows, int64_t cols,
                            Tensor* tensor) -> absl::Status {
    *tensor = {nullptr, DType::kFloat32, rows, cols};
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                             backend.Allocate(tensor->bytes()));
    tensor->data = buffer->data();
    buffers_.push_back(std::move(buffer));
    return absl::OkStatus();
  };
  const int64_t query_size =
      shape.attention.num_heads * shape.attention.head_dim;
  const int64_t rows = limits.max_rows;
  CARAVAN_RETURN_IF_ERROR(allocate(rows, shape.hidden_size, &hidden_));
  CARAVAN_RETURN_IF_ERROR(allocate(rows, shape.hidden_size, &partial_));
  CARAVAN_RETURN_IF_ERROR(allocate(rows, query_size, &queries_));
  CARAVAN_RETURN_IF_ERROR(allocate(rows, query_size, &attention_));
  CARAVAN_RETURN_IF_ERROR(allocate(rows, shape.mlp_columns, &mlp_));
  if (options_.weights.head != nullptr) {
    CARAVAN_RETURN_IF_ERROR(
        allocate(limits.max_logit_rows, shape.vocabulary_size, &logits_));
  }

  const int64_t half = shape.attention.head_dim / 2;
  const RopeAngles angles =
      ComputeRopeAngles(options_.rope, limits.max_positions);
  CARAVAN_RETURN_IF_ERROR(allocate(limits.max_positions, half, &rope_.cos));
  CARAVAN_RETURN_IF_ERROR(allocate(limits.max_positions, half, &rope_.sin));
  CARAVAN_RETURN_IF_ERROR(backend.CopyIn(AsBytes(angles.cos), rope_.cos));
  CARAVAN_RETURN_IF_ERROR(backend.CopyIn(AsBytes(angles.sin), rope_.sin));

  CARAVAN_ASSIGN_OR_RETURN(
      cache_,
      backend.CreateKvCache({.num_layers = shape.num_layers,
                             .num_blocks = limits.num_blocks,
                             .num_kv_heads = shape.attention.num_kv_heads,
                             .head_dim = shape.attention.head_dim,
                             .dtype = limits.kv_cache_dtype}));
  return backend.Reserve({.max_rows = limits.max_rows,
                          .max_sequences = limits.max_sequences,
                          .max_positions = limits.max_positions,
                          .max_logit_rows = limits.max_logit_rows,
                          .vocabulary_size = logits_.cols,  // 0 without a head
                          .vocabulary_ranks = options_.group->size(),
                          .attention = shape.attention});
}

Tensor Decoder::Hidden(int64_t num_rows) const {
  return hidden_.Rows(0, num_rows);
}

absl::Status Decoder::Embed(const InputTokens& tokens) {
  const Tensor hidden = Hidden(static_cast<int64_t>(tokens.ids.size()));
  CARAVAN_RETURN_IF_ERROR(
      options_.backend->Embed(*options_.weights.embedding,
                              options_.shape.vocabulary_begin, tokens, hidden));
  if (options_.group->size() == 1) return absl::OkStatus();
  SetPhase(EnginePhase::kReduce);
  return options_.group->AllReduceSum(hidden);
}

absl::Status Decoder::RunStep(const StepInput& input) {
  const auto piece = static_cast<size_t>(max_logit_rows());
  if (input.choices.size() <= piece) return RunOnBackend(input);
  StepInput layers = input;
  layers.choices = {};
  CARAVAN_RETURN_IF_ERROR(RunOnBackend(layers));
  for (size_t i = 0; i < input.choices.size(); i += piece) {
    CARAVAN_RETURN_IF_ERROR(
        Choose(input.choices.subspan(i, piece),
               {.set = input.chosen_set, .index = static_cast<int64_t>(i)}));
  }
  return absl::OkStatus();
}

absl::Status Decoder::RunOnBackend(const StepInput& input) {
  // Each layer exchanges them twice, so that after a step all is as before; a
  // recording that breaks off leaves them anyhow.
  const Tensor hidden = hidden_;
  const Tensor partial = partial_;
  const auto enqueue = [&](const StepInput& padded) -> absl::Status {
    hidden_ = hidden;
    partial_ = partial;
    return Enqueue(padded);
  };
  return options_.backend->RunStep(
      input, {.owner = this,
              .max_rows = options_.limits.max_rows,
              .max_choices = logits_.rows,
              .vocabulary_size = logits_.cols,
              .enqueue = enqueue,
              .all_agree = [this](bool ok) { return AllAgree(ok); }});
}

absl::Status Decoder::Enqueue(const StepInput& input) {
  if (!input.tokens.ids.empty()) CARAVAN_RETURN_IF_ERROR(Embed(input.tokens));
  for (int layer = 0; layer < options_.shape.num_layers; ++layer) {
    CARAVAN_RETURN_IF_ERROR(RunLayer(layer, input.batch));
  }
  if (input.choices.empty()) return absl::OkStatus();
  return Choose(input.choices, {.set = input.chosen_set});
}

absl::StatusOr<bool> Decoder::AllAgree(bool ok) {
  Communicator& group = *options_.group;
  if (group.size() == 1) return ok;
  const std::byte mine{ok};
  std::vector<std::byte> all(group.size());
  CARAVAN_RETURN_IF_ERROR(
      group.AllGather(absl::MakeConstSpan(&mine, 1), absl::MakeSpan(all)));
  return std::all_of(all.begin(), all.end(),
                     [](std::byte one) { return one != std::byte{0}; });
}

absl::Status Decoder::RunLayer(int layer, const Batch& batch) {
  SetPhase(EnginePhase::kCompute);
  Backend& backend = *options_.backend;
  const LayerWeights& weights = options_.weights.layers[layer];
  const AttentionLayer attention_layer{.shape = &options_.shape.attention,
                                       .rope = &rope_,
                                       .cache = cache_.get(),
                                       .layer = layer};
  const Tensor queries = queries_.Rows(0, batch.num_rows);
  const Tensor attention = attention_.Rows(0, batch.num_rows);
  const Tensor mlp = mlp_.Rows(0, batch.num_rows);

  CARAVAN_RETURN_IF_ERROR(
      backend.AttentionInput(Hidden(batch.num_rows), weights.input_norm.norm,
                             *weights.qkv, attention_layer, batch, queries));
  CARAVAN_RETURN_IF_ERROR(
      backend.Attention(queries, attention_layer, batch, attention));
  CARAVAN_RETURN_IF_ERROR(Project(attention, *weights.attention_output));

  CARAVAN_RETURN_IF_ERROR(backend.GatedMlp(
      Hidden(batch.num_rows), weights.mlp_norm.norm, *weights.gate_up, mlp));
  return Project(mlp, *weights.down);
}

absl::Status Decoder::Project(const Tensor& x, const Weight& weight) {
  const Tensor hidden = Hidden(x.rows);
  if (options_.group->size() == 1) {
    return options_.backend->Linear(x, weight, &hidden, hidden);
  }
  const Tensor partial = partial_.Rows(0, x.rows);
  CARAVAN_RETURN_IF_ERROR(options_.backend->Linear(
      x, weight, options_.shape.adds_residual ? &hidden : nullptr, partial));
  SetPhase(EnginePhase::kReduce);
  CARAVAN_RETURN_IF_ERROR(options_.group->AllReduceSum(partial));
  SetPhase(EnginePhase::kCompute);
  std::swap(hidden_, partial_);
  return absl::OkStatus();
}

absl::StatusOr<Tensor> Decoder::Logits(absl::Span<const int64_t> rows) {
  const Tensor logits = logits_.Rows(0, static_cast<int64_t>(rows.size()));
  CARAVAN_RETURN_IF_ERROR(
      options_.backend->Head(hidden_, rows, options_.weights.final_norm.norm,
                             *options_.weights.head, logits));
  return logits;
}

Tensor Decoder::LogitsOfChoices(int64_t num_choices) const {
  CARAVAN_CHECK(num_choices <= max_logit_rows());
  return logits_.Rows(0, num_choices);
}

absl::Status Decoder::Choose(absl::Span<const CandidateRequest> choices,
                             TokenSlot first) {
  const ChoiceRows of = RowsOf(choices);
  CARAVAN_ASSIGN_OR_RETURN(const Tensor logits, Logits(of.rows));
  return options_.backend->ChooseTokens(logits, shard_, of.requests, first);
}

void Decoder::SetPhase(EnginePhase phase) {
  if (options_.progress != nullptr) options_.progress->SetPhase(phase);
}

}  // namespace caravan::worker
