// The Llama decoder: one pipeline stage's share of the forward pass, written
// once over Backend and Communicator (Touvron et al., Llama 2, arXiv
// 2307.09288).
#ifndef CARAVAN_WORKER_LLAMA_DECODER_H_
#define CARAVAN_WORKER_LLAMA_DECODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/progress_page.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/llama/rope.h"

namespace caravan::worker {

// Sizes of this rank's share. What a rank holds is said here; the forward pass
// never asks for its rank.
struct DecoderShape {
  int num_layers = 0;  // of the stage
  int64_t hidden_size = 0;
  AttentionShape attention;
  int64_t mlp_columns = 0;
  int64_t vocabulary_begin = 0;  // first row of the embedding and head shard
  int64_t vocabulary_size = 0;   // rows of the shard
  // One rank of each tensor-parallel group adds the residual stream to its
  // partial sums, so that the all-reduce adds it once.
  bool adds_residual = true;
};

// A vector in device memory.
struct NormWeights {
  std::unique_ptr<Buffer> buffer;
  Norm norm;
};

struct LayerWeights {
  NormWeights input_norm;
  std::unique_ptr<Weight> qkv;               // (q + k + v rows, hidden)
  std::unique_ptr<Weight> attention_output;  // (hidden, q rows)
  NormWeights mlp_norm;
  std::unique_ptr<Weight> gate_up;  // (2 * mlp_columns, hidden)
  std::unique_ptr<Weight> down;     // (hidden, mlp_columns)
};

struct DecoderWeights {
  std::shared_ptr<Weight> embedding;  // first stage, else null
  std::vector<LayerWeights> layers;
  NormWeights final_norm;        // last stage
  std::shared_ptr<Weight> head;  // last stage, else null; tied: the embedding
};

// Upper bounds, from which everything is allocated at creation.
struct DecoderLimits {
  int64_t max_rows = 0;        // of one step
  int64_t max_sequences = 0;   // likewise
  int64_t max_logit_rows = 0;  // of one call of Logits
  int64_t max_positions = 0;   // of one sequence
  int64_t num_blocks = 0;
  DType kv_cache_dtype = DType::kFloat32;
};

struct DecoderOptions {
  DecoderShape shape;
  DecoderLimits limits;
  RopeParameters rope;
  DecoderWeights weights;
  // Borrowed; outlive the decoder. `group` is the tensor-parallel group.
  Backend* backend = nullptr;
  Communicator* group = nullptr;
  ProgressWriter* progress = nullptr;  // may be null
};

// One thread. After an error the decoder is only good for deletion.
class Decoder final {
 public:
  static absl::StatusOr<std::unique_ptr<Decoder>> Create(
      DecoderOptions options);

  // The residual stream of the current step: (num_rows, hidden).
  Tensor Hidden(int64_t num_rows) const;

  // Hidden = the stage's layers applied to the embeddings of the input's
  // tokens, which the first stage is given, or to Hidden; writes the KV cache.
  // Then the last stage makes the choices.
  absl::Status RunStep(const StepInput& input);

  // Last stage: this rank's shard of the logits of rows `rows` of Hidden, at
  // most max_logit_rows: (rows, vocabulary_size), valid until the next call.
  absl::StatusOr<Tensor> Logits(absl::Span<const int64_t> rows);
  // Those of the last step's choices, if they were at most max_logit_rows.
  Tensor LogitsOfChoices(int64_t num_choices) const;

  const DecoderShape& shape() const { return options_.shape; }
  int64_t max_logit_rows() const { return options_.limits.max_logit_rows; }

 private:
  explicit Decoder(DecoderOptions options);
  absl::Status Allocate();
  absl::Status RunOnBackend(const StepInput& input);
  absl::Status Enqueue(const StepInput& input);
  absl::Status Embed(const InputTokens& tokens);
  absl::Status RunLayer(int layer, const Batch& batch);
  // At most max_logit_rows.
  absl::Status Choose(absl::Span<const CandidateRequest> choices,
                      TokenSlot first);
  // Whether it is so on all ranks of the group.
  absl::StatusOr<bool> AllAgree(bool ok);
  // Hidden += weight * x, summed over the group.
  absl::Status Project(const Tensor& x, const Weight& weight);
  void SetPhase(EnginePhase phase);

  DecoderOptions options_;
  const VocabularyShard shard_;
  RopeTables rope_;
  std::unique_ptr<KvCache> cache_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  Tensor hidden_;     // (max_rows, hidden)
  Tensor partial_;    // (max_rows, hidden)
  Tensor queries_;    // (max_rows, q size)
  Tensor attention_;  // (max_rows, q size)
  Tensor mlp_;        // (max_rows, mlp_columns)
  Tensor logits_;     // (max_logit_rows, vocabulary_size)
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_LLAMA_DECODER_H_
