// The engine against Hugging Face transformers, its ranks as threads.

#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/golden_rank.h"
#include "tests/support/model_golden.h"
#include "tests/support/real_model.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/local/local_world.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::GoldenFolder;
using ::caravan::testing::IsOk;

struct Degrees {
  int tp;
  int pp;
};

absl::Status RunRank(const testing::GoldenRank& rank, World& world) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = CreateCpuBackend({});
  if (!backend.ok()) return backend.status();
  return testing::RunGoldenRank(rank, **backend, world);
}

// Runs all ranks as threads; each checks its shard.
void ExpectGolden(const std::string& golden_folder,
                  const std::string& model_path, Degrees degrees,
                  const std::vector<double>& shares = {}) {
  const testing::GoldenRank golden = {.golden_folder = golden_folder,
                                      .model_path = model_path,
                                      .plan = {.tp = degrees.tp,
                                               .shares = shares,
                                               .pp = degrees.pp,
                                               .quantization = "none"}};
  auto worlds = CreateLocalWorlds(degrees.tp * degrees.pp);
  std::vector<absl::Status> results(worlds.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < worlds.size(); ++rank) {
    threads.emplace_back(
        [&, rank] { results[rank] = RunRank(golden, *worlds[rank]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t rank = 0; rank < results.size(); ++rank) {
    EXPECT_THAT(results[rank], IsOk()) << "rank=" << rank;
  }
}

const auto kAllDegrees = ::testing::Values(
    Degrees{1, 1}, Degrees{2, 1}, Degrees{3, 1}, Degrees{4, 1}, Degrees{1, 2},
    Degrees{1, 3}, Degrees{2, 2}, Degrees{3, 2});

class GoldenTest
    : public ::testing::TestWithParam<std::tuple<std::string, Degrees>> {};

TEST_P(GoldenTest, LogitsAndGreedyTokensEqualTransformers) {
  const std::string folder = GoldenFolder(std::get<0>(GetParam()));
  ExpectGolden(folder, folder, std::get<1>(GetParam()));
}

class UnevenGoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(UnevenGoldenTest, LogitsAndGreedyTokensEqualTransformers) {
  const std::string folder = GoldenFolder(GetParam());
  ExpectGolden(folder, folder, {2, 1}, {3, 1});
  ExpectGolden(folder, folder, {3, 2}, {1, 2, 2});
}

class RealModelGoldenTest : public ::testing::TestWithParam<Degrees> {};

TEST_P(RealModelGoldenTest, LogitsAndGreedyTokensEqualTransformers) {
  const std::string path = testing::RealModelFile();
  if (path.empty()) GTEST_SKIP() << testing::kNoRealModel;
  ExpectGolden(GoldenFolder("smollm2_135m"), path, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    SmallModels, GoldenTest,
    ::testing::Combine(::testing::ValuesIn(testing::SmallGoldenModels()),
                       kAllDegrees),
    [](const auto& info) {
      const Degrees degrees = std::get<1>(info.param);
      return absl::StrCat(std::get<0>(info.param), "_tp", degrees.tp, "_pp",
                          degrees.pp);
    });

INSTANTIATE_TEST_SUITE_P(SmallModels, UnevenGoldenTest,
                         ::testing::ValuesIn(testing::SmallGoldenModels()),
                         [](const auto& info) { return info.param; });

INSTANTIATE_TEST_SUITE_P(SmolLM2, RealModelGoldenTest, kAllDegrees,
                         [](const auto& info) {
                           return absl::StrCat("tp", info.param.tp, "_pp",
                                               info.param.pp);
                         });

}  // namespace
}  // namespace caravan::worker
