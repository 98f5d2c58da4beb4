#include "cli/bench_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/version.h"

namespace caravan::cli {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

// A result in the numbers that are shown.
struct Summary {
  std::vector<double> rates;  // tokens per second, by repetition
  double rate = 0;
  double deviation = 0;
  double token_ms = 0;                  // of one stream
  std::optional<double> against_one;    // of several streams
  std::optional<double> machine_share;  // where a limit is known
  double ttft_median_ms = 0;
  double ttft_p99_ms = 0;
  std::optional<double> gap_median_ms;
  std::optional<double> gap_p99_ms;
};

bool Decodes(const SpeedTest& test) {
  return test.kind == SpeedTest::Kind::kDecode;
}

std::vector<double> Milliseconds(
    const SpeedResult& result,
    const std::vector<absl::Duration> SpeedRun::* member) {
  std::vector<double> values;
  for (const SpeedRun& run : result.runs) {
    for (const absl::Duration duration : run.*member) {
      values.push_back(absl::ToDoubleMilliseconds(duration));
    }
  }
  return values;
}

Summary Summarize(const SpeedResult& result) {
  Summary summary;
  std::vector<double> shares;
  for (const SpeedRun& run : result.runs) {
    summary.rates.push_back(run.tokens_per_second);
    if (run.limit > 0) shares.push_back(run.tokens_per_second / run.limit);
  }
  summary.rate = Mean(summary.rates);
  summary.deviation = StandardDeviation(summary.rates);
  summary.token_ms = 1000 * result.test.num_streams / summary.rate;
  // Bandwidth and clock of a shared machine jump: the middle one.
  if (!shares.empty()) summary.machine_share = Quantile(shares, 0.5);
  const std::vector<double> ttfts =
      Milliseconds(result, &SpeedRun::first_tokens);
  summary.ttft_median_ms = Quantile(ttfts, 0.5);
  summary.ttft_p99_ms = Quantile(ttfts, 0.99);
  if (!Decodes(result.test)) return summary;
  const std::vector<double> gaps = Milliseconds(result, &SpeedRun::gaps);
  summary.gap_median_ms = Quantile(gaps, 0.5);
  summary.gap_p99_ms = Quantile(gaps, 0.99);
  return summary;
}

std::vector<Summary> SummarizeAll(absl::Span<const SpeedResult> results) {
  std::vector<Summary> summaries;
  std::optional<double> one;
  for (const SpeedResult& result : results) {
    summaries.push_back(Summarize(result));
    if (Decodes(result.test) && result.test.num_streams == 1) {
      one = summaries.back().rate;
    }
  }
  for (size_t i = 0; i < results.size(); ++i) {
    if (!one.has_value() || results[i].test.num_streams == 1) continue;
    summaries[i].against_one = summaries[i].rate / *one;
  }
  return summaries;
}

std::string ShareOf(const SpeedTest& test, const Summary& summary) {
  if (!summary.machine_share.has_value()) return "";
  return absl::StrFormat("%.2f of %s", *summary.machine_share,
                         Decodes(test) ? "read bandwidth" : "float32 FMA peak");
}

Row Cells(const SpeedTest& test, const Summary& summary, bool has_machine) {
  Row row = {Name(test),
             absl::StrFormat("%.2f ± %.2f", summary.rate, summary.deviation),
             absl::StrFormat("%.2f", summary.token_ms),
             summary.against_one.has_value()
                 ? absl::StrFormat("%.2f", *summary.against_one)
                 : "",
             absl::StrFormat("%.1f / %.1f", summary.ttft_median_ms,
                             summary.ttft_p99_ms),
             summary.gap_median_ms.has_value()
                 ? absl::StrFormat("%.2f / %.2f", *summary.gap_median_ms,
                                   *summary.gap_p99_ms)
                 : ""};
  if (has_machine) row.push_back(ShareOf(test, summary));
  return row;
}

// Characters, not bytes: "±" is one.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(),
      [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// The first column to the left, the others to the right.
std::string MarkdownTable(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  std::string text;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < rows[r].size(); ++i) {
      const std::string fill(widths[i] - Width(rows[r][i]), ' ');
      absl::StrAppend(&text, "| ", i == 0 ? "" : fill, rows[r][i],
                      i == 0 ? fill : "", " ");
    }
    absl::StrAppend(&text, "|\n");
    if (r > 0) continue;
    for (size_t i = 0; i < widths.size(); ++i) {
      absl::StrAppend(&text, "|", std::string(widths[i] + 1, '-'),
                      i == 0 ? "-" : ":");
    }
    absl::StrAppend(&text, "|\n");
  }
  return text;
}

