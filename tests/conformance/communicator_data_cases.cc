#include "tests/conformance/communicator_data_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/status_macros.h"
#include "tests/conformance/communicator_case_support.h"

namespace caravan::testing {
namespace {

using worker::World;

std::vector<int> AllRanks(const World& world) {
  std::vector<int> ranks(world.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

// Small, odd, around the size from which all-reduce goes by chunks, and large.
constexpr size_t kCounts[] = {0,     1,      3,      16,     17,
                              1000,  4096,   16383,  16384,  16385,
                              65537, 100003, 262144, 1048583};

// Of waits that end: the kernels of an emulated GPU are slow with a sanitizer.
constexpr absl::Duration kPatience = absl::Minutes(3);

template <DType kWire>
absl::Status AllReduceAddsInOrderOfRanks(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, "order", kWire));
  for (const size_t count : kCounts) {
    std::vector<float> values = AddendsOfRank(world.rank(), count);
    CARAVAN_RETURN_IF_ERROR(ReduceFloats(*group, values));
    CARAVAN_RETURN_IF_ERROR(
        ExpectSameBits(values, SumOfRanks(AllRanks(world), count, kWire)));
  }
  return absl::OkStatus();
}

template <DType kWire>
absl::Status AllReduceOrderIsTheGroups(World& world) {
  std::vector<int> ranks = AllRanks(world);
  std::reverse(ranks.begin(), ranks.end());
  CARAVAN_ASSIGN_OR_RETURN(
      auto group,
      world.CreateGroup(
          {.name = "reversed", .world_ranks = ranks, .wire_dtype = kWire}));
  CARAVAN_CASE_EXPECT(group->rank() == world.size() - 1 - world.rank(), " got ",
                      group->rank());
  for (const size_t count : {size_t{5}, size_t{40000}}) {
    std::vector<float> values = AddendsOfRank(world.rank(), count);
    CARAVAN_RETURN_IF_ERROR(ReduceFloats(*group, values));
    CARAVAN_RETURN_IF_ERROR(
        ExpectSameBits(values, SumOfRanks(ranks, count, kWire)));
  }
  return absl::OkStatus();
}

// What is no number must be no number on every rank, with the same bits.
template <DType kWire>
absl::Status AllReduceOfSpecialsAgrees(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, "specials", kWire));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float sign = world.rank() % 2 == 0 ? 1 : -1;
  const size_t bytes = 4 * sizeof(float);
  for (const size_t count : {size_t{4}, size_t{32768}}) {
    std::vector<float> values(count, 0.0f);
    values[0] = sign * kInfinity;
    values[1] = world.rank() == 0 ? std::nanf("1") : std::nanf("2");
    values[2] = -0.0f;
    values[3] = sign * std::numeric_limits<float>::max();
    CARAVAN_RETURN_IF_ERROR(ReduceFloats(*group, values));
    CARAVAN_CASE_EXPECT(std::isnan(values[1]), " got ", values[1]);
    CARAVAN_CASE_EXPECT(
        world.size() == 1 ? std::isinf(values[0]) : std::isnan(values[0]),
        " got ", values[0]);
    CARAVAN_CASE_EXPECT(values[2] == 0 && std::signbit(values[2]), " got ",
                        values[2]);
    std::vector<float> all(4 * world.size());
    CARAVAN_RETURN_IF_ERROR(group->AllGather(
        {reinterpret_cast<const std::byte*>(values.data()), bytes},
        {reinterpret_cast<std::byte*>(all.data()),
         all.size() * sizeof(float)}));
    for (int peer = 0; peer < world.size(); ++peer) {
      CARAVAN_RETURN_IF_ERROR(
          ExpectSameBits(absl::MakeConstSpan(&all[4 * peer], 4),
                         absl::MakeConstSpan(values.data(), 4)));
    }
  }
  return absl::OkStatus();
}

