#include "tests/conformance/communicator_failure_cases.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <limits>
#include <thread>

#include "absl/algorithm/container.h"
#include "base/status_macros.h"
#include "base/tensor.h"
#include "tests/conformance/communicator_case_support.h"

namespace caravan::testing {
namespace {

using worker::Communicator;
using worker::GroupOptions;
using worker::World;

// After an error every call is refused, and says what the first error was.
absl::Status ExpectBroken(Communicator& group, const std::string& text) {
  std::vector<float> values(4);
  CARAVAN_RETURN_IF_ERROR(ExpectError(ReduceFloats(group, values),
                                      absl::StatusCode::kAborted, {text}));
  std::vector<std::byte> all(group.size());
  CARAVAN_RETURN_IF_ERROR(ExpectError(
      group.AllGather(absl::MakeConstSpan(all.data(), 1), absl::MakeSpan(all)),
      absl::StatusCode::kAborted, {text}));
  const int peer = group.rank() == 0 ? group.size() - 1 : 0;
  CARAVAN_RETURN_IF_ERROR(
      ExpectError(group.Send(all, peer), absl::StatusCode::kAborted, {text}));
  return ExpectError(group.Recv(absl::MakeSpan(all), peer),
                     absl::StatusCode::kAborted, {text});
}

absl::Status MisuseIsRefused(World& world) {
  float values[8] = {};
  std::byte bytes[8] = {};
  const absl::Span<std::byte> some(bytes);
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  const struct {
    const char* name;
    std::function<absl::Status(Communicator&)> call;
    const char* text;
  } misuses[] = {
      {"dtype",
       [&](Communicator& group) {
         return group.AllReduceSum({values, DType::kFloat16, 1, 8});
       },
       "dtype=float16"},
      {"rows",
       [&](Communicator& group) {
         return group.AllReduceSum({values, DType::kFloat32, -1, 8});
       },
       "rows=-1"},
      {"overflow",
       [&](Communicator& group) {
         return group.AllReduceSum({values, DType::kFloat32, kHuge, kHuge});
       },
       "bad shape"},
      {"null",
       [&](Communicator& group) {
         return group.AllReduceSum({nullptr, DType::kFloat32, 1, 8});
       },
       "without memory"},
      {"parts",
       [&](Communicator& group) {
         return group.AllGatherTensor(
             {values, DType::kFloat32, group.size() + 1, 1});
       },
       "unequal parts"},
      {"gather",
       [&](Communicator& group) {
         return group.AllGather(some.subspan(0, 8), some.subspan(0, 7));
       },
       "all=7"},
      {"self",
       [&](Communicator& group) { return group.Send(some, group.rank()); },
       "no such peer"},
      {"beyond",
       [&](Communicator& group) { return group.Recv(some, group.size()); },
       "no such peer"},
      {"negative", [&](Communicator& group) { return group.Recv(some, -1); },
       "peer=-1"},
      {"send null",
       [&](Communicator& group) {
         return group.Send({static_cast<const std::byte*>(nullptr), 8},
                           group.rank() == 0 ? 1 : 0);
       },
       "without memory"},
  };
  for (const auto& misuse : misuses) {
    CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, misuse.name));
    CARAVAN_RETURN_IF_ERROR(ExpectError(misuse.call(*group),
                                        absl::StatusCode::kInvalidArgument,
                                        {misuse.text}));
    CARAVAN_RETURN_IF_ERROR(ExpectBroken(*group, misuse.text));
  }
  return absl::OkStatus();
}

absl::Status BadGroupsAreRefused(World& world) {
  const int mine = world.rank();
  const struct {
    std::vector<int> ranks;
    absl::Duration timeout;
    const char* text;
  } bad[] = {
      {{}, absl::Seconds(1), "without members"},
      {{mine, world.size()}, absl::Seconds(1), "no rank"},
      {{mine, -1}, absl::Seconds(1), "no rank"},
      {{mine, mine}, absl::Seconds(1), "twice"},
      {{(mine + 1) % world.size()}, absl::Seconds(1), "no member"},
      {{mine}, absl::ZeroDuration(), "timeout"},
  };
  for (const auto& options : bad) {
    const absl::Status status = world
                                    .CreateGroup({.name = "bad",
                                                  .world_ranks = options.ranks,
                                                  .timeout = options.timeout})
                                    .status();
    CARAVAN_RETURN_IF_ERROR(ExpectError(status,
                                        absl::StatusCode::kInvalidArgument,
                                        {options.text, "group=bad"}));
  }
  const auto no_wire = world.CreateGroup(
      {.name = "bad", .world_ranks = {mine}, .wire_dtype = DType::kFloat16});
  return ExpectError(no_wire.status(), absl::StatusCode::kInvalidArgument,
                     {"float16", "group=bad"});
}

