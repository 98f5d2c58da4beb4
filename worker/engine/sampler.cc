#include "worker/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/backend/sampling.h"
#include "worker/engine/sampling_filter.h"

namespace caravan::worker {
namespace {

// How many candidates a filter without a bound of its own begins with, and how
// fast the number grows while they do not decide.
constexpr int kFirstCandidates = 64;
constexpr int kCandidateGrowth = 8;

template <typename T>
absl::StatusOr<std::vector<T>> AllGather(Communicator& group,
                                         const std::vector<T>& mine) {
  std::vector<T> all(mine.size() * group.size());
  CARAVAN_RETURN_IF_ERROR(group.AllGather(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(mine.data()),
                          mine.size() * sizeof(T)),
      absl::MakeSpan(reinterpret_cast<std::byte*>(all.data()),
                     all.size() * sizeof(T))));
  return all;
}

bool IsBetter(const Candidate& a, const Candidate& b) {
  if (b.id < 0) return a.id >= 0;
  if (a.id < 0) return false;
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

int FirstCandidates(const v1::SamplingParameters& sampling) {
  if (!HasFilter(sampling)) return 1;
  return sampling.top_k() > 0 ? sampling.top_k() : kFirstCandidates;
}

absl::Status NotFinite(int64_t row, float value) {
  return absl::InternalError(
      absl::StrCat("logits are not finite: row=", row, " largest=", value));
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> Sampler::Sample(
    const Tensor& logits, absl::Span<const SampleRequest> requests) {
  std::vector<int32_t> ids(requests.size(), -1);
  std::vector<size_t> open(requests.size());
  for (size_t i = 0; i < open.size(); ++i) open[i] = i;

  for (int64_t growth = 1; !open.empty(); growth *= kCandidateGrowth) {
    std::vector<SampleRequest> rows;
    std::vector<CandidateRequest> candidates;
    for (size_t index : open) {
      const SampleRequest& request = requests[index];
      rows.push_back(request);
      candidates.push_back(ToChoice(request));
      candidates.back().num_top = static_cast<int>(
          std::min<int64_t>(FirstCandidates(*request.sampling) * growth,
                            options_.vocabulary_size));
    }
    CARAVAN_ASSIGN_OR_RETURN(std::vector<Merged> merged,
                             Gather(logits, candidates));
    CARAVAN_ASSIGN_OR_RETURN(std::vector<uint64_t> masses,
                             NucleusMasses(logits, rows, merged));
    std::vector<size_t> undecided;
    for (size_t i = 0; i < open.size(); ++i) {
      const v1::SamplingParameters& sampling = *rows[i].sampling;
      if (!HasFilter(sampling)) {
        ids[open[i]] = sampling.temperature() > 0 ? merged[i].winner.id
                                                  : merged[i].top[0].id;
        continue;
      }
      const std::optional<int32_t> chosen =
          ChooseFiltered({.top = merged[i].top,
                          .complete = merged[i].complete,
                          .total_mass = masses[i],
                          .position = rows[i].position},
                         sampling);
      if (chosen.has_value()) {
        ids[open[i]] = *chosen;
      } else {
        undecided.push_back(open[i]);
      }
    }
    open = std::move(undecided);
  }
  return ids;
}

bool Sampler::CanChoose(const v1::SamplingParameters& sampling) {
  return !HasFilter(sampling);
}

CandidateRequest Sampler::ToChoice(const SampleRequest& request) {
  const v1::SamplingParameters& sampling = *request.sampling;
  return {.row = request.row,
          .temperature = sampling.temperature(),
          .seed = sampling.seed(),
          .position = request.position,
          .noise = sampling.temperature() > 0 && !HasFilter(sampling)};
}

absl::StatusOr<std::vector<int32_t>> Sampler::ReadChosen(int set,
                                                         int64_t count) {
  std::vector<ChosenToken> tokens(count);
  CARAVAN_RETURN_IF_ERROR(
      options_.backend->ReadTokens(set, absl::MakeSpan(tokens)));
  std::vector<int32_t> ids;
  for (const ChosenToken& token : tokens) {
    if (!std::isfinite(token.largest)) {
      return NotFinite(static_cast<int64_t>(ids.size()), token.largest);
    }
    ids.push_back(token.id);
  }
  return ids;
}

absl::StatusOr<std::vector<Sampler::Merged>> Sampler::Gather(
    const Tensor& logits, absl::Span<const CandidateRequest> requests) {
  std::vector<ShardCandidates> shard(requests.size());
  CARAVAN_RETURN_IF_ERROR(options_.backend->Candidates(
      logits, options_.vocabulary_begin, requests, absl::MakeSpan(shard)));

  // Records of equal size on every rank: per row the winner, then num_top
  // places.
  std::vector<Candidate> mine;
  for (size_t i = 0; i < requests.size(); ++i) {
    mine.push_back(shard[i].winner);
    shard[i].top.resize(requests[i].num_top);
    mine.insert(mine.end(), shard[i].top.begin(), shard[i].top.end());
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<Candidate> all,
                           AllGather(*options_.group, mine));

  std::vector<Merged> merged(requests.size());
  for (int rank = 0; rank < options_.group->size(); ++rank) {
    const Candidate* next = all.data() + rank * mine.size();
    for (size_t i = 0; i < requests.size(); ++i) {
      if (IsBetter(*next, merged[i].winner)) merged[i].winner = *next;
      ++next;
      for (int j = 0; j < requests[i].num_top; ++j, ++next) {
        if (next->id >= 0) merged[i].top.push_back(*next);
      }
    }
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    Merged& row = merged[i];
    row.complete =
        static_cast<int64_t>(row.top.size()) == options_.vocabulary_size;
    std::sort(row.top.begin(), row.top.end(), IsBetter);
    if (!row.complete) row.top.resize(requests[i].num_top);
    if (row.top.empty() || !std::isfinite(row.top[0].value)) {
      return NotFinite(requests[i].row,
                       row.top.empty() ? NAN : row.top[0].value);
    }
  }
  return merged;
}

absl::StatusOr<std::vector<uint64_t>> Sampler::NucleusMasses(
    const Tensor& logits, absl::Span<const SampleRequest> requests,
    absl::Span<const Merged> merged) {
  std::vector<MassRequest> mass_requests;
  std::vector<size_t> owners;
  for (size_t i = 0; i < requests.size(); ++i) {
    const v1::SamplingParameters& sampling = *requests[i].sampling;
    if (!HasFilter(sampling) || sampling.top_p() >= 1 || sampling.top_k() > 0) {
      continue;
    }
    const float largest = merged[i].top[0].value;
    owners.push_back(i);
    mass_requests.push_back({.row = requests[i].row,
                             .reference = largest,
                             .temperature = sampling.temperature(),
                             .least = LeastLogit(sampling, largest)});
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<uint64_t> sums,
                           GatherMasses(logits, mass_requests));
  std::vector<uint64_t> masses(requests.size(), 0);
  for (size_t i = 0; i < owners.size(); ++i) masses[owners[i]] = sums[i];
  return masses;
}

absl::StatusOr<std::vector<uint64_t>> Sampler::GatherMasses(
    const Tensor& logits, absl::Span<const MassRequest> requests) {
  std::vector<uint64_t> mine(requests.size(), 0);
  if (requests.empty()) return mine;
  CARAVAN_RETURN_IF_ERROR(
      options_.backend->Masses(logits, requests, absl::MakeSpan(mine)));
  CARAVAN_ASSIGN_OR_RETURN(std::vector<uint64_t> all,
                           AllGather(*options_.group, mine));
  std::vector<uint64_t> sums(requests.size(), 0);
  for (size_t i = 0; i < all.size(); ++i) sums[i % sums.size()] += all[i];
  return sums;
}

absl::StatusOr<std::vector<float>> Sampler::GatherLogits(
    const Tensor& logits, absl::Span<const LogprobRequest> requests) {
  std::vector<float> mine(requests.size(),
                          -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < requests.size(); ++i) {
    const int64_t column = requests[i].id - options_.vocabulary_begin;
    if (column < 0 || column >= logits.cols) continue;
    const Tensor row = logits.Rows(requests[i].row, 1);
    const Tensor element{row.floats() + column, DType::kFloat32, 1, 1};
    CARAVAN_RETURN_IF_ERROR(options_.backend->CopyOut(
        element,
        absl::MakeSpan(reinterpret_cast<std::byte*>(&mine[i]), sizeof(float))));
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<float> all,
                           AllGather(*options_.group, mine));
  std::vector<float> values(requests.size(),
                            -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < all.size(); ++i) {
    float& value = values[i % values.size()];
    value = std::max(value, all[i]);
  }
  return values;
}

absl::StatusOr<std::vector<v1::TokenLogprobs>> Sampler::Logprobs(
    const Tensor& logits, absl::Span<const LogprobRequest> requests) {
  std::vector<v1::TokenLogprobs> results;
  if (requests.empty()) return results;
  std::vector<CandidateRequest> candidates;
  for (const LogprobRequest& request : requests) {
    candidates.push_back(
        {.row = request.row,
         .num_top = static_cast<int>(std::min<int64_t>(
             std::max(request.num_top, 1), options_.vocabulary_size))});
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<Merged> merged,
                           Gather(logits, candidates));
  std::vector<MassRequest> mass_requests;
  for (size_t i = 0; i < requests.size(); ++i) {
    mass_requests.push_back({.row = requests[i].row,
                             .reference = merged[i].top[0].value,
                             .temperature = 1,
                             .least = -std::numeric_limits<float>::infinity()});
  }
  CARAVAN_ASSIGN_OR_RETURN(std::vector<uint64_t> masses,
                           GatherMasses(logits, mass_requests));
  CARAVAN_ASSIGN_OR_RETURN(std::vector<float> values,
                           GatherLogits(logits, requests));
  for (size_t i = 0; i < requests.size(); ++i) {
    const double log_total =
        merged[i].top[0].value +
        std::log(static_cast<double>(masses[i]) / kMassUnit);
    v1::TokenLogprobs& result = results.emplace_back();
    result.set_id(requests[i].id);
    result.set_logprob(static_cast<float>(values[i] - log_total));
    for (int j = 0;
         j < requests[i].num_top && j < static_cast<int>(merged[i].top.size());
         ++j) {
      result.add_top_ids(merged[i].top[j].id);
      result.add_top_logprobs(
          static_cast<float>(merged[i].top[j].value - log_total));
    }
  }
  return results;
}

}  // namespace caravan::worker
