#include "worker/engine/model_executor.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/engine/decoder_setup.h"

namespace caravan::worker {
namespace {

template <typename T>
absl::Span<const std::byte> AsBytes(const std::vector<T>& values) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                             values.size() * sizeof(T));
}

void OnWait(void* progress) { static_cast<ProgressWriter*>(progress)->Tick(); }

}  // namespace

absl::StatusOr<std::unique_ptr<ModelExecutor>> ModelExecutor::Create(
    const ModelExecutorOptions& options) {
  std::unique_ptr<ModelExecutor> executor(new ModelExecutor(options));
  CARAVAN_RETURN_IF_ERROR(executor->Initialize());
  return executor;
}

ModelExecutor::ModelExecutor(const ModelExecutorOptions& options)
    : options_(options),
      rank_plan_(options.plan->ranks(options.rank)),
      stage_(rank_plan_.stage()),
      num_stages_(options.plan->pp()),
      sequences_(options.plan->num_blocks(), options.plan->max_model_len()) {}

absl::Status ModelExecutor::Initialize() {
  const int tp = options_.plan->tp();
  std::vector<int> stage_ranks;
  for (int i = 0; i < tp; ++i) stage_ranks.push_back(stage_ * tp + i);
  const int64_t most_values =
      options_.plan->max_rows_per_step() * options_.source->spec().hidden_size;
  CARAVAN_ASSIGN_OR_RETURN(tensor_group_,
                           CreateGroup({.name = absl::StrCat("tp", stage_),
                                        .world_ranks = stage_ranks,
                                        .most_values = most_values}));
  std::vector<int> pipeline_ranks;
  for (int i = 0; i < num_stages_; ++i) {
    pipeline_ranks.push_back(i * tp + rank_plan_.tp_rank());
  }
  CARAVAN_ASSIGN_OR_RETURN(
      pipeline_group_,
      CreateGroup({.name = absl::StrCat("pp", rank_plan_.tp_rank()),
                   .world_ranks = pipeline_ranks,
                   .most_sent_values = most_values}));

  SetPhase(EnginePhase::kLoading);
  CARAVAN_ASSIGN_OR_RETURN(decoder_,
                           CreateDecoder(DecoderSetup{
                               .plan = options_.plan,
                               .rank = &rank_plan_,
                               .source = options_.source,
                               .backend = options_.backend,
                               .group = tensor_group_.get(),
                               .progress = options_.progress,
                               .on_load_progress = options_.on_load_progress}));
  if (is_last_stage()) {
    sampler_ = std::make_unique<StepSampler>(
        decoder_.get(),
        Sampler::Options{.vocabulary_begin = rank_plan_.vocabulary().begin(),
                         .vocabulary_size = options_.source->spec().vocab_size,
                         .backend = options_.backend,
                         .group = tensor_group_.get()});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Communicator>> ModelExecutor::CreateGroup(
    GroupOptions group) {
  group.timeout = absl::Milliseconds(options_.plan->step_timeout_ms());
  CARAVAN_ASSIGN_OR_RETURN(group.wire_dtype,
                           ParseDType(options_.plan->activation_dtype()));
  if (options_.progress != nullptr) {
    group.on_wait = &OnWait;
    group.on_wait_context = options_.progress;
  }
  return options_.world->CreateGroup(group);
}

absl::Status ModelExecutor::Begin(const v1::Step& step) {
  if (step.number() != last_step_ + 1) {
    return absl::InternalError(absl::StrCat(
        "step out of order: step=", step.number(), " last=", last_step_));
  }
  CARAVAN_CHECK(MayBegin());
  last_step_ = step.number();

  BegunStep begun;
  begun.result.set_epoch(step.epoch());
  begun.result.set_number(step.number());
  CARAVAN_RETURN_IF_ERROR(sequences_.Begin(step));
  CARAVAN_ASSIGN_OR_RETURN(
      begun.batch,
      MakeStepBatch(step, sequences_, options_.plan->max_rows_per_step()));
  if (begun.batch.batch.num_rows > 0) {
    CARAVAN_RETURN_IF_ERROR(RunStep(step, &begun));
  }
  begun_.push_back(std::move(begun));
  return absl::OkStatus();
}

bool ModelExecutor::MayBegin() const {
  return begun_.empty() || (begun_.size() < kTokenSets && begun_.back().chosen);
}

bool ModelExecutor::CanBeginAhead() const {
  return !begun_.empty() && MayBegin() && StepsAreOnlyEnqueued() &&
         options_.backend->HasToWaitForTokens(
             TokenSetOf(begun_.front().result.number()));
}

bool ModelExecutor::StepsAreOnlyEnqueued() const {
  // Else the last stage would wait in Begin for what the first stage sends, and
  // that one for the ids of the step before.
  return !tensor_group_->waits_for_peers() &&
         !pipeline_group_->waits_for_peers();
}

absl::Status ModelExecutor::RunStep(const v1::Step& step, BegunStep* begun) {
  const StepBatch& batch = begun->batch;
  const int64_t num_rows = batch.batch.num_rows;
  StepInput input = {.batch = batch.batch,
                     .chosen_set = TokenSetOf(step.number())};
  std::vector<int32_t> ids;
  if (is_first_stage()) {
    CARAVAN_ASSIGN_OR_RETURN(ids, InputIds(step, batch));
    if (!is_last_stage()) ExpectSampledIds(step, batch);
    input.tokens = {.ids = ids, .set = TokenSetOf(step.number() - 1)};
  } else {
    CARAVAN_RETURN_IF_ERROR(ReceiveHidden(num_rows));
  }
  begun->chosen = is_last_stage() && sampler_->CanChoose(batch);
  std::vector<CandidateRequest> choices;
  if (begun->chosen) choices = StepSampler::Choices(batch);
  input.choices = choices;
  CARAVAN_RETURN_IF_ERROR(decoder_->RunStep(input));
  if (!is_last_stage()) return SendHidden(num_rows);
  return begun->chosen ? ExpectChosen(begun) : absl::OkStatus();
}

absl::Status ModelExecutor::ExpectChosen(BegunStep* begun) {
  const uint64_t number = begun->result.number();
  CARAVAN_RETURN_IF_ERROR(
      sampler_->FetchChosen(begun->batch, TokenSetOf(number), &begun->result));
  int32_t slot = 0;
  for (const SampledRow& row : begun->batch.sampled) {
    EngineSequence* const sequence = begun->batch.sequences[row.entry];
    sequence->chosen_in_step = number;
    sequence->slot = slot++;
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::StepResult> ModelExecutor::Finish() {
  CARAVAN_CHECK(!begun_.empty());
  BegunStep begun = std::move(begun_.front());
  begun_.pop_front();
  if (!is_last_stage()) return std::move(begun.result);
  SetPhase(EnginePhase::kSample);
  CARAVAN_ASSIGN_OR_RETURN(
      const std::vector<int32_t> ids,
      begun.chosen ? ReadChosen(&begun) : SampleOnHost(&begun));
  if (!is_first_stage() && !ids.empty()) {
    CARAVAN_RETURN_IF_ERROR(pipeline_group_->Send(AsBytes(ids), 0));
  }
  return std::move(begun.result);
}

absl::StatusOr<std::vector<int32_t>> ModelExecutor::ReadChosen(
    BegunStep* begun) {
  const uint64_t number = begun->result.number();
  CARAVAN_RETURN_IF_ERROR(
      sampler_->ReadChosen(TokenSetOf(number), &begun->result));
  std::vector<int32_t> ids;
  for (const v1::SequenceResult& chosen : begun->result.sequences()) {
    sequences_.Learn(chosen.sequence(), number, chosen.id());
    ids.push_back(chosen.id());
  }
  return ids;
}

absl::StatusOr<std::vector<int32_t>> ModelExecutor::SampleOnHost(
    BegunStep* begun) {
  const StepBatch& batch = begun->batch;
  CARAVAN_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                           sampler_->Run(batch, &begun->result));
  for (size_t i = 0; i < ids.size(); ++i) {
    batch.sequences[batch.sampled[i].entry]->last_id = ids[i];
  }
  return ids;
}

absl::Status ModelExecutor::ReceiveHidden(int64_t num_rows) {
  SetPhase(EnginePhase::kReceive);
  return pipeline_group_->RecvTensor(decoder_->Hidden(num_rows), stage_ - 1);
}

absl::Status ModelExecutor::SendHidden(int64_t num_rows) {
  SetPhase(EnginePhase::kSend);
  return pipeline_group_->SendTensor(decoder_->Hidden(num_rows), stage_ + 1);
}

absl::StatusOr<std::vector<int32_t>> ModelExecutor::InputIds(
    const v1::Step& step, const StepBatch& batch) {
  std::vector<int32_t> ids;
  // Ids that no step needs (sequences of one token) are taken off the link too:
  // so far back they have long been sent, as no more steps are in flight.
  while (unreceived_.size() > 2 * static_cast<size_t>(num_stages_) + 2) {
    CARAVAN_RETURN_IF_ERROR(ReceiveOldestIds());
  }
  for (int i = 0; i < step.entries_size(); ++i) {
    const v1::StepEntry& entry = step.entries(i);
    for (const int32_t id : entry.ids()) {
      CARAVAN_RETURN_IF_ERROR(CheckId(step, id));
      ids.push_back(id);
    }
    if (!entry.ids().empty()) continue;
    const EngineSequence& sequence = *batch.sequences[i];
    while (sequence.num_unreceived > 0) {
      CARAVAN_RETURN_IF_ERROR(ReceiveOldestIds());
    }
    if (sequence.chosen_in_step != 0) {
      // By the step before, for no other is unfinished.
      CARAVAN_CHECK(sequence.chosen_in_step == step.number() - 1);
      ids.push_back(-1 - sequence.slot);
      continue;
    }
    CARAVAN_RETURN_IF_ERROR(CheckId(step, sequence.last_id));
    ids.push_back(sequence.last_id);
  }
  return ids;
}

absl::Status ModelExecutor::CheckId(const v1::Step& step, int32_t id) const {
  if (id >= 0 && id < options_.source->spec().vocab_size) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      absl::StrCat("token id out of range: step=", step.number(), " id=", id));
}

void ModelExecutor::ExpectSampledIds(const v1::Step& step,
                                     const StepBatch& batch) {
  std::vector<uint64_t> owners;
  for (const SampledRow& row : batch.sampled) {
    owners.push_back(step.entries(row.entry).sequence());
    ++batch.sequences[row.entry]->num_unreceived;
  }
  if (!owners.empty()) unreceived_.push_back(std::move(owners));
}

absl::Status ModelExecutor::ReceiveOldestIds() {
  SetPhase(EnginePhase::kReceive);
  const std::vector<uint64_t> owners = std::move(unreceived_.front());
  unreceived_.pop_front();
  std::vector<int32_t> ids(owners.size());
  CARAVAN_RETURN_IF_ERROR(pipeline_group_->Recv(
      absl::MakeSpan(reinterpret_cast<std::byte*>(ids.data()),
                     ids.size() * sizeof(int32_t)),
      num_stages_ - 1));
  for (size_t i = 0; i < owners.size(); ++i) {
    EngineSequence* sequence = sequences_.Find(owners[i]);
    if (sequence == nullptr) continue;  // dropped since
    sequence->last_id = ids[i];
    --sequence->num_unreceived;
  }
  return absl::OkStatus();
}

void ModelExecutor::SetPhase(EnginePhase phase) {
  if (options_.progress != nullptr) options_.progress->SetPhase(phase);
}

}  // namespace caravan::worker
