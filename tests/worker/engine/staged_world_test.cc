#include "worker/engine/staged_world.h"

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/local/local_world.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;

constexpr int kRanks = 3;

// A device whose memory the host can read, but only the backend may.
struct Device {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<World> world;
};

// Ranks 0 and 1 have devices of one kind, rank 2 of another: it has the host's
// world alone.
void RunRanks(const std::function<void(Device&)>& body) {
  auto devices = CreateLocalWorlds(kRanks);
  auto hosts = CreateLocalWorlds(kRanks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < kRanks; ++rank) {
    threads.emplace_back([&, rank] {
      Device device;
      CARAVAN_ASSERT_OK_AND_ASSIGN(device.backend,
                                   CreateCpuBackend({.num_threads = 1}));
      device.world =
          rank == 2 ? std::move(hosts[rank])
                    : MakeStagedWorld({.device_world = std::move(devices[rank]),
                                       .host_world = hosts[rank].get(),
                                       .same_kind = {true, true, false},
                                       .backend = device.backend.get()});
      body(device);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

struct Values {
  std::unique_ptr<Buffer> buffer;
  Tensor tensor;
};

absl::StatusOr<Values> Put(Backend& backend, std::vector<float> values) {
  Values put;
  const auto bytes =
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                          values.size() * sizeof(float));
  CARAVAN_ASSIGN_OR_RETURN(put.buffer, backend.Allocate(bytes.size()));
  put.tensor = {put.buffer->data(), DType::kFloat32, 1,
                static_cast<int64_t>(values.size())};
  CARAVAN_RETURN_IF_ERROR(backend.CopyIn(bytes, put.tensor));
  return put;
}

std::vector<float> Get(Backend& backend, const Tensor& tensor) {
  std::vector<float> values(tensor.count());
  CARAVAN_EXPECT_OK(backend.CopyOut(
      tensor, absl::MakeSpan(reinterpret_cast<std::byte*>(values.data()),
                             values.size() * sizeof(float))));
  return values;
}

TEST(StagedWorld, CarriesTensorsBetweenDevicesOfTwoKinds) {
  RunRanks([](Device& device) {
    Backend& backend = *device.backend;
    const int rank = device.world->rank();
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const auto group,
        device.world->CreateGroup(
            {.name = "pp0", .world_ranks = {0, 1, 2}, .most_values = 4}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const Values values,
                                 Put(backend, {1, 2, 3, 4}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const Values got, Put(backend, {0, 0, 0, 0}));
    if (rank > 0) {
      CARAVAN_ASSERT_OK(group->RecvTensor(got.tensor, rank - 1));
      EXPECT_THAT(Get(backend, got.tensor), ElementsAre(1, 2, 3, 4));
    }
    if (rank < 2) {
      CARAVAN_ASSERT_OK(group->SendTensor(values.tensor, rank + 1));
    }
    CARAVAN_ASSERT_OK(group->AllReduceSum(values.tensor));
    EXPECT_THAT(Get(backend, values.tensor), ElementsAre(3, 6, 9, 12));
    std::vector<float> parts(kRanks, -1);
    parts[rank] = 10.0f * static_cast<float>(rank);
    CARAVAN_ASSERT_OK_AND_ASSIGN(const Values gathered, Put(backend, parts));
    CARAVAN_ASSERT_OK(group->AllGatherTensor(
        {gathered.tensor.data, DType::kFloat32, kRanks, 1}));
    EXPECT_THAT(Get(backend, gathered.tensor), ElementsAre(0, 10, 20));
    // Bytes are not staged.
    const std::byte mine{static_cast<unsigned char>(rank)};
    std::vector<std::byte> all(kRanks);
    CARAVAN_ASSERT_OK(
        group->AllGather(absl::MakeConstSpan(&mine, 1), absl::MakeSpan(all)));
    EXPECT_THAT(all, ElementsAre(std::byte{0}, std::byte{1}, std::byte{2}));
  });
}

// The nearest bfloat16 of 1 + 2^-9 is 1.
TEST(StagedWorld, WhatTravelsInBFloat16IsRounded) {
  RunRanks([](Device& device) {
    Backend& backend = *device.backend;
    const int rank = device.world->rank();
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const auto group,
        device.world->CreateGroup({.name = "pp0",
                                   .world_ranks = {0, 1, 2},
                                   .wire_dtype = DType::kBFloat16,
                                   .most_sent_values = 2}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const Values values,
                                 Put(backend, {1 + 0x1p-9f, 3}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const Values got, Put(backend, {0, 0}));
    if (rank > 0) {
      CARAVAN_ASSERT_OK(group->RecvTensor(got.tensor, rank - 1));
      EXPECT_THAT(Get(backend, got.tensor), ElementsAre(1, 3));
    }
    if (rank < 2) {
      CARAVAN_ASSERT_OK(group->SendTensor(values.tensor, rank + 1));
    }
    CARAVAN_ASSERT_OK(group->AllReduceSum(values.tensor));
    EXPECT_THAT(Get(backend, values.tensor), ElementsAre(3, 9));
  });
}

// Rank 1 makes by hand the two groups that a staged world makes.
TEST(StagedWorld, MembersOfOneKindSendToEachOtherDirectly) {
  auto devices = CreateLocalWorlds(kRanks);
  auto hosts = CreateLocalWorlds(kRanks);
  const GroupOptions all = {.name = "pp0", .world_ranks = {0, 1, 2}};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto backend,
                               CreateCpuBackend({.num_threads = 1}));
  std::thread sender([&] {
    const auto world = MakeStagedWorld({.device_world = std::move(devices[0]),
                                        .host_world = hosts[0].get(),
                                        .same_kind = {true, true, false},
                                        .backend = backend.get()});
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto group, world->CreateGroup(all));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const Values values, Put(*backend, {1, 2}));
    CARAVAN_ASSERT_OK(group->SendTensor(values.tensor, 1));
  });
  CARAVAN_EXPECT_OK(hosts[1]->CreateGroup(all));
  CARAVAN_EXPECT_OK(hosts[2]->CreateGroup(all));
  auto direct =
      devices[1]->CreateGroup({.name = "pp0.direct", .world_ranks = {0, 1}});
  std::vector<float> got(2);
  if (direct.ok()) {
    CARAVAN_EXPECT_OK(
        (*direct)->RecvTensor({got.data(), DType::kFloat32, 1, 2}, 0));
  }
  sender.join();
  CARAVAN_EXPECT_OK(direct);
  EXPECT_THAT(got, ElementsAre(1, 2));
}

TEST(StagedWorld, GroupsOfOneKindAreTheDevices) {
  RunRanks([](Device& device) {
    if (device.world->rank() == 2) return;
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const auto group,
        device.world->CreateGroup({.name = "tp0", .world_ranks = {0, 1}}));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const Values values,
                                 Put(*device.backend, {1, 2}));
    CARAVAN_ASSERT_OK(group->AllReduceSum(values.tensor));
    EXPECT_THAT(Get(*device.backend, values.tensor), ElementsAre(2, 4));
  });
}

TEST(StagedWorld, RefusesWhatIsNoGroup) {
  RunRanks([](Device& device) {
    EXPECT_THAT(
        device.world->CreateGroup({.name = "bad", .world_ranks = {0, 1, 9}}),
        StatusIs(absl::StatusCode::kInvalidArgument));
  });
}

}  // namespace
}  // namespace caravan::worker
