// A device: its memory and the operations of a transformer layer on it.
#ifndef CARAVAN_WORKER_BACKEND_BACKEND_H_
#define CARAVAN_WORKER_BACKEND_BACKEND_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/tensor.h"
#include "base/weight_format.h"
#include "worker/backend/batch.h"

namespace caravan::worker {

struct DeviceInfo {
  std::string name;
  std::string instruction_set;
  int num_threads = 0;  // of the host
  // Of the device's own memory, what is free now. Nothing: it has none, or does
  // not tell.
  std::optional<int64_t> free_bytes;
};

// Memory of a device. Zeroed when it is made, freed with it.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() const = 0;
  virtual int64_t bytes() const = 0;
};

// A matrix in the backend's own layout: (rows = outputs, cols = inputs).
class Weight {
 public:
  virtual ~Weight() = default;
  virtual int64_t rows() const = 0;
  virtual int64_t cols() const = 0;
  virtual int64_t bytes() const = 0;  // as held
};

// What a Weight is made from: a matrix that is read in pieces, so that no
// second copy of it is ever whole in memory.
struct MatrixReader {
  WeightFormat format = WeightFormat::kFloat32;  // of what it delivers
  int64_t rows = 0;
  int64_t cols = 0;
  // Rows [first, first + num_rows), row-major, into `out` of exactly that size:
  // num_rows * ByteSize(format, cols). Quantized rows are whole blocks.
  std::function<absl::Status(int64_t first, int64_t num_rows,
                             absl::Span<std::byte> out)>
      read_rows;
};

struct KvCacheShape {
  int num_layers = 0;  // of this stage
  int64_t num_blocks = 0;
  int num_kv_heads = 0;  // of this rank
  int64_t head_dim = 0;
  DType dtype = DType::kFloat32;
};

// Keys and values of all blocks and layers of this rank. They are rounded once,
// to nearest even, when they are written, and all that is computed of them is
// float32. In float16 numbers beyond its range become its largest: an infinity
// would make NaN of all that attends to it.
class KvCache {
 public:
  virtual ~KvCache() = default;
  virtual int64_t bytes() const = 0;
};

// The attention that one rank computes.
struct AttentionShape {
  int num_heads = 0;     // query heads of this rank
  int num_kv_heads = 0;  // of this rank
  int64_t head_dim = 0;
  // Which of this rank's KV heads each of its query heads reads.
  std::vector<int> kv_head_of;
};

// cos and sin of the angle of pair i at each position: (positions, head_dim /
// 2). A head's elements i and i + head_dim / 2 form pair i (rotate-half).
struct RopeTables {
  Tensor cos;
  Tensor sin;
};

// Arguments of AttentionInput and Attention that are the same for every step.
struct AttentionLayer {
  const AttentionShape* shape = nullptr;
  const RopeTables* rope = nullptr;
  KvCache* cache = nullptr;
  int layer = 0;  // within the stage
};

struct Norm {
  Tensor weight;  // (1, hidden), kFloat32
  float epsilon = 1e-5f;
};

// Sampling: what this rank's shard of one row of logits can contribute.
struct CandidateRequest {
  int64_t row = 0;
  float temperature = 0;  // 0: greedy
  uint64_t seed = 0;
  int64_t position = 0;  // of the token to be sampled
  int num_top = 0;       // how many of the largest logits to return
  bool noise = false;    // whether to find the winner under Gumbel noise
};

struct Candidate {
  int32_t id = -1;  // in the whole vocabulary
  float value = 0;
};

struct ShardCandidates {
  // Falling by logit, the lower id first among equals; num_top of them, or the
  // whole shard if it is smaller. The first is the shard's largest logit.
  std::vector<Candidate> top;
  // Largest logit / temperature + GumbelNoise(seed, position, id) (sampling.h).
  Candidate winner;
};

struct MassRequest {
  int64_t row = 0;
  float reference = 0;    // the largest logit of the whole vocabulary
  float temperature = 1;  // > 0; divides the difference to the reference
  // Only logits of at least this count.
  float least = 0;
};

// Tokens that the device chooses stay in its memory, where the next step's
// Embed takes them before the host knows them. Each set holds those of one
// step: one may be filled while the host still reads another.
inline constexpr int kTokenSets = 2;

// A place in a set: less than StepLimits::max_rows.
struct TokenSlot {
  int set = 0;
  int64_t index = 0;
};

