// What shards of logits contribute to sampling, against the definitions of
// sampling.h over all of them: equal, not nearly.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_SAMPLING_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_SAMPLING_SUITE_H_

#include <algorithm>
#include <limits>
#include <vector>

#include "tests/conformance/backend_fixture.h"
#include "worker/backend/sampling.h"

namespace caravan::worker {

inline void PrintTo(const Candidate& candidate, std::ostream* out) {
  *out << candidate.id << ":" << candidate.value;
}
inline bool operator==(const Candidate& a, const Candidate& b) {
  return a.id == b.id && a.value == b.value;
}

// Falling by value, the lower id first among equals.
inline void SortCandidates(std::vector<Candidate>& candidates) {
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) {
              return a.value > b.value || (a.value == b.value && a.id < b.id);
            });
}

inline std::vector<Candidate> ExactTop(const HostMatrix& logits, int64_t row,
                                       int64_t first_id, size_t num_top) {
  std::vector<Candidate> all;
  for (int64_t i = 0; i < logits.cols; ++i) {
    all.push_back({static_cast<int32_t>(first_id + i), logits.At(row, i)});
  }
  SortCandidates(all);
  if (all.size() > num_top) all.resize(num_top);
  return all;
}

inline Candidate ExactWinner(const HostMatrix& logits, int64_t first_id,
                             const CandidateRequest& request) {
  Candidate best{-1, -std::numeric_limits<float>::infinity()};
  for (int64_t i = 0; i < logits.cols; ++i) {
    const int32_t id = static_cast<int32_t>(first_id + i);
    const float value = logits.At(request.row, i) / request.temperature +
                        GumbelNoise(request.seed, request.position, id);
    if (best.id < 0 || value > best.value) best = {id, value};
  }
  return best;
}

inline std::vector<ShardCandidates> FindCandidates(
    Backend& backend, const HostMatrix& logits, int64_t first_id,
    const std::vector<CandidateRequest>& requests) {
  const DeviceMatrix device(backend, logits);
  std::vector<ShardCandidates> results(requests.size());
  CARAVAN_EXPECT_OK(backend.Candidates(device.tensor(), first_id, requests,
                                       absl::MakeSpan(results)));
  return results;
}

class BackendSampling : public BackendSuite {};

TEST_P(BackendSampling, TopIsInOrder) {
  for (int64_t vocabulary : {1, 3, 100, 8192, 32003}) {
    HostMatrix logits = RandomMatrix(3, vocabulary, 31, 10.0f);
    // Rounded to halves: many equal values.
    for (int64_t i = 0; i < vocabulary; ++i) {
      float& value = logits.Row(1)[i];
      value = std::floor(value * 2) / 2;
    }
    for (int num_top : {0, 1, 5, 64, 40000}) {
      std::vector<CandidateRequest> requests;
      for (int64_t row : {2, 0, 1}) {
        requests.push_back({.row = row, .num_top = num_top});
      }
      const auto results = FindCandidates(*backend_, logits, 1000, requests);
      for (size_t i = 0; i < requests.size(); ++i) {
        ASSERT_EQ(results[i].top,
                  ExactTop(logits, requests[i].row, 1000, num_top))
            << "vocabulary=" << vocabulary << " num_top=" << num_top;
      }
    }
  }
}

TEST_P(BackendSampling, WinnerIsThatOfTheDefinition) {
  const HostMatrix flat{1, 20000, std::vector<float>(20000, -3.5f)};
  const HostMatrix steep = RandomMatrix(1, 20000, 32, 30.0f);
  for (const HostMatrix& logits : {flat, steep}) {
    for (uint64_t seed = 0; seed < 40; ++seed) {
      for (float temperature : {0.01f, 1.0f, 50.0f}) {
        const CandidateRequest request = {
            .temperature = temperature,
            .seed = seed * 0x123456789abcdefu,
            .position = static_cast<int64_t>(seed * 7),
            .num_top = 1,
            .noise = true};
        const auto results = FindCandidates(*backend_, logits, 77, {request});
        ASSERT_EQ(results[0].winner, ExactWinner(logits, 77, request))
            << "seed=" << seed << " temperature=" << temperature;
      }
    }
  }
}

