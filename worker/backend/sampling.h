// The arithmetic of sampling that must give the same bits wherever a token's
// logit is looked at: any rank, any backend, any batch. Header-only and
// branch-light so that kernels can inline it.
#ifndef CARAVAN_WORKER_BACKEND_SAMPLING_H_
#define CARAVAN_WORKER_BACKEND_SAMPLING_H_

#include <cmath>
#include <cstdint>

// For kernels too.
#ifdef __CUDACC__
#define CARAVAN_HOST_DEVICE __host__ __device__
#else
#define CARAVAN_HOST_DEVICE
#endif

namespace caravan::worker {

// 64 random bits for one (seed, position, token): SplitMix64's finalizer
// (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014)
// over a counter made of all three, applied twice. Counter-based: nothing is
// stored, so a replayed sequence draws what it would have drawn.
CARAVAN_HOST_DEVICE inline uint64_t MixBits(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

CARAVAN_HOST_DEVICE inline uint64_t RandomBits(uint64_t seed, int64_t position,
                                               int32_t id) {
  const uint64_t stream = MixBits(
      seed + 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(position) + 1));
  return MixBits(stream +
                 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(id) + 1));
}

// Standard Gumbel noise: the arg max over tokens of logit / temperature + noise
// is distributed as softmax(logit / temperature) (Gumbel-max trick).
CARAVAN_HOST_DEVICE inline float GumbelNoise(uint64_t seed, int64_t position,
                                             int32_t id) {
  // 53 bits in (0, 1): never 0 and never 1.
  const double uniform =
      (static_cast<double>(RandomBits(seed, position, id) >> 11) + 0.5) *
      0x1p-53;
  return static_cast<float>(-std::log(-std::log(uniform)));
}

// exp((logit - reference) / temperature) in units of 2^-40, rounded down: at
// most 2^40 for one token, so 2^23 tokens never overflow, and sums are exact in
// any order. This makes top-p and log-probabilities independent of how the
// vocabulary is sharded.
inline constexpr double kMassUnit = 1099511627776.0;  // 2^40

CARAVAN_HOST_DEVICE inline uint64_t ProbabilityMass(float logit,
                                                    float reference,
                                                    float temperature) {
  const double exponent =
      (static_cast<double>(logit) - reference) / temperature;
  return static_cast<uint64_t>(std::exp(exponent) * kMassUnit);
}

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_SAMPLING_H_
