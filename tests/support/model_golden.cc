#include "tests/support/model_golden.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"

namespace caravan::testing {
namespace {

constexpr int64_t kChunk = 13;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("no golden: ", path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Compares the rows of this shard's logits as they come with the golden's.
class LogitsCheck {
 public:
  LogitsCheck(const ModelGolden& golden, const GoldenCheck& on,
              worker::Backend& backend)
      : golden_(golden),
        begin_(on.rank->vocabulary().begin()),
        tolerance_(on.logit_tolerance),
        backend_(backend) {
    for (float value : golden.logits) {
      largest_ = std::max(largest_, std::abs(value));
    }
  }

  void Compare(const Tensor& logits) {
    if (next_row_ == golden_.num_logit_rows) return;
    std::vector<float> row(logits.cols, NAN);
    const absl::Status copied = backend_.CopyOut(
        logits.Rows(0, 1),
        absl::MakeSpan(reinterpret_cast<std::byte*>(row.data()),
                       row.size() * sizeof(float)));
    if (!copied.ok()) worst_ = INFINITY;
    const float* expected =
        golden_.logits.data() + next_row_ * golden_.vocab_size + begin_;
    for (int64_t i = 0; i < logits.cols; ++i) {
      const double error = std::abs(static_cast<double>(row[i]) - expected[i]);
      worst_ = std::max(worst_, error / largest_);
      if (std::isnan(row[i])) worst_ = INFINITY;
    }
    ++next_row_;
  }

  absl::Status Verdict() const {
    if (next_row_ < golden_.num_logit_rows) {
      return absl::DataLossError(
          absl::StrCat("too few rows of logits were computed: ", next_row_));
    }
    if (worst_ > tolerance_) {
      return absl::DataLossError(
          absl::StrCat("logits differ: error over the largest logit=", worst_,
                       " allowed=", tolerance_));
    }
    return absl::OkStatus();
  }

 private:
  const ModelGolden& golden_;
  const int64_t begin_;
  const double tolerance_;
  worker::Backend& backend_;
  float largest_ = 0;
  double worst_ = 0;
  int64_t next_row_ = 0;
};

}  // namespace

const std::vector<std::string>& SmallGoldenModels() {
  static const auto* const models = new std::vector<std::string>{
      "multi_head",          "grouped_8_to_1",        "heads_6_kv_3",
      "heads_9_kv_3_linear", "vocabulary_32001_tied", "llama3_scaling",
      "dynamic_scaling"};
  return *models;
}

std::string GoldenFolder(const std::string& name) {
  return absl::StrCat("tests/goldens/models/", name);
}

absl::StatusOr<ModelGolden> LoadGolden(const std::string& folder) {
  CARAVAN_ASSIGN_OR_RETURN(std::string text,
                           ReadFile(absl::StrCat(folder, "/golden.json")));
  CARAVAN_ASSIGN_OR_RETURN(std::string bytes,
                           ReadFile(absl::StrCat(folder, "/logits.f32")));
  const nlohmann::json json = nlohmann::json::parse(text);
  ModelGolden golden;
  golden.prompt = json.at("prompt").get<std::vector<int32_t>>();
  golden.greedy = json.at("greedy").get<std::vector<int32_t>>();
  golden.num_logit_rows = json.at("num_logit_rows").get<int64_t>();
  golden.logits.resize(bytes.size() / sizeof(float));
  std::memcpy(golden.logits.data(), bytes.data(), bytes.size());
  golden.vocab_size =
      static_cast<int64_t>(golden.logits.size()) / golden.num_logit_rows;
  return golden;
}

std::vector<v1::Step> GoldenSteps(const ModelGolden& golden, int64_t chunk) {
  const int64_t num_prompt = static_cast<int64_t>(golden.prompt.size());
  const int64_t total = num_prompt + static_cast<int64_t>(golden.greedy.size());
  std::vector<v1::Step> steps;
  int64_t length = 0;
  int64_t num_blocks = 0;
  while (length < total - 1) {
    v1::Step& step = steps.emplace_back();
    step.set_epoch(1);
    step.set_number(steps.size());
    if (length == 0) {
      v1::NewSequence* added = step.add_new_sequences();
      added->set_sequence(7);
      added->mutable_sampling()->set_top_p(1);
      added->mutable_sampling()->set_logprobs(-1);
      added->mutable_sampling()->set_prompt_logprobs(-1);
    }
    v1::StepEntry* entry = step.add_entries();
    entry->set_sequence(7);
    const int64_t end =
        length < num_prompt ? std::min(length + chunk, num_prompt) : length + 1;
    for (int64_t i = length; i < std::min(end, num_prompt); ++i) {
      entry->add_ids(golden.prompt[i]);
    }
    entry->set_sample(end >= num_prompt);
    length = end;
    // Blocks in an order that is not the order of positions.
    while (num_blocks * 16 < length) {
      entry->add_new_blocks(static_cast<int32_t>((num_blocks * 5 + 3) % 64));
      ++num_blocks;
    }
  }
  return steps;
}

absl::Status CheckGolden(const ModelGolden& golden, const GoldenCheck& on,
                         worker::Backend& backend,
                         worker::ModelExecutor& executor) {
  LogitsCheck check(golden, on, backend);
  const bool last_stage = executor.sampler() != nullptr;
  if (last_stage) {
    executor.sampler()->SetObserver(
        [&check](const Tensor& logits, absl::Span<const int64_t>) {
          check.Compare(logits);
        });
  }
  std::vector<int32_t> ids;
  for (const v1::Step& step : GoldenSteps(golden, kChunk)) {
    CARAVAN_ASSIGN_OR_RETURN(v1::StepResult result, executor.Execute(step));
    for (const v1::SequenceResult& sequence : result.sequences()) {
      ids.push_back(sequence.id());
    }
  }
  if (!last_stage) return absl::OkStatus();
  executor.sampler()->SetObserver(nullptr);
  CARAVAN_RETURN_IF_ERROR(check.Verdict());
  for (size_t i = 0; i < golden.greedy.size(); ++i) {
    if (i < ids.size() && ids[i] == golden.greedy[i]) continue;
    return absl::DataLossError(absl::StrCat(
        "greedy tokens differ: at=", i, " expected=", golden.greedy[i],
        " got=", i < ids.size() ? ids[i] : -1));
  }
  return absl::OkStatus();
}

}  // namespace caravan::testing