TEST_P(BackendSampling, ShardsContainWhatTheWholeHas) {
  const HostMatrix logits = RandomMatrix(1, 10001, 33, 5.0f);
  const CandidateRequest request = {.temperature = 2.0f,
                                    .seed = 5,
                                    .position = 9,
                                    .num_top = 20,
                                    .noise = true};
  std::vector<Candidate> top;
  Candidate winner{-1, -std::numeric_limits<float>::infinity()};
  for (const auto& [first, end] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 3333}, {3333, 3340}, {3340, 10001}}) {
    const HostMatrix shard{
        1,
        end - first,
        {logits.values.begin() + first, logits.values.begin() + end}};
    const auto results = FindCandidates(*backend_, shard, first, {request});
    top.insert(top.end(), results[0].top.begin(), results[0].top.end());
    if (results[0].winner.value > winner.value) winner = results[0].winner;
  }
  SortCandidates(top);
  top.resize(20);
  EXPECT_EQ(top, ExactTop(logits, 0, 0, 20));
  EXPECT_EQ(winner, ExactWinner(logits, 0, request));
}

TEST_P(BackendSampling, NotANumberIsLastAndVisible) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  HostMatrix logits = RandomMatrix(1, 100, 34);
  for (int64_t i = 0; i < 100; i += 3) logits.values[i] = kNan;
  const CandidateRequest request = {
      .temperature = 1.0f, .num_top = 100, .noise = true};
  auto results = FindCandidates(*backend_, logits, 0, {request});
  ASSERT_EQ(results[0].top.size(), 100u);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(std::isnan(results[0].top[i].value), i >= 66);
  }
  EXPECT_NE(results[0].winner.id % 3, 0);
  // Nothing else is there: it must not look like a good token.
  for (float& value : logits.values) value = kNan;
  results = FindCandidates(*backend_, logits, 0, {request});
  EXPECT_TRUE(std::isnan(results[0].top[0].value));
  EXPECT_TRUE(std::isnan(results[0].winner.value));
}

TEST_P(BackendSampling, MassesAreExactSums) {
  const HostMatrix logits = RandomMatrix(2, 20001, 35, 40.0f);
  for (float temperature : {0.1f, 0.7f, 1.0f, 3.0f}) {
    for (float least : {-std::numeric_limits<float>::infinity(), 0.0f, 39.0f,
                        logits.At(1, 77)}) {
      MassRequest request = {.row = 1,
                             .reference = *std::max_element(
                                 logits.Row(1), logits.Row(1) + logits.cols),
                             .temperature = temperature,
                             .least = least};
      uint64_t expected = 0;
      for (int64_t i = 0; i < logits.cols; ++i) {
        if (logits.At(1, i) < least) continue;
        expected +=
            ProbabilityMass(logits.At(1, i), request.reference, temperature);
      }
      const DeviceMatrix device(*backend_, logits);
      uint64_t mass = 1;
      CARAVAN_ASSERT_OK(backend_->Masses(device.tensor(), {request},
                                         absl::MakeSpan(&mass, 1)));
      EXPECT_EQ(mass, expected)
          << "temperature=" << temperature << " least=" << least;
      // The sum over shards is the whole.
      uint64_t sum = 0;
      request.row = 0;
      for (const auto& [first, end] :
           std::vector<std::pair<int64_t, int64_t>>{{0, 5}, {5, 20001}}) {
        const DeviceMatrix shard(
            *backend_,
            HostMatrix{
                1, end - first, {logits.Row(1) + first, logits.Row(1) + end}});
        CARAVAN_ASSERT_OK(backend_->Masses(shard.tensor(), {request},
                                           absl::MakeSpan(&mass, 1)));
        sum += mass;
      }
      EXPECT_EQ(sum, expected);
    }
  }
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_SAMPLING_SUITE_H_