struct ChosenToken {
  int32_t id = -1;
  float value = 0;  // by which it was chosen: Candidate::value
  // The row's largest logit. Where it is not finite the id means nothing, but
  // is one of the vocabulary.
  float largest = 0;
};

// Which part of the vocabulary this rank's logits are, and how it learns what
// ranks with the other parts have found. Ids rise from rank to rank.
struct VocabularyShard {
  int64_t first_id = 0;
  int rank = 0;
  int num_ranks = 1;
  // `parts` are num_ranks parts of as many rows, of which this rank's is
  // filled: enqueues what fills the others, as Communicator::AllGatherTensor
  // does. Not called where one rank has the whole vocabulary.
  std::function<absl::Status(const Tensor& parts)> gather;
};

// Input tokens of rows. An id below 0 stands for the token in slot -1 - id of
// the set, as it will be when the operation runs.
struct InputTokens {
  absl::Span<const int32_t> ids;
  int set = 0;
};

// Bounds of what one step asks of a backend.
struct StepLimits {
  int64_t max_rows = 0;        // of a batch, and tokens of one call of Embed
  int64_t max_sequences = 0;   // of a batch
  int64_t max_positions = 0;   // of a sequence
  int64_t max_logit_rows = 0;  // of one call of Head
  // Columns of the logits of this rank; 0: it computes none.
  int64_t vocabulary_size = 0;
  int vocabulary_ranks = 1;  // that have the whole vocabulary together
  AttentionShape attention;
};

// What a step works on.
struct StepInput {
  Batch batch;
  // Of all rows of the batch; none: the step does not begin with Embed.
  InputTokens tokens;
  // Rows of the batch whose next tokens the step ends with choosing, for slots
  // from the first of `chosen_set` on; none: it ends before Head.
  absl::Span<const CandidateRequest> choices;
  int chosen_set = 0;
};

// The operations of a step on the input that it is given, all the same but for
// what the input says: a backend may run what it has seen of them for another
// input of as many rows.
struct StepWork {
  // Steps of one owner differ in their inputs alone: the same calls with the
  // same tensors, of which they use the first rows. Of Embed, Head and
  // ChooseTokens there is at most one, with all tokens and with what RowsOf the
  // choices says (token_slots.h). Weights, caches and tensors live until the
  // backend's Reserve is called again, or it is gone.
  const void* owner = nullptr;
  int64_t max_rows = 0;         // for which the tensors have room
  int64_t max_choices = 0;      // likewise the logits
  int64_t vocabulary_size = 0;  // columns of the logits
  // Makes calls of the backend, and of communicators in the order of its work.
  // May be called again for the same input, where a first call came to nothing.
  absl::FunctionRef<absl::Status(const StepInput&)> enqueue;
  // Whether `ok` is true on all ranks that do the step together. They all come
  // to ask at the same step, if they run the same steps with the same limits.
  absl::FunctionRef<absl::StatusOr<bool>(bool ok)> all_agree;
};

