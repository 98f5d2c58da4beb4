#include "tests/conformance/communicator_case_support.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/match.h"
#include "base/tensor.h"

namespace caravan::testing {
namespace {

// SplitMix64: the same everywhere.
uint64_t Next(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

absl::Status ExpectError(const absl::Status& status, absl::StatusCode code,
                         const std::vector<std::string>& texts) {
  CARAVAN_CASE_EXPECT(status.code() == code, " code=", static_cast<int>(code),
                      " got ", status.ToString());
  for (const std::string& text : texts) {
    CARAVAN_CASE_EXPECT(absl::StrContains(status.message(), text), " \"", text,
                        "\" in ", status.ToString());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<worker::Communicator>> GroupOfAll(
    worker::World& world, absl::string_view name, absl::Duration timeout) {
  std::vector<int> ranks(world.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  return world.CreateGroup({.name = std::string(name),
                            .world_ranks = std::move(ranks),
                            .timeout = timeout});
}

absl::StatusOr<std::unique_ptr<worker::Communicator>> GroupOfAll(
    worker::World& world, absl::string_view name, DType wire) {
  std::vector<int> ranks(world.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  return world.CreateGroup({.name = std::string(name),
                            .world_ranks = std::move(ranks),
                            .wire_dtype = wire});
}

absl::Status Barrier(worker::Communicator& group) {
  const std::byte mine{};
  std::vector<std::byte> all(group.size());
  return group.AllGather(absl::MakeConstSpan(&mine, 1), absl::MakeSpan(all));
}

std::vector<float> AddendsOfRank(int rank, size_t count) {
  uint64_t state = 1000 + rank;
  std::vector<float> values(count);
  for (float& value : values) {
    const uint64_t bits = Next(state);
    const float mantissa = 1 + static_cast<float>(bits >> 41) / (1 << 23);
    const int exponent = static_cast<int>(bits % 24) - 12;
    value = std::ldexp((bits & 64) != 0 ? mantissa : -mantissa, exponent);
  }
  return values;
}

std::vector<float> InWire(std::vector<float> values, DType wire) {
  if (wire == DType::kFloat32) return values;
  for (float& value : values) value = BFloat16ToFloat(FloatToBFloat16(value));
  return values;
}

std::vector<float> SumOfRanks(const std::vector<int>& ranks, size_t count,
                              DType wire) {
  if (ranks.size() == 1) wire = DType::kFloat32;  // nothing travels
  std::vector<float> sum = InWire(AddendsOfRank(ranks.front(), count), wire);
  for (size_t i = 1; i < ranks.size(); ++i) {
    const std::vector<float> addends =
        InWire(AddendsOfRank(ranks[i], count), wire);
    for (size_t k = 0; k < count; ++k) sum[k] += addends[k];
  }
  return InWire(std::move(sum), wire);
}

absl::Status ExpectSameBits(absl::Span<const float> got,
                            absl::Span<const float> expected) {
  CARAVAN_CASE_EXPECT(got.size() == expected.size(), " got ", got.size(),
                      " of ", expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CARAVAN_CASE_EXPECT(std::memcmp(&got[i], &expected[i], sizeof(float)) == 0,
                        " at ", i, " of ", got.size(), ": got ", got[i],
                        " expected ", expected[i]);
  }
  return absl::OkStatus();
}

std::vector<std::byte> MessageOf(int sender, int number, size_t bytes) {
  uint64_t state = sender * 1000 + number;
  std::vector<std::byte> message(bytes);
  for (std::byte& byte : message) byte = static_cast<std::byte>(Next(state));
  return message;
}

absl::Status ReduceFloats(worker::Communicator& group,
                          std::vector<float>& values) {
  return group.AllReduceSum(
      {values.data(), DType::kFloat32, 1, static_cast<int64_t>(values.size())});
}

}  // namespace caravan::testing
