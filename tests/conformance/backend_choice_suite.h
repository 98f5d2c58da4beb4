// Tokens that the device chooses and keeps, against what Candidates tells the
// host: equal, not nearly.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_CHOICE_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_CHOICE_SUITE_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/conformance/backend_fixture.h"
#include "tests/conformance/backend_sampling_suite.h"

namespace caravan::worker {

class BackendChoice : public BackendSuite {
 protected:
  // Of `logits`, the whole vocabulary, in slots 3 and following of set 1.
  std::vector<ChosenToken> Choose(
      const HostMatrix& logits, const std::vector<CandidateRequest>& requests) {
    constexpr int64_t kFirst = 3;
    const DeviceMatrix device(*backend_, logits);
    CARAVAN_EXPECT_OK(backend_->ChooseTokens(device.tensor(), requests,
                                             {.set = 1, .index = kFirst}));
    return Read(1, kFirst, requests.size());
  }

  std::vector<ChosenToken> Read(int set, size_t first, size_t count) {
    std::vector<ChosenToken> tokens(first + count);
    CARAVAN_EXPECT_OK(backend_->ReadTokens(set, absl::MakeSpan(tokens)));
    EXPECT_FALSE(backend_->HasToWaitForTokens(set));
    return {tokens.begin() + static_cast<ptrdiff_t>(first), tokens.end()};
  }

  // Rows of which row i has its largest logit at ids[i].
  static HostMatrix Peaks(const std::vector<int32_t>& ids, int64_t vocabulary) {
    HostMatrix logits =
        RandomMatrix(static_cast<int64_t>(ids.size()), vocabulary, 3);
    for (size_t i = 0; i < ids.size(); ++i) {
      logits.Row(static_cast<int64_t>(i))[ids[i]] = 2;
    }
    return logits;
  }
  static std::vector<CandidateRequest> GreedyRows(int64_t count) {
    std::vector<CandidateRequest> requests(count);
    for (int64_t i = 0; i < count; ++i) requests[i].row = i;
    return requests;
  }
};

TEST_P(BackendChoice, TakesWhatCandidatesTell) {
  for (const int64_t vocabulary : {1, 3, 100, 8192, 8193, 32003}) {
    HostMatrix logits = RandomMatrix(3, vocabulary, 41, 10.0f);
    // Rounded to halves: many equal values.
    for (int64_t i = 0; i < vocabulary; ++i) {
      float& value = logits.Row(1)[i];
      value = std::floor(value * 2) / 2;
    }
    std::vector<CandidateRequest> requests;
    for (int i = 0; i < 20; ++i) {
      requests.push_back({.row = (i * 2) % 3,
                          .temperature = 0.1f * static_cast<float>(i),
                          .seed = static_cast<uint64_t>(i) * 0x12345678abcdu,
                          .position = i * 5,
                          .num_top = i % 4,
                          .noise = i > 6});
    }
    const std::vector<ChosenToken> tokens = Choose(logits, requests);
    for (CandidateRequest& request : requests) request.num_top = 1;
    const auto expected = FindCandidates(*backend_, logits, 0, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_EQ(tokens[i].id, requests[i].noise ? expected[i].winner.id
                                                : expected[i].top[0].id)
          << "vocabulary=" << vocabulary << " request=" << i;
      ASSERT_EQ(tokens[i].largest, expected[i].top[0].value);
    }
  }
}

TEST_P(BackendChoice, TheLowestIdOfEqualsIsTaken) {
  HostMatrix logits = {2, 30000, std::vector<float>(60000, -1)};
  for (const int64_t id : {29999, 25000, 8192, 17000}) logits.Row(0)[id] = 3;
  for (const int64_t id : {8191, 8192}) logits.Row(1)[id] = 3;
  const std::vector<ChosenToken> tokens = Choose(logits, GreedyRows(2));
  EXPECT_EQ(tokens[0].id, 8192);
  EXPECT_EQ(tokens[1].id, 8191);
}

TEST_P(BackendChoice, WhatIsNotFiniteIsVisible) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  HostMatrix logits = RandomMatrix(5, 9000, 42);
  std::fill_n(logits.Row(0), 9000, std::nanf(""));
  std::fill_n(logits.Row(1), 9000, -kInfinity);
  logits.Row(2)[8999] = kInfinity;
  logits.Row(3)[0] = std::nanf("");
  std::vector<CandidateRequest> requests = GreedyRows(5);
  for (CandidateRequest request : GreedyRows(5)) {
    request.temperature = 1;
    request.noise = true;
    requests.push_back(request);
  }
  const std::vector<ChosenToken> tokens = Choose(logits, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(std::isfinite(tokens[i].largest), requests[i].row >= 3) << i;
    // A step that is under way embeds it all the same.
    EXPECT_GE(tokens[i].id, 0);
    EXPECT_LT(tokens[i].id, 9000);
  }
}

TEST_P(BackendChoice, ManyRowsGetWhatEachGetsAlone) {
  const HostMatrix logits = RandomMatrix(7, 300, 43);
  std::vector<CandidateRequest> requests;
  for (int i = 0; i < 300; ++i) {
    requests.push_back({.row = i % 7,
                        .temperature = 1,
                        .seed = static_cast<uint64_t>(i),
                        .noise = i % 2 == 0});
  }
  const std::vector<ChosenToken> together = Choose(logits, requests);
  for (const size_t i : {0, 255, 256, 299}) {
    const std::vector<ChosenToken> alone = Choose(logits, {requests[i]});
    EXPECT_EQ(together[i].id, alone[0].id) << i;
    EXPECT_EQ(together[i].largest, alone[0].largest) << i;
  }
}

