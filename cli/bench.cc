#include "cli/bench.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/dtype.h"
#include "base/status_macros.h"
#include "cli/bench_report.h"
#include "cli/interrupt.h"
#include "cli/machine_limit.h"
#include "cli/model_bench.h"
#include "cli/server_choice.h"
#include "partition/plan/held_format.h"
#include "partition/plan/rank_memory.h"

namespace caravan::cli {
namespace {

constexpr char kExamples[] =
    R"(Tests, in the names of llama-bench: pp512 takes a prompt of 512 tokens in, up to
the first token; tg128 generates 128 tokens; tg128 x16 does so for 16 streams
at once. TTFT: time to the first token. ITL: time between tokens of a stream.
Prompts are random ids, and no tokenizer is needed.

Examples:
  caravan bench model ./SmolLM2-135M-Instruct.Q4_1.gguf
      This machine with all its cores.
  caravan bench model llama-2-7b --load-format dummy \
      --hf-overrides '{"num_hidden_layers": 2}' --cpu-threads 1
      Two layers in the shape of Llama 2 7B, with one thread.
  caravan bench model ./my-model -tp 2 -pp 2 --concurrency 1,4,64 --json
  caravan bench model --url http://10.0.0.1:8000 --depth 1024
      A running server, with 1024 tokens before those that are generated.)";

struct ModelBenchCommand {
  ServerChoice choice;
  int64_t input_len = 512;
  int64_t output_len = 128;
  int64_t depth = 0;
  std::vector<int> concurrency = {1, 16};
  int repetitions = 3;
  bool as_json = false;
};

std::vector<SpeedTest> TestsOf(const ModelBenchCommand& command) {
  std::vector<SpeedTest> tests;
  if (command.input_len > 0) {
    tests.push_back(
        {.kind = SpeedTest::Kind::kPrefill, .num_tokens = command.input_len});
  }
  if (command.output_len == 0) return tests;
  for (const int num_streams : command.concurrency) {
    tests.push_back({.kind = SpeedTest::Kind::kDecode,
                     .num_tokens = command.output_len,
                     .depth = command.depth,
                     .num_streams = num_streams});
  }
  return tests;
}

absl::Status Validate(const ModelBenchCommand& command) {
  if (command.choice.url.empty() == command.choice.serve.model.empty()) {
    return absl::InvalidArgumentError(
        "give a model or the address of a server: caravan bench model MODEL, "
        "or caravan bench model --url URL");
  }
  if (command.output_len == 1) {
    return absl::InvalidArgumentError(
        "--output-len must be 0 (no such test) or at least 2: the speed is "
        "that of the tokens after the first");
  }
  if (command.input_len == 0 && command.output_len == 0) {
    return absl::InvalidArgumentError(
        "--input-len 0 and --output-len 0 leave nothing to measure");
  }
  return absl::OkStatus();
}

absl::StatusOr<partition::HoldOptions> HoldOf(const v1::EnginePlan& plan) {
  partition::HoldOptions hold;
  CARAVAN_ASSIGN_OR_RETURN(hold.quantization,
                           partition::ParseQuantization(plan.quantization()));
  CARAVAN_ASSIGN_OR_RETURN(hold.dtype, ParseDType(plan.weight_dtype()));
  return hold;
}

// Of the server that was started; nullopt where the machine does not bound it.
absl::StatusOr<std::optional<MachineLimit>> LimitOf(LocalServer& server,
                                                    const ServeOptions& serve) {
  if (serve.device != "cpu") return std::nullopt;
  const coordinator::ClusterView view = server.View();
  if (view.ranks.empty()) {
    return absl::UnavailableError("the replica was lost");
  }
  CARAVAN_ASSIGN_OR_RETURN(const partition::HoldOptions hold,
                           HoldOf(view.plan));
  // One stream is in one stage at a time, whose ranks work together.
  return MachineLimit(server.spec(), hold,
                      serve.tp * view.ranks[0].num_threads);
}

absl::StatusOr<std::string> LayoutOf(LocalServer& server,
                                     const ServeOptions& serve) {
  const coordinator::ClusterView view = server.View();
  std::string layout =
      absl::StrFormat("%s, tp %d x pp %d", serve.device, serve.tp, serve.pp);
  if (serve.device != "cpu" || view.ranks.empty()) return layout;
  CARAVAN_ASSIGN_OR_RETURN(const partition::HoldOptions hold,
                           HoldOf(view.plan));
  absl::StrAppend(
      &layout, ", ", Counted(view.ranks[0].num_threads, "thread"), " each, ",
      Counted(server.spec().num_layers, "layer"), " in ",
      partition::HeldFormatNames(server.spec(),
                                 {partition::WholeModel(server.spec())}, hold));
  return layout;
}

// From what the tests were held against.
MachineSpeed SpeedOf(const MachineLimit& limit,
                     const std::vector<SpeedResult>& results) {
  MachineSpeed speed{.num_threads = limit.num_threads()};
  for (const SpeedResult& result : results) {
    std::vector<double> speeds;
    for (const SpeedRun& run : result.runs) {
      if (run.limit > 0) speeds.push_back(run.limit);
    }
    if (speeds.empty()) continue;
    const double median = Quantile(speeds, 0.5) * limit.CostOf(result.test);
    (result.test.kind == SpeedTest::Kind::kDecode
         ? speed.read_bytes_per_second
         : speed.operations_per_second) = median;
  }
  return speed;
}

void ShowProgress(absl::string_view what) {
  if (isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\r\x1b[K%s", std::string(what).c_str());
  std::fflush(stderr);
}

absl::StatusOr<BenchReport> Measure(const ModelBenchCommand& command,
                                    const ConnectedServer& connected) {
  const ServeOptions& serve = command.choice.serve;
  ModelBenchOptions options;
  options.model = command.choice.answer.model;
  options.tests = TestsOf(command);
  options.repetitions = command.repetitions;
  options.on_progress = ShowProgress;
  BenchReport report;
  std::optional<MachineLimit> limit;
  if (connected.server == nullptr) {
    report.model = options.model.empty() ? "a model" : options.model;
    report.layout = absl::StrCat("served at ", command.choice.url);
    report.why_no_machine = "a running server's machine is not known";
  } else {
    report.model = connected.server->model_name();
    CARAVAN_ASSIGN_OR_RETURN(report.layout, LayoutOf(*connected.server, serve));
    report.why_no_machine =
        absl::StrCat("engines are ", serve.device, ", they compute nothing");
    options.vocab_size = connected.server->spec().vocab_size;
    CARAVAN_ASSIGN_OR_RETURN(limit, LimitOf(*connected.server, serve));
  }
  if (limit.has_value()) {
    options.limit = [&limit](const SpeedTest& test) {
      return limit->TokensPerSecond(test);
    };
  }
  CARAVAN_ASSIGN_OR_RETURN(report.results,
                           RunModelBench(*connected.client, options));
  if (limit.has_value()) report.machine = SpeedOf(*limit, report.results);
  return report;
}

absl::Status Run(ModelBenchCommand command) {
  CARAVAN_RETURN_IF_ERROR(Validate(command));
  command.choice.serve.skip_tokenizer_init = true;
  CARAVAN_ASSIGN_OR_RETURN(const auto interrupt, Interrupt::Create());
  CARAVAN_ASSIGN_OR_RETURN(const ConnectedServer connected,
                           ConnectServer(command.choice, *interrupt));
  const absl::StatusOr<BenchReport> report = Measure(command, connected);
  ShowProgress("");
  if (!report.ok()) return report.status();
  WriteToTerminal(command.as_json ? FormatBenchJson(*report)
                                  : FormatBenchTable(*report));
  return absl::OkStatus();
}

void AddTestOptions(CLI::App& app, ModelBenchCommand& command) {
  constexpr int64_t kMaxTokens = 1 << 20;
  app.add_option("--input-len", command.input_len,
                 "Tokens of the prompt that is taken in; 0: no such test")
      ->check(CLI::Range(int64_t{0}, kMaxTokens))
      ->capture_default_str();
  app.add_option("--output-len", command.output_len,
                 "Tokens that each stream generates; 0: no such test")
      ->check(CLI::Range(int64_t{0}, kMaxTokens))
      ->capture_default_str();
  app.add_option("--depth", command.depth,
                 "Tokens of the prompt before those that are generated")
      ->check(CLI::Range(int64_t{0}, kMaxTokens))
      ->capture_default_str();
  app.add_option("--concurrency", command.concurrency,
                 "Streams that generate at once, a test for each number")
      ->delimiter(',')
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  app.add_option("--repetitions", command.repetitions,
                 "Of each test, after one that does not count")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--json", command.as_json, "For machines, on one line");
}

}  // namespace

void AddBenchCommand(CLI::App& app, int& exit_code) {
  CLI::App* bench =
      app.add_subcommand("bench", "Measure how fast a model runs");
  bench->require_subcommand(1);
  bench->footer("");
  CLI::App* subcommand = bench->add_subcommand(
      "model",
      "Measure prompts and generation, alone and for several streams at once, "
      "starting a server for it");
  auto command = std::make_shared<ModelBenchCommand>();
  AddServerChoice(*subcommand, command->choice);
  // There is no chat here.
  subcommand->remove_option(subcommand->get_option("--chat-template"));
  AddTestOptions(*subcommand, *command);
  subcommand->footer(kExamples);
  subcommand->callback([command, &exit_code] {
    exit_code = ExitCodeOf(Run(*command), "caravan bench model");
  });
}

}  // namespace caravan::cli