template <DType kWire>
absl::Status AllReduceManyTimes(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, "many", kWire));
  for (int round = 0; round < 300; ++round) {
    // Few enough bits that no sum is rounded.
    const int addend = round % 16;
    std::vector<float> values(1 + round % 7, world.rank() + addend);
    CARAVAN_RETURN_IF_ERROR(ReduceFloats(*group, values));
    const int ranks = world.size();
    const int sum = ranks * (ranks - 1) / 2 + ranks * addend;
    CARAVAN_CASE_EXPECT(values.back() == static_cast<float>(sum),
                        " round=", round, " got ", values.back(), " expected ",
                        sum);
  }
  return absl::OkStatus();
}

absl::Status AllGatherKeepsTheOrderOfRanks(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, "gather"));
  for (const size_t bytes : {0, 1, 7, 4096, 65537, 3 << 20}) {
    const std::vector<std::byte> mine = MessageOf(world.rank(), 0, bytes);
    std::vector<std::byte> all(bytes * world.size());
    CARAVAN_RETURN_IF_ERROR(group->AllGather(mine, absl::MakeSpan(all)));
    for (int peer = 0; peer < world.size(); ++peer) {
      CARAVAN_CASE_EXPECT(absl::MakeConstSpan(all).subspan(
                              peer * bytes, bytes) == MessageOf(peer, 0, bytes),
                          " peer=", peer, " bytes=", bytes);
    }
  }
  return absl::OkStatus();
}

// Each part in its place already, as an engine may hold it.
absl::Status AllGatherInPlace(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, "in-place"));
  constexpr size_t kBytes = 1000;
  const std::vector<std::byte> mine = MessageOf(world.rank(), 0, kBytes);
  std::vector<std::byte> all(kBytes * world.size());
  std::copy(mine.begin(), mine.end(), all.begin() + world.rank() * kBytes);
  const auto part = absl::MakeSpan(all).subspan(world.rank() * kBytes, kBytes);
  CARAVAN_RETURN_IF_ERROR(group->AllGather(part, absl::MakeSpan(all)));
  for (int peer = 0; peer < world.size(); ++peer) {
    CARAVAN_CASE_EXPECT(
        absl::MakeConstSpan(all).subspan(peer * kBytes, kBytes) ==
            MessageOf(peer, 0, kBytes),
        " peer=", peer);
  }
  return absl::OkStatus();
}

// As they are, whatever the wire type.
template <DType kWire>
absl::Status AllGatherTensorFillsTheOthersParts(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, "parts", kWire));
  const int size = world.size();
  for (const int64_t rows : {0, 1, 5, 1000}) {
    constexpr int64_t kCols = 3;
    const size_t part = static_cast<size_t>(rows * kCols);
    std::vector<float> values(part * size, -1.0f);
    const std::vector<float> mine = AddendsOfRank(world.rank(), part);
    std::copy(mine.begin(), mine.end(), values.begin() + world.rank() * part);
    CARAVAN_RETURN_IF_ERROR(group->AllGatherTensor(
        {values.data(), DType::kFloat32, size * rows, kCols}));
    for (int peer = 0; peer < size; ++peer) {
      CARAVAN_RETURN_IF_ERROR(
          ExpectSameBits(absl::MakeConstSpan(values).subspan(peer * part, part),
                         AddendsOfRank(peer, part)));
    }
  }
  return absl::OkStatus();
}

