// What a simulated engine "samples": a function of the sequence alone, so that
// tests can tell what must come whatever the batching.
#ifndef CARAVAN_BASE_SIMULATED_TOKEN_H_
#define CARAVAN_BASE_SIMULATED_TOKEN_H_

#include <cstdint>

namespace caravan {

// The token at `position` after `previous`, in [0, vocabulary_size).
inline int32_t SimulatedToken(int32_t previous, int64_t position,
                              int32_t vocabulary_size) {
  uint64_t x = static_cast<uint64_t>(position) * 0x9e3779b97f4a7c15u +
               static_cast<uint32_t>(previous);
  x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9u;
  return static_cast<int32_t>((x >> 33) %
                              static_cast<uint32_t>(vocabulary_size));
}

}  // namespace caravan

#endif  // CARAVAN_BASE_SIMULATED_TOKEN_H_
