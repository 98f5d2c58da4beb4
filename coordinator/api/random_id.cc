#include "coordinator/api/random_id.h"

#include <random>

#include "absl/strings/str_format.h"

namespace caravan::coordinator {

uint64_t RandomSeed() {
  thread_local std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

std::string RandomId() {
  return absl::StrFormat("%016x%016x", RandomSeed(), RandomSeed());
}

}  // namespace caravan::coordinator