// All send to all, several messages and megabytes, before anyone receives.
absl::Status SendsDoNotWaitForReceivers(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, "crossing"));
  const std::vector<size_t> sizes = {3 << 20, 0, 1, 65537, 1 << 20};
  for (size_t number = 0; number < sizes.size(); ++number) {
    for (int peer = 0; peer < world.size(); ++peer) {
      if (peer == world.rank()) continue;
      // The message is the communicator's: this one dies at once.
      const std::vector<std::byte> message =
          MessageOf(world.rank(), number, sizes[number]);
      CARAVAN_RETURN_IF_ERROR(group->Send(message, peer));
    }
  }
  for (int peer = world.size() - 1; peer >= 0; --peer) {
    if (peer == world.rank()) continue;
    for (size_t number = 0; number < sizes.size(); ++number) {
      std::vector<std::byte> message(sizes[number]);
      CARAVAN_RETURN_IF_ERROR(group->Recv(absl::MakeSpan(message), peer));
      CARAVAN_CASE_EXPECT(message == MessageOf(peer, number, sizes[number]),
                          " peer=", peer, " number=", number);
    }
  }
  return absl::OkStatus();
}

// A message under way is no part of a collective, nor of another group with the
// same members.
template <DType kWire>
absl::Status StreamsDoNotMix(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto first, GroupOfAll(world, "twin", kWire));
  CARAVAN_ASSIGN_OR_RETURN(auto second, GroupOfAll(world, "twin", kWire));
  const int next = (world.rank() + 1) % world.size();
  const int previous = (world.rank() + world.size() - 1) % world.size();
  std::vector<float> values = AddendsOfRank(world.rank(), 4);
  const size_t bytes = values.size() * sizeof(float);
  CARAVAN_RETURN_IF_ERROR(first->Send(MessageOf(world.rank(), 1, bytes), next));
  CARAVAN_RETURN_IF_ERROR(
      second->Send(MessageOf(world.rank(), 2, bytes), next));
  CARAVAN_RETURN_IF_ERROR(ReduceFloats(*first, values));
  CARAVAN_RETURN_IF_ERROR(
      ExpectSameBits(values, SumOfRanks(AllRanks(world), 4, kWire)));
  for (const int number : {2, 1}) {
    std::vector<std::byte> message(bytes);
    CARAVAN_RETURN_IF_ERROR((number == 2 ? second : first)
                                ->Recv(absl::MakeSpan(message), previous));
    CARAVAN_CASE_EXPECT(message == MessageOf(previous, number, bytes),
                        " number=", number);
  }
  return absl::OkStatus();
}

// One pass of an engine: reductions in the tp group, activations down the
// stages, ids back to the first.
absl::Status RunStages(World& world, int tp, DType wire) {
  const int stages = world.size() / tp;
  const int stage = world.rank() / tp;
  const int tp_rank = world.rank() % tp;
  std::vector<int> row(tp);
  std::iota(row.begin(), row.end(), stage * tp);
  std::vector<int> column(stages);
  for (int s = 0; s < stages; ++s) column[s] = s * tp + tp_rank;
  CARAVAN_ASSIGN_OR_RETURN(auto tp_group,
                           world.CreateGroup({.name = absl::StrCat("tp", stage),
                                              .world_ranks = row,
                                              .timeout = kPatience,
                                              .wire_dtype = wire}));
  CARAVAN_ASSIGN_OR_RETURN(
      auto pp_group, world.CreateGroup({.name = absl::StrCat("pp", tp_rank),
                                        .world_ranks = column,
                                        .timeout = kPatience,
                                        .wire_dtype = wire}));
  for (int step = 0; step < 3; ++step) {
    const size_t count = 250 + 25000 * step;
    const std::vector<float> first = AddendsOfRank(100 * step + tp_rank, count);
    std::vector<float> activations = first;
    const Tensor tensor = {activations.data(), DType::kFloat32, 1,
                           static_cast<int64_t>(count)};
    if (stage > 0) {
      std::fill(activations.begin(), activations.end(), 0.0f);
      CARAVAN_RETURN_IF_ERROR(pp_group->RecvTensor(tensor, stage - 1));
      CARAVAN_RETURN_IF_ERROR(ExpectSameBits(activations, InWire(first, wire)));
    }
    std::vector<float> values = AddendsOfRank(world.rank(), 3000);
    CARAVAN_RETURN_IF_ERROR(ReduceFloats(*tp_group, values));
    CARAVAN_RETURN_IF_ERROR(
        ExpectSameBits(values, SumOfRanks(row, 3000, wire)));
    if (stage + 1 < stages) {
      CARAVAN_RETURN_IF_ERROR(pp_group->SendTensor(tensor, stage + 1));
      // What is sent is rounded, not what is kept.
      CARAVAN_RETURN_IF_ERROR(ExpectSameBits(
          activations, stage == 0 ? first : InWire(first, wire)));
    } else if (stages > 1) {
      CARAVAN_RETURN_IF_ERROR(pp_group->Send(MessageOf(7, step, 999), 0));
    }
    if (stage == 0 && stages > 1) {
      std::vector<std::byte> back(999);
      CARAVAN_RETURN_IF_ERROR(pp_group->Recv(absl::MakeSpan(back), stages - 1));
      CARAVAN_CASE_EXPECT(back == MessageOf(7, step, 999), " step=", step);
    }
  }
  return absl::OkStatus();
}