// When the group is made or, where that never blocks, at its first call.
absl::Status DifferentWireTypesAreAnError(World& world) {
  GroupOptions options{.name = "wires", .timeout = absl::Milliseconds(500)};
  for (int rank = 0; rank < world.size(); ++rank) {
    options.world_ranks.push_back(rank);
  }
  if (world.rank() == 0) options.wire_dtype = DType::kBFloat16;
  const auto group = world.CreateGroup(options);
  if (!group.ok()) {
    return ExpectError(group.status(), absl::StatusCode::kFailedPrecondition,
                       {"different groups", "group=wires", "wire="});
  }
  std::vector<float> values(4);
  return ExpectError(ReduceFloats(**group, values),
                     absl::StatusCode::kDeadlineExceeded, {"group=wires"});
}

// Whoever gets a message of a wrong size says so; the others then wait for it
// in vain.
absl::Status DifferentCountsAreAnError(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto control, GroupOfAll(world, "counts-control"));
  for (const size_t count : {size_t{100}, size_t{20000}, size_t{300000}}) {
    CARAVAN_ASSIGN_OR_RETURN(
        auto group, GroupOfAll(world, "counts", absl::Milliseconds(500)));
    std::vector<float> values(world.rank() == 0 ? count : count + 64);
    const absl::Status status = ReduceFloats(*group, values);
    const bool saw_it = absl::IsInternal(status);
    CARAVAN_RETURN_IF_ERROR(
        saw_it
            ? ExpectError(status, absl::StatusCode::kInternal,
                          {"all-reduce", "group=counts", "peer=", "expected="})
            : ExpectError(status, absl::StatusCode::kDeadlineExceeded,
                          {"group=counts"}));
    CARAVAN_RETURN_IF_ERROR(ExpectBroken(*group, "group=counts"));
    const std::byte mine{saw_it};
    std::vector<std::byte> all(world.size());
    CARAVAN_RETURN_IF_ERROR(
        control->AllGather(absl::MakeConstSpan(&mine, 1), absl::MakeSpan(all)));
    CARAVAN_CASE_EXPECT(absl::c_linear_search(all, std::byte{1}),
                        " count=", count);
  }
  return absl::OkStatus();
}

absl::Status AMessageOfAnotherSizeIsAnError(World& world) {
  for (const int bytes : {0, 99, 101, 200000}) {
    CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, "sizes"));
    if (world.rank() == 0) {
      CARAVAN_RETURN_IF_ERROR(group->Send(MessageOf(0, 0, bytes), 1));
    } else if (world.rank() == 1) {
      // Behind it lies what the message must not touch.
      std::vector<std::byte> memory(200000, std::byte{42});
      CARAVAN_RETURN_IF_ERROR(
          ExpectError(group->Recv(absl::MakeSpan(memory).subspan(0, 100), 0),
                      absl::StatusCode::kInternal,
                      {"receive", "group=sizes", "peer=0", "expected=100"}));
      CARAVAN_CASE_EXPECT(memory[100] == std::byte{42}, " bytes=", bytes);
      CARAVAN_RETURN_IF_ERROR(ExpectBroken(*group, "group=sizes"));
    }
  }
  return absl::OkStatus();
}

// Options whose on_wait counts.
GroupOptions Counting(const World& world, const char* name,
                      absl::Duration timeout, std::atomic<int>* waits) {
  GroupOptions options{.name = name, .timeout = timeout};
  for (int rank = 0; rank < world.size(); ++rank) {
    options.world_ranks.push_back(rank);
  }
  options.on_wait = [](void* context) {
    static_cast<std::atomic<int>*>(context)->fetch_add(1);
  };
  options.on_wait_context = waits;
  return options;
}

// Rank 0 calls, nobody answers.
absl::Status WaitInVain(
    World& world, const char* operation,
    const std::function<absl::Status(Communicator&)>& call) {
  std::atomic<int> waits = 0;
  CARAVAN_ASSIGN_OR_RETURN(
      auto group, world.CreateGroup(Counting(world, "vain",
                                             absl::Milliseconds(500), &waits)));
  if (world.rank() != 0) return absl::OkStatus();
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status = call(*group);
  const auto took = std::chrono::steady_clock::now() - begin;
  std::vector<std::string> texts = {absl::StrCat(operation, " timed out"),
                                    "group=vain", "after=500ms",
                                    absl::StrCat("peer=", world.size() - 1)};
  CARAVAN_RETURN_IF_ERROR(
      ExpectError(status, absl::StatusCode::kDeadlineExceeded, texts));
  CARAVAN_CASE_EXPECT(took >= std::chrono::milliseconds(500));
  // Generous, for machines that do many things at once, and sanitizers.
  CARAVAN_CASE_EXPECT(took < std::chrono::seconds(20));
  CARAVAN_CASE_EXPECT(waits.load() >= 1, " got ", waits.load());
  return ExpectBroken(*group, "group=vain");
}