std::string DescribeMachine(const MachineSpeed& machine) {
  std::vector<std::string> parts;
  if (machine.read_bytes_per_second > 0) {
    parts.push_back(absl::StrFormat("reads %.1f GB/s",
                                    machine.read_bytes_per_second * 1e-9));
  }
  if (machine.operations_per_second > 0) {
    parts.push_back(absl::StrFormat("computes %.0f Gflop/s in float32",
                                    machine.operations_per_second * 1e-9));
  }
  return absl::StrCat("This machine, ", Counted(machine.num_threads, "thread"),
                      ": ", absl::StrJoin(parts, ", "));
}

Json MedianAndP99(double median, double p99) {
  return {{"median", median}, {"p99", p99}};
}

Json ResultJson(const SpeedTest& test, const Summary& summary) {
  Json json = {
      {"test", Name(test)},
      {"tokens", test.num_tokens},
      {"depth", test.depth},
      {"streams", test.num_streams},
      {"tokens_per_second",
       {{"mean", summary.rate},
        {"std", summary.deviation},
        {"repetitions", summary.rates}}},
      {"ms_per_token", summary.token_ms},
      {"ttft_ms", MedianAndP99(summary.ttft_median_ms, summary.ttft_p99_ms)}};
  if (summary.gap_median_ms.has_value()) {
    json["itl_ms"] = MedianAndP99(*summary.gap_median_ms, *summary.gap_p99_ms);
  }
  if (summary.against_one.has_value()) {
    json["against_one_stream"] = *summary.against_one;
  }
  if (summary.machine_share.has_value()) {
    json[Decodes(test) ? "of_read_bandwidth" : "of_fma_peak"] =
        *summary.machine_share;
  }
  return json;
}

}  // namespace

std::string Counted(int64_t count, absl::string_view what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

double Mean(absl::Span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(values.size());
}

double StandardDeviation(absl::Span<const double> values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

double Quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double place = std::ceil(share * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(place, 1.0)) - 1];
}

std::string FormatBenchTable(const BenchReport& report) {
  const bool has_machine = report.machine.has_value();
  std::vector<Row> rows = {{"test", "tokens/s", "ms/token", "against x1",
                            "TTFT ms p50/p99", "ITL ms p50/p99"}};
  if (has_machine) rows[0].push_back("of the machine");
  const std::vector<Summary> summaries = SummarizeAll(report.results);
  for (size_t i = 0; i < summaries.size(); ++i) {
    rows.push_back(Cells(report.results[i].test, summaries[i], has_machine));
  }
  const size_t repetitions =
      report.results.empty() ? 0 : report.results[0].runs.size();
  return absl::StrCat(report.model, ", ", report.layout, "; ",
                      Counted(static_cast<int64_t>(repetitions), "repetition"),
                      "\n\n", MarkdownTable(rows), "\n",
                      has_machine
                          ? DescribeMachine(*report.machine)
                          : absl::StrCat("Without shares of the machine: ",
                                         report.why_no_machine),
                      "\n");
}

std::string FormatBenchJson(const BenchReport& report) {
  Json json = {{"build", std::string(BuildId())},
               {"model", report.model},
               {"layout", report.layout},
               {"machine", nullptr},
               {"tests", Json::array()}};
  if (report.machine.has_value()) {
    json["machine"] = {
        {"threads", report.machine->num_threads},
        {"read_bytes_per_second", report.machine->read_bytes_per_second},
        {"operations_per_second", report.machine->operations_per_second}};
  }
  const std::vector<Summary> summaries = SummarizeAll(report.results);
  for (size_t i = 0; i < summaries.size(); ++i) {
    json["tests"].push_back(ResultJson(report.results[i].test, summaries[i]));
  }
  // A model's name may hold anything: what is not UTF-8 is replaced.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace caravan::cli