template <DType kWire>
absl::Status EnginesGroupsWork(World& world) {
  for (int tp = 1; tp <= world.size(); ++tp) {
    if (world.size() % tp != 0) continue;
    CARAVAN_RETURN_IF_ERROR(
        Annotate(RunStages(world, tp, kWire), absl::StrCat("tp=", tp)));
  }
  return absl::OkStatus();
}

// Nor does it round what it need not send.
template <DType kWire>
absl::Status AGroupOfOneNeedsNoPeers(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto group,
                           world.CreateGroup({.name = "alone",
                                              .world_ranks = {world.rank()},
                                              .wire_dtype = kWire}));
  CARAVAN_CASE_EXPECT(group->rank() == 0 && group->size() == 1);
  std::vector<float> values = AddendsOfRank(world.rank(), 100);
  CARAVAN_RETURN_IF_ERROR(ReduceFloats(*group, values));
  CARAVAN_RETURN_IF_ERROR(
      ExpectSameBits(values, AddendsOfRank(world.rank(), 100)));
  const std::vector<std::byte> mine = MessageOf(world.rank(), 0, 10);
  std::vector<std::byte> all(10);
  CARAVAN_RETURN_IF_ERROR(group->AllGather(mine, absl::MakeSpan(all)));
  CARAVAN_CASE_EXPECT(all == mine);
  return absl::OkStatus();
}

// A case of both wire types.
#define CARAVAN_WIRE_CASES(name, least_ranks)               \
  {#name, least_ranks, name<DType::kFloat32>}, {            \
    #name "InBFloat16", least_ranks, name<DType::kBFloat16> \
  }

constexpr CommunicatorCase kCases[] = {
    CARAVAN_WIRE_CASES(AGroupOfOneNeedsNoPeers, 1),
    CARAVAN_WIRE_CASES(AllReduceAddsInOrderOfRanks, 1),
    CARAVAN_WIRE_CASES(AllReduceOrderIsTheGroups, 2),
    CARAVAN_WIRE_CASES(AllReduceOfSpecialsAgrees, 1),
    CARAVAN_WIRE_CASES(AllReduceManyTimes, 1),
    CARAVAN_WIRE_CASES(StreamsDoNotMix, 2),
    CARAVAN_WIRE_CASES(EnginesGroupsWork, 1),
    CARAVAN_WIRE_CASES(AllGatherTensorFillsTheOthersParts, 1),
    {"AllGatherKeepsTheOrderOfRanks", 1, AllGatherKeepsTheOrderOfRanks},
    {"AllGatherInPlace", 1, AllGatherInPlace},
    {"SendsDoNotWaitForReceivers", 2, SendsDoNotWaitForReceivers},
};

#undef CARAVAN_WIRE_CASES

}  // namespace

absl::Span<const CommunicatorCase> CommunicatorDataCases() { return kCases; }

}  // namespace caravan::testing
