#include "worker/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/backend/candidate_order.h"
#include "worker/backend/cpu/attention_operations.h"
#include "worker/backend/cpu/huge_memory.h"
#include "worker/backend/cpu/kernel_choice.h"
#include "worker/backend/cpu/linear_operations.h"
#include "worker/backend/cpu/paged_kv_cache.h"
#include "worker/backend/cpu/panel_weight.h"
#include "worker/backend/cpu/scratch.h"
#include "worker/backend/cpu/shard_sampling.h"
#include "worker/backend/cpu/thread_pool.h"
#include "worker/backend/cpu/topology.h"
#include "worker/backend/token_slots.h"

namespace caravan::worker {
namespace {

// Logits that are worth a task of their own.
constexpr int64_t kLogitPiece = 8192;

class CpuBuffer final : public Buffer {
 public:
  explicit CpuBuffer(HugeMemory memory) : memory_(std::move(memory)) {}
  void* data() const override { return memory_.data(); }
  int64_t bytes() const override { return memory_.bytes(); }

 private:
  HugeMemory memory_;
};

// Pieces of each request's row, so that one request too keeps all threads busy.
struct PieceTable {
  PieceTable(size_t num_requests, const Tensor& logits, int num_threads)
      : cols(logits.cols),
        per_row(num_requests >= static_cast<size_t>(num_threads)
                    ? 1
                    : std::clamp<int64_t>(logits.cols / kLogitPiece, 1,
                                          num_threads)),
        count(static_cast<int64_t>(num_requests) * per_row) {}

  int64_t Request(int64_t piece) const { return piece / per_row; }
  int64_t First(int64_t piece) const {
    return cols * (piece % per_row) / per_row;
  }
  absl::Span<const float> Logits(const Tensor& logits, int64_t row,
                                 int64_t piece) const {
    const int64_t end = cols * (piece % per_row + 1) / per_row;
    return {logits.Rows(row, 1).floats() + First(piece),
            static_cast<size_t>(end - First(piece))};
  }

  int64_t cols;
  int64_t per_row;
  int64_t count;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(InstructionSet set, std::unique_ptr<ThreadPool> pool)
      : set_(set),
        name_(ProcessorName()),
        pool_(std::move(pool)),
        scratch_(pool_->num_threads()),
        context_{cpu::KernelsOf(set), *pool_, scratch_} {}

  DeviceInfo Info() const override {
    return {.name = name_,
            .instruction_set = std::string(Name(set_)),
            .num_threads = pool_->num_threads()};
  }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t bytes) override {
    CARAVAN_ASSIGN_OR_RETURN(HugeMemory memory,
                             HugeMemory::Create(bytes, Commit::kNow));
    return std::make_unique<CpuBuffer>(std::move(memory));
  }

  absl::StatusOr<std::unique_ptr<Weight>> LoadWeight(
      const MatrixReader& reader, WeightFormat hold_as) override {
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<PanelWeight> weight,
                             PanelWeight::Load(reader, hold_as, *pool_));
    CARAVAN_RETURN_IF_ERROR(
        scratch_.ReserveWeight(weight->rows(), weight->cols()));
    return weight;
  }

