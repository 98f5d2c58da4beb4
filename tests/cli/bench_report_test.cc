#include "cli/bench_report.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

SpeedRun Run(double tokens_per_second, double limit, int first_ms, int gap_ms) {
  return {.tokens_per_second = tokens_per_second,
          .limit = limit,
          .first_tokens = {absl::Milliseconds(first_ms)},
          .gaps = {absl::Milliseconds(gap_ms)}};
}

BenchReport Report() {
  BenchReport report;
  report.model = "some-model";
  report.layout = "cpu, tp 1 x pp 1";
  report.results = {
      {{.num_tokens = 512}, {Run(100, 200, 5120, 0), Run(120, 200, 4267, 0)}},
      {{.kind = SpeedTest::Kind::kDecode, .num_tokens = 8},
       {Run(10, 20, 50, 100), Run(10, 10, 70, 100)}},
      {{.kind = SpeedTest::Kind::kDecode, .num_tokens = 8, .num_streams = 16},
       {Run(80, 0, 300, 200), Run(60, 0, 900, 230)}}};
  report.machine = MachineSpeed{.num_threads = 2,
                                .read_bytes_per_second = 24.0e9,
                                .operations_per_second = 200.4e9};
  return report;
}

TEST(BenchReportTest, KnowsStatistics) {
  EXPECT_DOUBLE_EQ(Mean({1, 2, 6}), 3);
  EXPECT_DOUBLE_EQ(StandardDeviation({1, 3}), 1.4142135623730951);
  EXPECT_EQ(StandardDeviation({5}), 0);
  std::vector<double> hundred;
  for (int i = 100; i >= 1; --i) hundred.push_back(i);
  EXPECT_EQ(Quantile(hundred, 0.5), 50);
  EXPECT_EQ(Quantile(hundred, 0.99), 99);
  EXPECT_EQ(Quantile(hundred, 0), 1);
  EXPECT_EQ(Quantile(hundred, 1), 100);
  EXPECT_EQ(Quantile({7}, 0.99), 7);
}

TEST(BenchReportTest, IsATable) {
  EXPECT_EQ(FormatBenchTable(Report()),
            R"(some-model, cpu, tp 1 x pp 1; 2 repetitions

| test    |       tokens/s | ms/token | against x1 | TTFT ms p50/p99 |  ITL ms p50/p99 |           of the machine |
|---------|---------------:|---------:|-----------:|----------------:|----------------:|-------------------------:|
| pp512   | 110.00 ± 14.14 |     9.09 |            | 4267.0 / 5120.0 |                 | 0.50 of float32 FMA peak |
| tg8     |   10.00 ± 0.00 |   100.00 |            |     50.0 / 70.0 | 100.00 / 100.00 |   0.50 of read bandwidth |
| tg8 x16 |  70.00 ± 14.14 |   228.57 |       7.00 |   300.0 / 900.0 | 200.00 / 230.00 |                          |

This machine, 2 threads: reads 24.0 GB/s, computes 200 Gflop/s in float32
)");
}

TEST(BenchReportTest, SaysWhyTheMachineIsLeftOut) {
  BenchReport report = Report();
  report.machine.reset();
  report.why_no_machine = "nobody knows";
  const std::string table = FormatBenchTable(report);
  EXPECT_THAT(table, HasSubstr("nobody knows"));
  EXPECT_THAT(table, Not(HasSubstr("of the machine |")));
  EXPECT_TRUE(
      nlohmann::json::parse(FormatBenchJson(report))["machine"].is_null());
}

TEST(BenchReportTest, IsJson) {
  const auto json = nlohmann::json::parse(FormatBenchJson(Report()));
  EXPECT_EQ(json["model"], "some-model");
  EXPECT_EQ(json["machine"]["threads"], 2);
  ASSERT_EQ(json["tests"].size(), 3u);
  const auto& prefill = json["tests"][0];
  EXPECT_EQ(prefill["test"], "pp512");
  EXPECT_EQ(prefill["tokens_per_second"]["mean"], 110);
  EXPECT_EQ(prefill["tokens_per_second"]["repetitions"].size(), 2u);
  EXPECT_EQ(prefill["of_fma_peak"], 0.5);
  EXPECT_FALSE(prefill.contains("itl_ms"));
  const auto& one = json["tests"][1];
  EXPECT_EQ(one["of_read_bandwidth"], 0.5);
  EXPECT_FALSE(one.contains("against_one_stream"));
  const auto& many = json["tests"][2];
  EXPECT_EQ(many["streams"], 16);
  EXPECT_EQ(many["against_one_stream"], 7);
  EXPECT_EQ(many["ttft_ms"]["p99"], 900);
  EXPECT_EQ(many["itl_ms"]["median"], 200);
  EXPECT_FALSE(many.contains("of_read_bandwidth"));
}

}  // namespace
}  // namespace caravan::cli
