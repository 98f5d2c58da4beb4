#include "worker/backend/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/backend/cuda/attention_operations.h"
#include "worker/backend/cuda/cuda_kv_cache.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/backend/cuda/cuda_weight.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/linear_operations.h"
#include "worker/backend/cuda/padded_step.h"
#include "worker/backend/cuda/sampling_operations.h"
#include "worker/backend/cuda/staging.h"
#include "worker/backend/cuda/step_graphs.h"
#include "worker/backend/cuda/token_sets.h"
#include "worker/backend/token_slots.h"

namespace caravan::worker {
namespace {

// What is copied in or out at a time.
constexpr int64_t kCopyBytes = int64_t{1} << 20;

class CudaBuffer final : public Buffer {
 public:
  explicit CudaBuffer(cuda::DeviceMemory memory) : memory_(std::move(memory)) {}
  void* data() const override { return memory_.data(); }
  int64_t bytes() const override { return memory_.bytes(); }

 private:
  const cuda::DeviceMemory memory_;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::shared_ptr<cuda::DeviceContext> context,
              const CudaBackendOptions& options)
      : context_(std::move(context)),
        loader_(*context_, /*row_major=*/!options.deterministic),
        linear_(*context_,
                options.deterministic ? 0 : options.least_library_rows),
        attention_(*context_, linear_,
                   {.prompts_on_tensor_cores = !options.deterministic}),
        sampling_(*context_),
        tokens_(*context_),
        graphs_(*context_, options.use_graphs) {}

  // Nothing that belongs to it is in use any more when its memory goes; a
  // device that does not answer has failed already.
  ~CudaBackend() override { context_->Wait().IgnoreError(); }

  absl::Status Start() {
    CARAVAN_ASSIGN_OR_RETURN(
        copies_, cuda::StagingBuffer::Create(*context_, kCopyBytes));
    return absl::OkStatus();
  }

  DeviceInfo Info() const override {
    DeviceInfo info = {
        .name = context_->name(),
        .instruction_set = absl::StrCat("sm_", context_->compute_capability()),
        .num_threads = 1};
    size_t free = 0;
    size_t total = 0;
    // A device that has failed tells so at the next operation.
    if (cuda::CudaStatus(cudaMemGetInfo(&free, &total), "cudaMemGetInfo")
            .ok()) {
      info.free_bytes = static_cast<int64_t>(free);
    }
    return info;
  }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t bytes) override {
    CARAVAN_ASSIGN_OR_RETURN(cuda::DeviceMemory memory,
                             cuda::DeviceMemory::Create(bytes));
    if (bytes > 0) {
      CARAVAN_RETURN_IF_ERROR(cuda::CudaStatus(
          cudaMemsetAsync(memory.data(), 0, bytes, context_->stream()),
          "cudaMemsetAsync"));
    }
    return std::make_unique<CudaBuffer>(std::move(memory));
  }

