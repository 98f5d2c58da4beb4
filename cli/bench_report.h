// What `caravan bench model` prints.
#ifndef CARAVAN_CLI_BENCH_REPORT_H_
#define CARAVAN_CLI_BENCH_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cli/model_bench.h"

namespace caravan::cli {

// The machine at its best, as measured between the tests.
struct MachineSpeed {
  int num_threads = 0;
  double read_bytes_per_second = 0;  // 0: no test asked for it
  double operations_per_second = 0;
};

struct BenchReport {
  std::string model;
  std::string layout;  // how it is served, or where
  std::vector<SpeedResult> results;
  std::optional<MachineSpeed> machine;
  std::string why_no_machine;  // when it is not known
};

// A Markdown table with a line before and lines after it.
std::string FormatBenchTable(const BenchReport& report);
// The same, with every repetition, as one line of JSON.
std::string FormatBenchJson(const BenchReport& report);

// "1 thread", "2 threads".
std::string Counted(int64_t count, absl::string_view what);

// Of values, which need not be sorted. The deviation is that of a sample, 0 for
// a single value; a quantile is the least value that this share is not above.
double Mean(absl::Span<const double> values);
double StandardDeviation(absl::Span<const double> values);
double Quantile(std::vector<double> values, double share);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_BENCH_REPORT_H_