TEST_P(BackendChoice, EmbedTakesTokensFromSlots) {
  for (const WeightFormat format :
       {WeightFormat::kBFloat16, WeightFormat::kQ8}) {
    // A shard: ids 100 to 149 of 300.
    const HostMatrix table = RoundTo(RandomMatrix(50, 64, 12), format);
    const auto weight = Load(*backend_, table, format, format);
    const std::vector<int32_t> chosen = {120, 7, 149, 100, 299};
    const DeviceMatrix logits(*backend_, Peaks(chosen, 300));
    CARAVAN_ASSERT_OK(backend_->ChooseTokens(logits.tensor(), GreedyRows(5),
                                             {.set = 1, .index = 40}));
    // Known ones and slots, in any order, one of them twice.
    const std::vector<int32_t> ids = {101,     -1 - 44, -1 - 42, 0,
                                      -1 - 40, -1 - 42, -1 - 41};
    const std::vector<int32_t> expected = {101, 299, 149, 0, 120, 149, 7};
    const DeviceMatrix out(*backend_, 7, 64);
    CARAVAN_ASSERT_OK(
        backend_->Embed(*weight, 100, {.ids = ids, .set = 1}, out.tensor()));
    const HostMatrix result = out.Read();
    for (int64_t i = 0; i < 7; ++i) {
      const bool held = expected[i] >= 100 && expected[i] < 150;
      for (int64_t k = 0; k < 64; ++k) {
        ASSERT_EQ(result.At(i, k), held ? table.At(expected[i] - 100, k) : 0.0f)
            << Name(format) << " row=" << i;
      }
    }
  }
}

TEST_P(BackendChoice, SetsAreApart) {
  const DeviceMatrix logits(*backend_, Peaks({5, 6, 7, 8}, 20));
  const auto choose = [&](int64_t row, TokenSlot slot) {
    const std::vector<CandidateRequest> request = {{.row = row}};
    CARAVAN_EXPECT_OK(backend_->ChooseTokens(logits.tensor(), request, slot));
  };
  choose(0, {.set = 0, .index = 0});
  choose(1, {.set = 1, .index = 0});
  choose(2, {.set = 1, .index = 1});
  choose(3, {.set = 0, .index = 1});
  for (const int set : {0, 1}) {
    const std::vector<ChosenToken> tokens = Read(set, 0, 2);
    EXPECT_EQ(tokens[0].id, set == 0 ? 5 : 6);
    EXPECT_EQ(tokens[1].id, set == 0 ? 8 : 7);
  }
  EXPECT_TRUE(Read(0, 0, 0).empty());
}

// The decode loop in small: each round embeds what the one before has chosen,
// and the host reads no token before the next round is enqueued.
TEST_P(BackendChoice, RoundsFollowWithoutTheHost) {
  constexpr int64_t kRows = 3;
  constexpr int kRounds = 9;
  const HostMatrix table = RandomMatrix(101, 64, 44);
  const HostMatrix head = RandomMatrix(101, 64, 45);
  const auto embedding =
      Load(*backend_, table, WeightFormat::kFloat32, WeightFormat::kFloat32);
  const auto output =
      Load(*backend_, head, WeightFormat::kFloat32, WeightFormat::kFloat32);
  const DeviceMatrix x(*backend_, kRows, 64);
  const DeviceMatrix logits(*backend_, kRows, 101);
  const auto enqueue = [&](int round, const InputTokens& input) {
    std::vector<CandidateRequest> requests = GreedyRows(kRows);
    for (CandidateRequest& request : requests) {
      request.position = round;
      request.seed = 5 + static_cast<uint64_t>(request.row);
      request.temperature = 1;
      request.noise = request.row != 1;
    }
    CARAVAN_ASSERT_OK(backend_->Embed(*embedding, 0, input, x.tensor()));
    CARAVAN_ASSERT_OK(
        backend_->Linear(x.tensor(), *output, nullptr, logits.tensor()));
    CARAVAN_ASSERT_OK(backend_->ChooseTokens(logits.tensor(), requests,
                                             {.set = round % kTokenSets}));
  };
  const auto read = [&](int round) {
    std::vector<int32_t> ids;
    for (const ChosenToken& token : Read(round % kTokenSets, 0, kRows)) {
      ids.push_back(token.id);
    }
    return ids;
  };
  const std::vector<int32_t> prompt = {1, 2, 3};
  std::vector<std::vector<int32_t>> expected;
  for (int round = 0; round < kRounds; ++round) {
    enqueue(round, {round == 0 ? prompt : expected.back()});
    expected.push_back(read(round));
  }
  const std::vector<int32_t> slots = {-1, -2, -3};
  enqueue(0, {prompt});
  for (int round = 1; round < kRounds; ++round) {
    enqueue(round, {.ids = slots, .set = (round - 1) % kTokenSets});
    EXPECT_EQ(read(round - 1), expected[round - 1]) << round;
  }
  EXPECT_EQ(read(kRounds - 1), expected[kRounds - 1]);
}

TEST_P(BackendChoice, RefusesMoreThanIsReserved) {
  const DeviceMatrix logits(*backend_, RandomMatrix(2, 10, 46));
  const int64_t most = SuiteLimits().max_rows;
  const auto choose = [&](int64_t first) {
    return backend_->ChooseTokens(logits.tensor(), GreedyRows(2),
                                  {.set = 1, .index = first});
  };
  CARAVAN_EXPECT_OK(choose(most - 2));
  EXPECT_THAT(choose(most - 1),
              testing::StatusIs(absl::StatusCode::kResourceExhausted));
  std::vector<ChosenToken> tokens(most + 1);
  EXPECT_THAT(backend_->ReadTokens(0, absl::MakeSpan(tokens)),
              testing::StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_CHOICE_SUITE_H_