  absl::StatusOr<std::unique_ptr<KvCache>> CreateKvCache(
      const KvCacheShape& shape) override {
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<PagedKvCache> cache,
                             PagedKvCache::Create(shape));
    CARAVAN_RETURN_IF_ERROR(scratch_.ReserveHeads(shape.head_dim));
    return cache;
  }

  // Weights and the cache have reserved all but the slots of tokens: steps are
  // cut to what they take.
  absl::Status Reserve(const StepLimits& limits) override {
    if (limits.vocabulary_size == 0) return absl::OkStatus();
    for (std::vector<ChosenToken>& set : token_sets_) {
      if (static_cast<int64_t>(set.size()) < limits.max_rows) {
        set.resize(limits.max_rows);
      }
    }
    const int64_t parts = limits.vocabulary_ranks * limits.max_rows;
    if (limits.vocabulary_ranks > 1 &&
        static_cast<int64_t>(token_parts_.size()) < parts) {
      token_parts_.resize(parts);
    }
    return absl::OkStatus();
  }

  absl::Status CopyIn(absl::Span<const std::byte> from,
                      const Tensor& to) override {
    CARAVAN_CHECK(static_cast<int64_t>(from.size()) == to.bytes());
    if (!from.empty()) std::memcpy(to.data, from.data(), from.size());
    return absl::OkStatus();
  }

  absl::Status CopyOut(const Tensor& from, absl::Span<std::byte> to) override {
    CARAVAN_CHECK(static_cast<int64_t>(to.size()) == from.bytes());
    if (!to.empty()) std::memcpy(to.data(), from.data, to.size());
    return absl::OkStatus();
  }

  absl::Status Embed(const Weight& table, int64_t first_id,
                     const InputTokens& tokens, const Tensor& out) override {
    std::vector<int32_t> ids(tokens.ids.begin(), tokens.ids.end());
    const std::vector<ChosenToken>& set = token_sets_[tokens.set];
    for (int32_t& id : ids) {
      if (id >= 0) continue;
      CARAVAN_CHECK(-1 - id < static_cast<int64_t>(set.size()));
      id = set[-1 - id].id;
    }
    EmbedRows(context_, AsPanels(table), first_id, ids, out);
    return absl::OkStatus();
  }

  absl::Status AttentionInput(const Tensor& x, const Norm& norm,
                              const Weight& qkv, const AttentionLayer& layer,
                              const Batch& batch,
                              const Tensor& queries) override {
    ApplyAttentionInput(context_, {x, &norm, &AsPanels(qkv), queries}, layer,
                        batch);
    return absl::OkStatus();
  }

  absl::Status Attention(const Tensor& queries, const AttentionLayer& layer,
                         const Batch& batch, const Tensor& out) override {
    ApplyAttention(context_, {queries, out}, layer, batch);
    return absl::OkStatus();
  }

  absl::Status Linear(const Tensor& x, const Weight& weight,
                      const Tensor* residual, const Tensor& out) override {
    ApplyLinear(context_, x, AsPanels(weight), residual, out);
    return absl::OkStatus();
  }

  absl::Status GatedMlp(const Tensor& x, const Norm& norm,
                        const Weight& gate_up, const Tensor& out) override {
    ApplyGatedMlp(context_, x, norm, AsPanels(gate_up), out);
    return absl::OkStatus();
  }

  absl::Status Head(const Tensor& x, absl::Span<const int64_t> rows,
                    const Norm& norm, const Weight& head,
                    const Tensor& logits) override {
    ApplyHead(context_, {x, rows, &norm}, AsPanels(head), logits);
    return absl::OkStatus();
  }

  absl::Status Candidates(const Tensor& logits, int64_t first_id,
                          absl::Span<const CandidateRequest> requests,
                          absl::Span<ShardCandidates> results) override {
    CARAVAN_CHECK(requests.size() == results.size());
    CheckFloats(logits, logits.rows, logits.cols);
    for (const CandidateRequest& request : requests) {
      CARAVAN_CHECK(request.row >= 0 && request.row < logits.rows);
    }
    const PieceTable table(requests.size(), logits, pool_->num_threads());
    std::vector<ShardCandidates> pieces(table.count);
    pool_->Run(table.count, [&](int64_t index, int) {
      const CandidateRequest& request = requests[table.Request(index)];
      pieces[index] = FindCandidates(context_.kernels,
                                     {table.Logits(logits, request.row, index),
                                      first_id + table.First(index)},
                                     request);
    });
    for (size_t i = 0; i < requests.size(); ++i) {
      results[i] = MergeCandidates(
          absl::MakeConstSpan(pieces).subspan(i * table.per_row, table.per_row),
          requests[i]);
    }
    return absl::OkStatus();
  }

  absl::Status ChooseTokens(const Tensor& logits, const VocabularyShard& shard,
                            absl::Span<const CandidateRequest> requests,
                            TokenSlot first) override {
    std::vector<ChosenToken>& set = token_sets_[first.set];
    const auto count = static_cast<int64_t>(requests.size());
    CARAVAN_RETURN_IF_ERROR(
        CheckSlots(first, count, static_cast<int64_t>(set.size())));
    if (requests.empty()) return absl::OkStatus();
    const absl::Span<ChosenToken> tokens =
        absl::MakeSpan(set).subspan(first.index, count);
    if (shard.num_ranks == 1) {
      return ChooseFromShard(logits, shard.first_id, requests, tokens);
    }
    CARAVAN_RETURN_IF_ERROR(
        CheckParts(shard, count, static_cast<int64_t>(token_parts_.size())));
    const auto part = [&](int rank) {
      return absl::MakeSpan(token_parts_).subspan(rank * count, count);
    };
    CARAVAN_RETURN_IF_ERROR(
        ChooseFromShard(logits, shard.first_id, requests, part(shard.rank)));
    CARAVAN_RETURN_IF_ERROR(shard.gather(
        PartsAsTensor(token_parts_.data(), shard.num_ranks * count)));
    absl::c_copy(part(0), tokens.begin());
    for (int rank = 1; rank < shard.num_ranks; ++rank) {
      absl::c_transform(tokens, part(rank), tokens.begin(), MergeChosen);
    }
    return absl::OkStatus();
  }

  // They are there.
  absl::Status FetchTokens(int set, int64_t count) override {
    return CheckSlots({.set = set}, count,
                      static_cast<int64_t>(token_sets_[set].size()));
  }

  absl::Status ReadTokens(int set, absl::Span<ChosenToken> tokens) override {
    const std::vector<ChosenToken>& from = token_sets_[set];
    const auto count = static_cast<int64_t>(tokens.size());
    CARAVAN_RETURN_IF_ERROR(
        CheckSlots({.set = set}, count, static_cast<int64_t>(from.size())));
    std::copy_n(from.begin(), count, tokens.begin());
    return absl::OkStatus();
  }

  bool HasToWaitForTokens(int) const override { return false; }

  absl::Status Masses(const Tensor& logits,
                      absl::Span<const MassRequest> requests,
                      absl::Span<uint64_t> masses) override {
    CARAVAN_CHECK(requests.size() == masses.size());
    CheckFloats(logits, logits.rows, logits.cols);
    for (const MassRequest& request : requests) {
      CARAVAN_CHECK(request.row >= 0 && request.row < logits.rows);
      CARAVAN_CHECK(request.temperature > 0);
    }
    const PieceTable table(requests.size(), logits, pool_->num_threads());
    std::vector<uint64_t> pieces(table.count);
    pool_->Run(table.count, [&](int64_t index, int) {
      const MassRequest& request = requests[table.Request(index)];
      pieces[index] = SumMasses(
          context_.kernels, table.Logits(logits, request.row, index), request);
    });
    std::fill(masses.begin(), masses.end(), 0);
    for (int64_t index = 0; index < table.count; ++index) {
      masses[table.Request(index)] += pieces[index];
    }
    return absl::OkStatus();
  }

  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  absl::Status ChooseFromShard(const Tensor& logits, int64_t first_id,
                               absl::Span<const CandidateRequest> requests,
                               absl::Span<ChosenToken> tokens) {
    std::vector<CandidateRequest> for_largest(requests.begin(), requests.end());
    for (CandidateRequest& request : for_largest) request.num_top = 1;
    std::vector<ShardCandidates> results(requests.size());
    CARAVAN_RETURN_IF_ERROR(
        Candidates(logits, first_id, for_largest, absl::MakeSpan(results)));
    for (size_t i = 0; i < requests.size(); ++i) {
      const Candidate& largest = results[i].top[0];
      const Candidate& chosen = requests[i].noise ? results[i].winner : largest;
      tokens[i] = {chosen.id, chosen.value, largest.value};
    }
    return absl::OkStatus();
  }

  const InstructionSet set_;
  const std::string name_;
  const std::unique_ptr<ThreadPool> pool_;
  Scratch scratch_;
  const ProductContext context_;
  std::array<std::vector<ChosenToken>, kTokenSets> token_sets_;
  std::vector<ChosenToken> token_parts_;  // (ranks, tokens)
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(
    const CpuBackendOptions& options) {
  const InstructionSet set =
      options.instruction_set.value_or(BestInstructionSet());
  if (!CanRun(set)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "this machine lacks the instruction set: wanted=", Name(set),
        " best=", Name(BestInstructionSet())));
  }
  CARAVAN_ASSIGN_OR_RETURN(
      std::unique_ptr<ThreadPool> pool,
      ThreadPool::Create({.num_threads = options.num_threads,
                          .processors = options.processors}));
  return std::make_unique<CpuBackend>(set, std::move(pool));
}

}  // namespace caravan::worker