absl::Status WaitsEndAtTheDeadline(World& world) {
  CARAVAN_RETURN_IF_ERROR(
      WaitInVain(world, "all-reduce", [](Communicator& group) {
        std::vector<float> values(4096);
        return ReduceFloats(group, values);
      }));
  CARAVAN_RETURN_IF_ERROR(
      WaitInVain(world, "all-reduce", [](Communicator& group) {
        std::vector<float> values(1 << 20);
        return ReduceFloats(group, values);
      }));
  CARAVAN_RETURN_IF_ERROR(
      WaitInVain(world, "all-gather", [](Communicator& group) {
        std::vector<std::byte> all(100 * group.size());
        return group.AllGather(absl::MakeConstSpan(all).subspan(0, 100),
                               absl::MakeSpan(all));
      }));
  CARAVAN_RETURN_IF_ERROR(
      WaitInVain(world, "all-gather", [](Communicator& group) {
        std::vector<float> values(group.size());
        return group.AllGatherTensor(
            {values.data(), DType::kFloat32, group.size(), 1});
      }));
  return WaitInVain(world, "receive", [](Communicator& group) {
    std::byte byte;
    return group.Recv(absl::MakeSpan(&byte, 1), group.size() - 1);
  });
}

// Only those who did not come are named.
absl::Status TheMissingPeerIsNamed(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(
      auto group, GroupOfAll(world, "missing", absl::Milliseconds(300)));
  if (world.rank() == 1) return absl::OkStatus();
  std::vector<float> values(16);
  const absl::Status status = ReduceFloats(*group, values);
  CARAVAN_RETURN_IF_ERROR(ExpectError(status,
                                      absl::StatusCode::kDeadlineExceeded,
                                      {"group=missing peer=1 after=300ms"}));
  return absl::OkStatus();
}

absl::Status AbortEndsAWait(World& world) {
  std::atomic<int> waits = 0;
  CARAVAN_ASSIGN_OR_RETURN(
      auto group,
      world.CreateGroup(Counting(world, "abort", absl::Seconds(60), &waits)));
  if (world.rank() != 0) return absl::OkStatus();
  std::thread other([&] {
    while (waits.load() == 0) std::this_thread::yield();
    group->Abort(absl::UnavailableError("rank 7 is lost"));
    group->Abort(absl::UnavailableError("too late"));
  });
  std::byte byte;
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status = group->Recv(absl::MakeSpan(&byte, 1), 1);
  const auto took = std::chrono::steady_clock::now() - begin;
  other.join();
  CARAVAN_RETURN_IF_ERROR(
      ExpectError(status, absl::StatusCode::kAborted, {"rank 7 is lost"}));
  CARAVAN_CASE_EXPECT(took < std::chrono::seconds(10));
  return ExpectBroken(*group, "rank 7 is lost");
}

absl::Status AbortRefusesLaterCalls(World& world) {
  CARAVAN_ASSIGN_OR_RETURN(auto group, GroupOfAll(world, "later"));
  group->Abort(absl::UnavailableError("going down"));
  return ExpectBroken(*group, "going down");
}

constexpr CommunicatorCase kCases[] = {
    {"MisuseIsRefused", 2, MisuseIsRefused},
    {"BadGroupsAreRefused", 2, BadGroupsAreRefused},
    {"DifferentWireTypesAreAnError", 2, DifferentWireTypesAreAnError},
    {"DifferentCountsAreAnError", 2, DifferentCountsAreAnError},
    {"AMessageOfAnotherSizeIsAnError", 2, AMessageOfAnotherSizeIsAnError},
    {"WaitsEndAtTheDeadline", 2, WaitsEndAtTheDeadline},
    {"TheMissingPeerIsNamed", 3, TheMissingPeerIsNamed},
    {"AbortEndsAWait", 2, AbortEndsAWait},
    {"AbortRefusesLaterCalls", 2, AbortRefusesLaterCalls},
};

}  // namespace

absl::Span<const CommunicatorCase> CommunicatorFailureCases() { return kCases; }

}  // namespace caravan::testing
