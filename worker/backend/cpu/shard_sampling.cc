#include "worker/backend/cpu/shard_sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "worker/backend/candidate_order.h"
#include "worker/backend/sampling.h"

namespace caravan::worker {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float NumberOr(float value, float instead) {
  return std::isnan(value) ? instead : value;
}

// Gathers what exceeds the least of the best so far and, when the room is full,
// throws away all but the best: every logit is looked at once, and few are
// moved.
std::vector<Candidate> FindTop(const cpu::Kernels& kernels,
                               const LogitPiece& piece, int num_top) {
  const int64_t count = static_cast<int64_t>(piece.logits.size());
  const int64_t wanted = std::min<int64_t>(std::max(num_top, 0), count);
  std::vector<Candidate> top;
  if (wanted == 0) return top;
  const int64_t room = std::min(count, 4 * wanted + 64);
  std::vector<CandidateKey> best;
  best.reserve(room);
  const auto keep_best = [&] {
    std::nth_element(best.begin(), best.begin() + (wanted - 1), best.end(),
                     std::greater<CandidateKey>());
    if (static_cast<int64_t>(best.size()) > wanted) best.resize(wanted);
  };
  const float* logits = piece.logits.data();
  int64_t i = 0;
  for (; i < room; ++i) best.push_back(KeyOf(logits[i], i));
  keep_best();
  float threshold = NumberOr(logits[IdOf(best.back())], -kInfinity);
  while ((i = kernels.find_above(logits, i, count, threshold)) < count) {
    best.push_back(KeyOf(logits[i], i));
    ++i;
    if (static_cast<int64_t>(best.size()) < room) continue;
    keep_best();
    threshold = NumberOr(logits[IdOf(best.back())], -kInfinity);
  }
  keep_best();
  std::sort(best.begin(), best.end(), std::greater<CandidateKey>());
  top.reserve(wanted);
  for (CandidateKey key : best) {
    top.push_back(
        {static_cast<int32_t>(piece.first_id + IdOf(key)), logits[IdOf(key)]});
  }
  return top;
}

// Not less than GumbelNoise of the same bits, without a logarithm. Noise is
// -log(-log(u)) <= -log(1 - u), and the leading ones of u's bits tell between
// which powers of two 1 - u lies.
float NoiseBound(uint64_t random_bits) {
  constexpr float kLogTwoAndMore = 0.69316f;
  const uint64_t complement = ~random_bits >> 11;  // 53 bits
  return kLogTwoAndMore * static_cast<float>(std::countl_zero(complement) - 10);
}

// Most tokens cannot win: for them neither a logarithm nor, where the logit is
// small, random bits are computed. Rounding keeps the order of sums, so what
// the bound leaves out could not have been larger.
Candidate FindWinner(const LogitPiece& piece, const CandidateRequest& request) {
  const float largest_noise = NoiseBound(~uint64_t{0});
  Candidate best = {-1, -kInfinity};
  const int64_t count = static_cast<int64_t>(piece.logits.size());
  for (int64_t i = 0; i < count; ++i) {
    const float scaled = piece.logits[i] / request.temperature;
    if (!(scaled + largest_noise > best.value)) continue;
    const int32_t id = static_cast<int32_t>(piece.first_id + i);
    const uint64_t bits = RandomBits(request.seed, request.position, id);
    if (!(scaled + NoiseBound(bits) > best.value)) continue;
    const float value =
        scaled + GumbelNoise(request.seed, request.position, id);
    if (value > best.value) best = {id, value};
  }
  if (best.id < 0 && count > 0) {
    best = {static_cast<int32_t>(piece.first_id), piece.logits[0]};
  }
  return best;
}

}  // namespace

ShardCandidates FindCandidates(const cpu::Kernels& kernels,
                               const LogitPiece& piece,
                               const CandidateRequest& request) {
  ShardCandidates result;
  result.top = FindTop(kernels, piece, request.num_top);
  if (request.noise) {
    if (request.temperature > 0) {
      result.winner = FindWinner(piece, request);
    } else {
      const std::vector<Candidate> first = FindTop(kernels, piece, 1);
      if (!first.empty()) result.winner = first[0];
    }
  }
  return result;
}

uint64_t SumMasses(const cpu::Kernels& kernels, absl::Span<const float> logits,
                   const MassRequest& request) {
  if (!std::isfinite(request.reference)) return 0;
  // exp(-27.8) is less than 2^-40: below this logit the mass is 0.
  const double no_mass =
      static_cast<double>(request.reference) - 27.8 * request.temperature;
  const float bound = std::nextafter(static_cast<float>(no_mass), -kInfinity);
  const float threshold =
      std::max(bound, std::nextafter(request.least, -kInfinity));
  const int64_t count = static_cast<int64_t>(logits.size());
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    i = kernels.find_above(logits.data(), i, count, threshold);
    if (i == count) break;
    if (logits[i] < request.least) continue;
    // No logit exceeds the reference, but a sum must not depend on the caller.
    sum += ProbabilityMass(std::min(logits[i], request.reference),
                           request.reference, request.temperature);
  }
  return sum;
}

}  // namespace caravan::worker