  absl::StatusOr<std::unique_ptr<Weight>> LoadWeight(
      const MatrixReader& reader, WeightFormat hold_as) override {
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<cuda::CudaWeight> weight,
                             loader_.Load(reader, hold_as));
    graphs_.DropGraphs();
    CARAVAN_RETURN_IF_ERROR(linear_.Reserve(*weight));
    return weight;
  }

  absl::StatusOr<std::unique_ptr<KvCache>> CreateKvCache(
      const KvCacheShape& shape) override {
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<cuda::CudaKvCache> cache,
                             cuda::CudaKvCache::Create(*context_, shape));
    graphs_.DropGraphs();
    CARAVAN_RETURN_IF_ERROR(attention_.Reserve(*cache));
    return cache;
  }

  absl::Status Reserve(const StepLimits& limits) override {
    graphs_.DropGraphs();
    CARAVAN_RETURN_IF_ERROR(loader_.Release());
    CARAVAN_RETURN_IF_ERROR(linear_.Reserve(limits));
    CARAVAN_RETURN_IF_ERROR(attention_.Reserve(limits));
    if (limits.vocabulary_size == 0) return absl::OkStatus();
    CARAVAN_RETURN_IF_ERROR(
        tokens_.Reserve(limits.max_rows, limits.vocabulary_ranks));
    return sampling_.Reserve(limits.vocabulary_size);
  }

  absl::Status CopyIn(absl::Span<const std::byte> from,
                      const Tensor& to) override {
    CARAVAN_CHECK(static_cast<int64_t>(from.size()) == to.bytes());
    for (int64_t done = 0; done < to.bytes(); done += kCopyBytes) {
      const int64_t bytes = std::min(kCopyBytes, to.bytes() - done);
      CARAVAN_ASSIGN_OR_RETURN(std::byte* const staged, copies_->Free());
      std::memcpy(staged, from.data() + done, bytes);
      CARAVAN_RETURN_IF_ERROR(
          copies_->CopyTo(static_cast<std::byte*>(to.data) + done, bytes));
    }
    return absl::OkStatus();
  }

  absl::Status CopyOut(const Tensor& from, absl::Span<std::byte> to) override {
    CARAVAN_CHECK(static_cast<int64_t>(to.size()) == from.bytes());
    for (int64_t done = 0; done < from.bytes(); done += kCopyBytes) {
      const int64_t bytes = std::min(kCopyBytes, from.bytes() - done);
      CARAVAN_RETURN_IF_ERROR(
          copies_->CopyFrom(static_cast<std::byte*>(from.data) + done, bytes));
      CARAVAN_ASSIGN_OR_RETURN(const std::byte* const read, copies_->Free());
      std::memcpy(to.data() + done, read, bytes);
    }
    return absl::OkStatus();
  }

  absl::Status Embed(const Weight& table, int64_t first_id,
                     const InputTokens& tokens, const Tensor& out) override {
    return linear_.EmbedRows(cuda::AsCudaWeight(table), first_id,
                             {tokens_.PlaceIds(tokens), tokens_.slots()}, out);
  }

  absl::Status AttentionInput(const Tensor& x, const Norm& norm,
                              const Weight& qkv, const AttentionLayer& layer,
                              const Batch& batch,
                              const Tensor& queries) override {
    return attention_.Input({x, norm, cuda::AsCudaWeight(qkv), queries}, layer,
                            batch);
  }

  absl::Status Attention(const Tensor& queries, const AttentionLayer& layer,
                         const Batch& batch, const Tensor& out) override {
    return attention_.Attend(queries, layer, batch, out);
  }

  absl::Status Linear(const Tensor& x, const Weight& weight,
                      const Tensor* residual, const Tensor& out) override {
    return linear_.Linear(x, cuda::AsCudaWeight(weight), residual, out);
  }

  absl::Status GatedMlp(const Tensor& x, const Norm& norm,
                        const Weight& gate_up, const Tensor& out) override {
    return linear_.GatedMlp(x, norm, cuda::AsCudaWeight(gate_up), out);
  }

  absl::Status Head(const Tensor& x, absl::Span<const int64_t> rows,
                    const Norm& norm, const Weight& head,
                    const Tensor& logits) override {
    return linear_.Head(x, rows, norm, cuda::AsCudaWeight(head), logits);
  }

  absl::Status Candidates(const Tensor& logits, int64_t first_id,
                          absl::Span<const CandidateRequest> requests,
                          absl::Span<ShardCandidates> results) override {
    return sampling_.Candidates(logits, first_id, requests, results);
  }

  absl::Status ChooseTokens(const Tensor& logits, const VocabularyShard& shard,
                            absl::Span<const CandidateRequest> requests,
                            TokenSlot first) override {
    CARAVAN_ASSIGN_OR_RETURN(int64_t slot,
                             tokens_.Place(first, std::ssize(requests)));
    constexpr size_t kMost = cuda::SamplingOperations::kMostRequests;
    for (size_t i = 0; i < requests.size(); i += kMost) {
      const cuda::SamplingOperations::Choices choices = {
          requests.subspan(i, kMost), slot};
      CARAVAN_ASSIGN_OR_RETURN(
          const cuda::ChooseArguments found,
          sampling_.FindChoices(logits, shard.first_id, choices));
      CARAVAN_RETURN_IF_ERROR(
          shard.num_ranks == 1 ? Choose(found) : ChooseTogether(found, shard));
      slot += found.num_requests;
    }
    return absl::OkStatus();
  }

  absl::Status FetchTokens(int set, int64_t count) override {
    return tokens_.Fetch(set, count);
  }

  absl::Status ReadTokens(int set, absl::Span<ChosenToken> tokens) override {
    return tokens_.Read(set, tokens);
  }

  bool HasToWaitForTokens(int set) const override {
    return tokens_.HasToWait(set);
  }

  absl::Status Masses(const Tensor& logits,
                      absl::Span<const MassRequest> requests,
                      absl::Span<uint64_t> masses) override {
    return sampling_.Masses(logits, requests, masses);
  }

  absl::Status RunStep(const StepInput& input, const StepWork& work) override {
    const std::optional<int64_t> num_rows = GraphRows(input, work);
    if (!num_rows.has_value()) return work.enqueue(input);
    const cuda::PaddedStep step(input, *num_rows);
    CARAVAN_RETURN_IF_ERROR(BringTables(step.input(), work.vocabulary_size));
    CARAVAN_ASSIGN_OR_RETURN(const int num_parts,
                             attention_.BeginGraphStep(step.input().batch));
    const absl::Status status = graphs_.Run(
        {.owner = work.owner,
         .num_rows = *num_rows,
         .num_parts = num_parts,
         .embeds = !input.tokens.ids.empty(),
         .chooses = !input.choices.empty()},
        [&] { return work.enqueue(step.input()); }, work.all_agree);
    attention_.EndGraphStep();
    return status;
  }

  absl::Status Synchronize() override { return context_->Wait(); }

 private:
  absl::Status Choose(cuda::ChooseArguments found) {
    found.slots = tokens_.slots();
    return cuda::CudaStatus(cuda::ChooseTokens(found, context_->stream()),
                            "ChooseTokens");
  }

  // All ranks choose from what each has found.
  absl::Status ChooseTogether(cuda::ChooseArguments found,
                              const VocabularyShard& shard) {
    const int64_t count = found.num_requests;
    CARAVAN_ASSIGN_OR_RETURN(cuda::DeviceToken* const parts,
                             tokens_.Parts(shard, count));
    found.parts = parts + shard.rank * count;
    CARAVAN_RETURN_IF_ERROR(Choose(found));
    CARAVAN_RETURN_IF_ERROR(
        shard.gather(PartsAsTensor(parts, shard.num_ranks * count)));
    return cuda::CudaStatus(
        cuda::MergeShards({.parts = parts,
                           .num_shards = shard.num_ranks,
                           .requests = found.requests,
                           .num_requests = found.num_requests,
                           .slots = tokens_.slots()},
                          context_->stream()),
        "MergeShards");
  }

  // The rows that a graph has for a step, or nothing: it is not one of single
  // rows within the limits, of which all are chosen for or none.
  std::optional<int64_t> GraphRows(const StepInput& input,
                                   const StepWork& work) const {
    if (!graphs_.enabled()) return std::nullopt;
    if (input.choices.empty()) {
      return attention_.GraphRows(input.batch, work.max_rows);
    }
    if (std::ssize(input.choices) != input.batch.num_rows) return std::nullopt;
    return attention_.GraphRows(
        input.batch, std::min({work.max_rows, work.max_choices,
                               cuda::SamplingOperations::kMostRequests}));
  }

  // What the step's operations will find unchanged.
  absl::Status BringTables(const StepInput& step, int64_t vocabulary_size) {
    if (!step.tokens.ids.empty()) {
      CARAVAN_RETURN_IF_ERROR(
          linear_.BringIds(tokens_.PlaceIds(step.tokens)).status());
    }
    if (step.choices.empty()) return absl::OkStatus();
    const ChoiceRows of = RowsOf(step.choices);
    CARAVAN_RETURN_IF_ERROR(linear_.BringRows(of.rows).status());
    CARAVAN_ASSIGN_OR_RETURN(
        const int64_t slot,
        tokens_.Place({.set = step.chosen_set}, std::ssize(of.requests)));
    return sampling_.BringChoices(vocabulary_size, {of.requests, slot})
        .status();
  }

  const std::shared_ptr<cuda::DeviceContext> context_;
  std::unique_ptr<cuda::StagingBuffer> copies_;
  cuda::WeightLoader loader_;
  cuda::LinearOperations linear_;
  cuda::AttentionOperations attention_;
  cuda::SamplingOperations sampling_;
  cuda::TokenSets tokens_;
  cuda::StepGraphs graphs_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(
    std::shared_ptr<cuda::DeviceContext> context,
    const CudaBackendOptions& options) {
  auto backend = std::make_unique<CudaBackend>(std::move(context), options);
  CARAVAN_RETURN_IF_ERROR(backend->Start());
  return backend;
}

absl::StatusOr<std::shared_ptr<cuda::DeviceContext>> OpenCudaDevice(
    const CudaBackendOptions& options) {
  return cuda::DeviceContext::Create(
      {.device = options.device, .timeout = options.timeout});
}

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(
    const CudaBackendOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(std::shared_ptr<cuda::DeviceContext> context,
                           OpenCudaDevice(options));
  return CreateCudaBackend(std::move(context), options);
}

}  // namespace caravan::worker
