#include "worker/agent/gpu_inventory.h"

#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/temporary_folder.h"
#include "worker/agent/small_file.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kOne[] =
    R"({"driver": "13.0", "problem": "", "devices": [{"uuid": "GPU-1",)"
    R"( "name": "NVIDIA H100", "pci_address": "0000:01:00.0",)"
    R"( "compute_capability": "9.0", "memory_bytes": 85899345920,)"
    R"( "peers": ["GPU-2"], "broken_peers": ["GPU-3"]}]})";

TEST(ParseGpuInventoryTest, ReadsTheLastObjectAmongOtherLines) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const GpuInventory inventory,
      ParseGpuInventory(absl::StrCat("a driver's warning\n", kOne, "\nbye\n")));
  ASSERT_THAT(inventory.gpus, SizeIs(1));
  const Gpu& gpu = inventory.gpus[0];
  EXPECT_EQ(gpu.uuid, "GPU-1");
  EXPECT_EQ(gpu.name, "NVIDIA H100");
  EXPECT_EQ(gpu.pci_address, "0000:01:00.0");
  EXPECT_EQ(gpu.compute_capability, "9.0");
  EXPECT_EQ(gpu.memory_bytes, int64_t{80} << 30);
  EXPECT_THAT(gpu.peers, ElementsAre("GPU-2"));
  EXPECT_THAT(gpu.broken_peers, ElementsAre("GPU-3"));
  EXPECT_EQ(inventory.driver, "13.0");
  EXPECT_THAT(inventory.problem, IsEmpty());
}

TEST(ParseGpuInventoryTest, NoneHasAReason) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      GpuInventory inventory,
      ParseGpuInventory(
          R"({"driver": "", "problem": "no driver", "devices": []})"));
  EXPECT_EQ(inventory.problem, "no driver");
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      inventory,
      ParseGpuInventory(R"({"driver": "", "problem": "", "devices": []})"));
  EXPECT_EQ(inventory.problem, "the driver shows no GPU");
}

TEST(ParseGpuInventoryTest, RefusesTheRest) {
  for (const char* output :
       {"", "Segmentation fault", "{", "{}", "[]", R"({"devices": {}})",
        R"({"driver": 1, "problem": "", "devices": []})",
        R"({"driver": "", "problem": "", "devices": [3]})",
        R"({"driver": "", "problem": "", "devices": [{"uuid": "GPU-1"}]})"}) {
    EXPECT_THAT(ParseGpuInventory(output),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << output;
  }
  for (const char* field : {"uuid", "name", "pci_address", "memory_bytes",
                            "compute_capability", "peers", "broken_peers"}) {
    std::string text = kOne;
    text.replace(text.find(field), 1, "x");
    EXPECT_THAT(ParseGpuInventory(text),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
}

class FindGpusTest : public ::testing::Test {
 protected:
  std::string Program(const std::string& script) {
    const std::string path = folder_.path() + "/engine";
    EXPECT_THAT(WriteSmallFile(path, absl::StrCat("#!/bin/sh\n", script)),
                testing::IsOk());
    EXPECT_EQ(chmod(path.c_str(), 0700), 0);
    return path;
  }

  TemporaryFolder folder_;
};

TEST_F(FindGpusTest, AsksTheProgram) {
  const GpuInventory inventory =
      FindGpus(Program(absl::StrCat("[ $1 = --devices ] && echo '", kOne, "'")),
               absl::Seconds(20), RealClock());
  EXPECT_THAT(inventory.gpus, SizeIs(1));
  EXPECT_THAT(inventory.problem, IsEmpty());
}

TEST_F(FindGpusTest, SaysHowItEndedAndWhatItSaid) {
  const GpuInventory inventory =
      FindGpus(Program("echo driver is broken >&2; exit 3"), absl::Seconds(20),
               RealClock());
  EXPECT_THAT(inventory.gpus, IsEmpty());
  EXPECT_THAT(inventory.problem, AllOf(HasSubstr("exited with code 3"),
                                       HasSubstr("driver is broken")));
}

TEST_F(FindGpusTest, OneThatHangsIsKilled) {
  const GpuInventory inventory =
      FindGpus(Program("exec sleep 1000"), absl::Milliseconds(50), RealClock());
  EXPECT_THAT(inventory.problem, HasSubstr("not answered within 50ms"));
}

TEST_F(FindGpusTest, AMissingProgramIsNamed) {
  EXPECT_THAT(
      FindGpus("/nowhere/engine", absl::Seconds(20), RealClock()).problem,
      HasSubstr("/nowhere/engine"));
}

}  // namespace
}  // namespace caravan::worker