// Operations are enqueued and run in call order; results may be read by the
// host after Synchronize(), where an error of the device may also surface. One
// thread.
//
// Numerics: an output row depends on its own input row (and, in attention, on
// the sequence's cached positions before it), never on the other rows of the
// batch, on how a prompt was cut into chunks or on the number of threads:
// accumulation order per output element is fixed. Products with quantized
// weights quantize the input row as well, in blocks of 32 values to 8 bits
// (value / scale to nearest even, scale = largest magnitude / 127); sums of
// products within a block are exact. A block that is not finite makes the row's
// outputs NaN.
//
// Shapes are the caller's contract, checked in debug form by CHECK; nothing
// here comes from outside the engine.
//
// Memory is allocated by Allocate, LoadWeight, CreateKvCache and Reserve, by no
// other call. Operations on rows, from Embed to Masses, come after Reserve.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual DeviceInfo Info() const = 0;

  // kResourceExhausted: the device has no such room left.
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t bytes) = 0;
  // Holds the matrix as `hold_as`, converted by the rules of
  // base/weight_format.h; kInvalidArgument: a value or a shape that it cannot
  // hold. In memory it takes the bytes of its rows, filled up to whole panels.
  virtual absl::StatusOr<std::unique_ptr<Weight>> LoadWeight(
      const MatrixReader& reader, WeightFormat hold_as) = 0;
  virtual absl::StatusOr<std::unique_ptr<KvCache>> CreateKvCache(
      const KvCacheShape& shape) = 0;

  // Makes all the room that steps within `limits` need beside the tensors that
  // they are given: after all weights are loaded and the cache is made. What is
  // beyond the limits of a backend that needs room for it is refused with
  // kResourceExhausted, before anything of it is enqueued. May be called again,
  // also for less: then there is room for both.
  virtual absl::Status Reserve(const StepLimits& limits) = 0;

  // Host to device and back.
  virtual absl::Status CopyIn(absl::Span<const std::byte> from,
                              const Tensor& to) = 0;
  virtual absl::Status CopyOut(const Tensor& from,
                               absl::Span<std::byte> to) = 0;

  // out[i] = row (token i) - first_id of `table`, or zeros where the table does
  // not hold it. out: (tokens, hidden)
  virtual absl::Status Embed(const Weight& table, int64_t first_id,
                             const InputTokens& tokens, const Tensor& out) = 0;

  // q, k, v = qkv * RMSNorm(x); rotates q and k; writes k and v to the cache at
  // their positions. x: (rows, hidden), qkv rows: all query heads, then key,
  // then value heads; queries: (rows, num_heads * head_dim)
  virtual absl::Status AttentionInput(const Tensor& x, const Norm& norm,
                                      const Weight& qkv,
                                      const AttentionLayer& layer,
                                      const Batch& batch,
                                      const Tensor& queries) = 0;

  // Causal attention of each row over its sequence's cached positions up to and
  // including its own, scaled by 1 / sqrt(head_dim). out: as queries
  virtual absl::Status Attention(const Tensor& queries,
                                 const AttentionLayer& layer,
                                 const Batch& batch, const Tensor& out) = 0;

  // out = weight * x (+ residual when not null; may alias out).
  virtual absl::Status Linear(const Tensor& x, const Weight& weight,
                              const Tensor* residual, const Tensor& out) = 0;

  // out = SiLU(gate * n) . (up * n), n = RMSNorm(x). gate_up rows: all of gate,
  // then all of up. out: (rows, gate_up.rows / 2)
  virtual absl::Status GatedMlp(const Tensor& x, const Norm& norm,
                                const Weight& gate_up, const Tensor& out) = 0;

  // logits[i] = head * RMSNorm(x[rows[i]]). logits: (rows, vocabulary shard)
  virtual absl::Status Head(const Tensor& x, absl::Span<const int64_t> rows,
                            const Norm& norm, const Weight& head,
                            const Tensor& logits) = 0;

  // What this shard of the vocabulary, which begins at `first_id`, contributes.
  // Results are on the host when it returns.
  virtual absl::Status Candidates(const Tensor& logits, int64_t first_id,
                                  absl::Span<const CandidateRequest> requests,
                                  absl::Span<ShardCandidates> results) = 0;

  // Fills slots from `first` on, one for each request: with the winner if it
  // asks for noise, else with the largest logit, of the whole vocabulary, as
  // Candidates would tell them; num_top means nothing here. All ranks that have
  // a shard make the same call and fill their slots alike.
  virtual absl::Status ChooseTokens(const Tensor& logits,
                                    const VocabularyShard& shard,
                                    absl::Span<const CandidateRequest> requests,
                                    TokenSlot first) = 0;

  // Enqueues what brings the first `count` tokens of a set to the host.
  virtual absl::Status FetchTokens(int set, int64_t count) = 0;
  // The first tokens of a set, as many as the last FetchTokens brought or less:
  // waits for that, and for nothing that was enqueued after it.
  virtual absl::Status ReadTokens(int set, absl::Span<ChosenToken> tokens) = 0;
  // Whether ReadTokens would wait. An error is for that to tell.
  virtual bool HasToWaitForTokens(int set) const = 0;

  // For each request the sum over the shard of ProbabilityMass (sampling.h) of
  // logits not below `least`. Integers: exact in any order.
  virtual absl::Status Masses(const Tensor& logits,
                              absl::Span<const MassRequest> requests,
                              absl::Span<uint64_t> masses) = 0;

  // Runs a step's operations: calls `work.enqueue` with the input or with one
  // that has padding, or, where it has recorded them, replays what that would
  // enqueue. The bits of all rows but padding are the same either way; of slots
  // of the set behind those of the choices nothing is promised.
  virtual absl::Status RunStep(const StepInput& input, const StepWork& work) {
    return work.enqueue(input);
  }

  virtual absl::Status Synchronize() = 0;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_BACKEND_H_
