#include "worker/backend/cuda/sampling_operations.h"

#include <memory>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/backend/cuda/device_vector.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kRows = 5;
constexpr int64_t kVocabulary = 9000;  // two pieces

// Conformance tests compare with the definitions of sampling.h.
class SamplingOperationsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, DeviceContext::Create({}));
    std::mt19937 random(1);
    std::vector<float> values(kRows * kVocabulary);
    for (float& value : values) value = static_cast<float>(random() % 4001);
    logits_ = std::make_unique<DeviceVector<float>>(values);
    sampling_ = std::make_unique<SamplingOperations>(*context_);
  }
  Tensor Logits(int64_t cols) const {
    return {logits_->data(), DType::kFloat32, kRows, cols};
  }
  // What all requests together get is what some get alone.
  void CheckGroups(int64_t cols, const std::vector<CandidateRequest>& requests,
                   const std::vector<size_t>& some) {
    std::vector<ShardCandidates> together(requests.size());
    CARAVAN_ASSERT_OK(sampling_->Candidates(Logits(cols), 7, requests,
                                            absl::MakeSpan(together)));
    for (const size_t i : some) {
      ShardCandidates alone;
      CARAVAN_ASSERT_OK(sampling_->Candidates(
          Logits(cols), 7, absl::MakeConstSpan(&requests[i], 1),
          absl::MakeSpan(&alone, 1)));
      ASSERT_EQ(alone.top.size(), static_cast<size_t>(requests[i].num_top));
      ASSERT_EQ(together[i].top.size(), alone.top.size());
      for (size_t j = 0; j < alone.top.size(); ++j) {
        ASSERT_EQ(together[i].top[j].id, alone.top[j].id);
        ASSERT_EQ(together[i].top[j].value, alone.top[j].value);
      }
      EXPECT_EQ(together[i].winner.id, alone.winner.id);
      EXPECT_EQ(together[i].winner.id >= 0, requests[i].noise);
    }
  }

  std::unique_ptr<DeviceContext> context_;
  std::unique_ptr<DeviceVector<float>> logits_;
  std::unique_ptr<SamplingOperations> sampling_;
};

TEST_F(SamplingOperationsTest, ManyRequestsGetWhatEachGetsAlone) {
  CARAVAN_ASSERT_OK(sampling_->Reserve(kVocabulary));
  std::vector<CandidateRequest> requests;
  for (int i = 0; i < SamplingOperations::kMostRequests + 3; ++i) {
    requests.push_back({.row = i % kRows,
                        .temperature = 1,
                        .seed = static_cast<uint64_t>(i),
                        .num_top = 1 + i % 3,
                        .noise = i % 2 == 0});
  }
  const emulated::MemoryCalls before = emulated::MemoryCallsMade();
  CheckGroups(200, requests, {0, 1, 254, 255, 256, 258});
  EXPECT_EQ(emulated::MemoryCallsMade(), before);
}

TEST_F(SamplingOperationsTest, LargeRequestsGetWhatEachGetsAlone) {
  CARAVAN_ASSERT_OK(sampling_->Reserve(kVocabulary));
  std::vector<CandidateRequest> requests;
  // Nine of such a size are more than there is room for.
  for (int i = 0; i < 9; ++i) {
    requests.push_back(
        {.row = i % kRows, .num_top = static_cast<int>(kVocabulary)});
  }
  CheckGroups(kVocabulary, requests, {0, 6, 7, 8});
}

TEST_F(SamplingOperationsTest, ManyMassesAreThoseOfEachAlone) {
  CARAVAN_ASSERT_OK(sampling_->Reserve(kVocabulary));
  std::vector<MassRequest> requests;
  for (int i = 0; i < 2 * SamplingOperations::kMostRequests + 1; ++i) {
    requests.push_back({.row = i % kRows,
                        .reference = 4000,
                        .temperature = 1.0f + static_cast<float>(i)});
  }
  const emulated::MemoryCalls before = emulated::MemoryCallsMade();
  std::vector<uint64_t> together(requests.size());
  CARAVAN_ASSERT_OK(
      sampling_->Masses(Logits(200), requests, absl::MakeSpan(together)));
  for (const size_t i : {0, 255, 256, 511, 512}) {
    uint64_t alone = 0;
    CARAVAN_ASSERT_OK(sampling_->Masses(Logits(200),
                                        absl::MakeConstSpan(&requests[i], 1),
                                        absl::MakeSpan(&alone, 1)));
    EXPECT_GT(alone, 0u);
    EXPECT_EQ(together[i], alone);
  }
  EXPECT_EQ(emulated::MemoryCallsMade(), before);
}

TEST_F(SamplingOperationsTest, RefusesMoreThanWasReserved) {
  const std::vector<CandidateRequest> requests = {{.num_top = 9000}};
  std::vector<ShardCandidates> results(1);
  const auto candidates = [&](int64_t cols) {
    return sampling_->Candidates(Logits(cols), 0, requests,
                                 absl::MakeSpan(results));
  };
  const std::vector<MassRequest> masses = {{.reference = 4000}};
  std::vector<uint64_t> sums(1);
  EXPECT_THAT(candidates(100),
              testing::StatusIs(absl::StatusCode::kResourceExhausted,
                                ::testing::HasSubstr("reserved=0")));
  EXPECT_THAT(sampling_->Masses(Logits(100), masses, absl::MakeSpan(sums)),
              testing::StatusIs(absl::StatusCode::kResourceExhausted));
  CARAVAN_ASSERT_OK(sampling_->Reserve(0));
  EXPECT_FALSE(candidates(100).ok());
  CARAVAN_ASSERT_OK(sampling_->Reserve(100));
  CARAVAN_EXPECT_OK(candidates(100));
}

}  // namespace
}  // namespace caravan::worker::cuda
