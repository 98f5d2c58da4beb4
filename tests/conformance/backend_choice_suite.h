// Tokens that the device chooses and keeps, against what Candidates tells the
// host: equal, not nearly.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_CHOICE_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_CHOICE_SUITE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "base/status_macros.h"
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
    CARAVAN_EXPECT_OK(
        ChooseOfAll(device, requests, {.set = 1, .index = kFirst}));
    return Read(1, kFirst, requests.size());
  }
  // Of logits of the whole vocabulary.
  absl::Status ChooseOfAll(const DeviceMatrix& logits,
                           const std::vector<CandidateRequest>& requests,
                           TokenSlot first) {
    return backend_->ChooseTokens(logits.tensor(), VocabularyShard(), requests,
                                  first);
  }

  std::vector<ChosenToken> Read(int set, size_t first, size_t count) {
    std::vector<ChosenToken> tokens(first + count);
    CARAVAN_EXPECT_OK(backend_->FetchTokens(set, std::ssize(tokens)));
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

// Ranks that hold a part of the vocabulary each, one after the other.
class Shards {
 public:
  Shards(Backend& backend, const HostMatrix& logits, std::vector<int64_t> ends)
      : backend_(backend), logits_(logits), ends_(std::move(ends)) {
    parts_.resize(ends_.size());
  }

  // What rank `rank` puts into the first slots of set 0. The first call of each
  // rank tells what it finds: then the others' parts are its own.
  absl::Status Choose(int rank, const std::vector<CandidateRequest>& requests) {
    const int64_t begin = rank == 0 ? 0 : ends_[rank - 1];
    HostMatrix mine = {logits_.rows, ends_[rank] - begin, {}};
    for (int64_t row = 0; row < mine.rows; ++row) {
      const float* from = logits_.values.data() + row * logits_.cols + begin;
      mine.values.insert(mine.values.end(), from, from + mine.cols);
    }
    const DeviceMatrix device(backend_, mine);
    return backend_.ChooseTokens(
        device.tensor(),
        {.first_id = begin,
         .rank = rank,
         .num_ranks = static_cast<int>(ends_.size()),
         .gather = [&](const Tensor& all) { return Gather(rank, all); }},
        requests, {});
  }

 private:
  absl::Status Gather(int rank, const Tensor& all) {
    const int64_t rows = all.rows / static_cast<int64_t>(ends_.size());
    const auto part = [&](size_t other) {
      return all.Rows(static_cast<int64_t>(other) * rows, rows);
    };
    parts_[rank].resize(part(rank).bytes());
    CARAVAN_RETURN_IF_ERROR(
        backend_.CopyOut(part(rank), absl::MakeSpan(parts_[rank])));
    for (size_t other = 0; other < parts_.size(); ++other) {
      CARAVAN_RETURN_IF_ERROR(backend_.CopyIn(
          parts_[other].empty() ? parts_[rank] : parts_[other], part(other)));
    }
    return absl::OkStatus();
  }

  Backend& backend_;
  const HostMatrix& logits_;
  const std::vector<int64_t> ends_;
  std::vector<std::vector<std::byte>> parts_;  // of each rank
};

TEST_P(BackendChoice, ShardsGiveWhatTheWholeGives) {
  constexpr int64_t kVocabulary = 20000;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  HostMatrix logits = RandomMatrix(6, kVocabulary, 47, 10.0f);
  // Equals on both sides of a border; what is not finite, in one shard or all.
  for (const int64_t id : {8191, 8192, 19999}) logits.Row(1)[id] = 1000;
  logits.Row(2)[9000] = kInfinity;
  std::fill_n(logits.Row(3), 8192, std::nanf(""));
  std::fill_n(logits.Row(4), kVocabulary, std::nanf(""));
  std::fill_n(logits.Row(5), kVocabulary, -kInfinity);
  std::vector<CandidateRequest> requests;
  for (int i = 0; i < 24; ++i) {
    requests.push_back({.row = i % 6,
                        .temperature = 0.5f + static_cast<float>(i),
                        .seed = static_cast<uint64_t>(i) * 977,
                        .position = i,
                        .noise = i > 5});
  }
  const std::vector<ChosenToken> whole = Choose(logits, requests);
  for (const std::vector<int64_t>& ends :
       {std::vector<int64_t>{8192, kVocabulary},
        std::vector<int64_t>{1, 8192, 8200, 19000, kVocabulary}}) {
    Shards shards(*backend_, logits, ends);
    for (const bool known : {false, true}) {
      for (int rank = 0; rank < static_cast<int>(ends.size()); ++rank) {
        CARAVAN_ASSERT_OK(shards.Choose(rank, requests));
        if (!known) continue;
        const std::vector<ChosenToken> tokens = Read(0, 0, requests.size());
        for (size_t i = 0; i < requests.size(); ++i) {
          if (!std::isfinite(whole[i].largest)) {
            EXPECT_FALSE(std::isfinite(tokens[i].largest)) << i;
            EXPECT_GE(tokens[i].id, 0);
            EXPECT_LT(tokens[i].id, kVocabulary);
            continue;
          }
          EXPECT_EQ(tokens[i].id, whole[i].id) << "rank=" << rank << " " << i;
          EXPECT_EQ(tokens[i].value, whole[i].value);
          EXPECT_EQ(tokens[i].largest, whole[i].largest);
        }
      }
    }
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
    CARAVAN_ASSERT_OK(
        ChooseOfAll(logits, GreedyRows(5), {.set = 1, .index = 40}));
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
    CARAVAN_EXPECT_OK(ChooseOfAll(logits, request, slot));
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
  EXPECT_EQ(Read(1, 0, 1)[0].id, 6);
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
    CARAVAN_ASSERT_OK(
        ChooseOfAll(logits, requests, {.set = round % kTokenSets}));
    CARAVAN_ASSERT_OK(backend_->FetchTokens(round % kTokenSets, kRows));
  };
  const auto read = [&](int round) {
    std::vector<ChosenToken> tokens(kRows);
    CARAVAN_EXPECT_OK(
        backend_->ReadTokens(round % kTokenSets, absl::MakeSpan(tokens)));
    std::vector<int32_t> ids;
    for (const ChosenToken& token : tokens) ids.push_back(token.id);
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
    return ChooseOfAll(logits, GreedyRows(2), {.set = 1, .index = first});
  };
  CARAVAN_EXPECT_OK(choose(most - 2));
  // Ranks for whose tokens there is no room.
  EXPECT_THAT(
      backend_->ChooseTokens(
          logits.tensor(),
          {.num_ranks = SuiteLimits().vocabulary_ranks * static_cast<int>(most),
           .gather = [](const Tensor&) { return absl::OkStatus(); }},
          GreedyRows(2), {}),
      testing::StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(choose(most - 1),
              testing::StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(backend_->FetchTokens(0, most + 1),
              testing::StatusIs(absl::StatusCode::kResourceExhausted));
  std::vector<ChosenToken> tokens(most + 1);
  EXPECT_THAT(backend_->ReadTokens(0, absl::MakeSpan(tokens)),
              testing::StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_CHOICE_SUITE_H_
