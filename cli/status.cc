#include "cli/status.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "cli/http_client.h"
#include "nlohmann/json.hpp"

namespace caravan::cli {
namespace {

using Json = nlohmann::json;

constexpr char kExamples[] = R"(Examples:
  caravan status
      Of the server on this machine.
  caravan status --url http://10.0.0.1:8000 --api-key SECRET
  caravan status --json | jq .requests)";

std::string GiB(int64_t bytes) {
  return absl::StrFormat("%.2f GiB", static_cast<double>(bytes) / (1 << 30));
}

// "0-14" of [0, 15).
std::string Span(const Json& range) {
  return absl::StrCat(range.at(0).get<int64_t>(), "-",
                      range.at(1).get<int64_t>() - 1);
}

std::string Text(const Json& json, const char* key) {
  return json.at(key).get<std::string>();
}

int64_t Number(const Json& json, const char* key) {
  return json.at(key).get<int64_t>();
}

// "2 x NVIDIA H100 (80.0 GiB), 1 x ...", or "-".
std::string Gpus(const Json& devices) {
  std::map<std::string, int> counts;
  for (const Json& device : devices) {
    if (Text(device, "kind") != "cuda") continue;
    ++counts[absl::StrCat(Text(device, "name"), " (",
                          GiB(Number(device, "memory_bytes")), ")")];
  }
  std::vector<std::string> kinds;
  for (const auto& [kind, count] : counts) {
    kinds.push_back(absl::StrCat(count, " x ", kind));
  }
  return kinds.empty() ? "-" : absl::StrJoin(kinds, ", ");
}

void AppendNodes(const Json& nodes, std::string* out) {
  absl::StrAppendFormat(out,
                        "\nNODE                 ADDRESS            CORES"
                        "     MEMORY  GPUS\n");
  for (const Json& node : nodes) {
    int64_t cores = 0;
    for (const Json& device : node.at("devices")) {
      cores += Number(device, "cores");
    }
    absl::StrAppendFormat(out, "%-20s %-18s %5d %10s  %s\n", Text(node, "name"),
                          Text(node, "data_address"), cores,
                          GiB(Number(node, "memory_bytes")),
                          Gpus(node.at("devices")));
  }
}

void AppendRanks(const Json& ranks, std::string* out) {
  absl::StrAppendFormat(out,
                        "\nRANK STAGE NODE                 LAYERS  KV HEADS   "
                        "  PLANNED    IN USE  PHASE\n");
  for (const Json& rank : ranks) {
    absl::StrAppendFormat(
        out, "%4d %5d %-20s %-7s %-8s %11s %9s  %s\n", Number(rank, "rank"),
        Number(rank, "stage"), Text(rank, "node"), Span(rank.at("layers")),
        Span(rank.at("kv_heads")), GiB(Number(rank, "planned_bytes")),
        GiB(Number(rank, "resident_bytes")), Text(rank, "phase"));
  }
}

std::string Format(const Json& status) {
  std::string out = absl::StrCat("Model ", Text(status, "model"), ", Caravan ",
                                 Text(status, "build"), "\n");
  AppendNodes(status.at("nodes"), &out);
  for (const Json& replica : status.at("replicas")) {
    absl::StrAppendFormat(&out, "\nReplica %d: %s, epoch %d, tp %d x pp %d\n",
                          Number(replica, "replica"), Text(replica, "state"),
                          Number(replica, "epoch"), Number(replica, "tp"),
                          Number(replica, "pp"));
    const std::string failure = Text(replica, "last_failure");
    if (!failure.empty()) {
      absl::StrAppend(&out, "Last failure: ", failure, "\n");
    }
    AppendRanks(replica.at("ranks"), &out);
  }
  const Json& requests = status.at("requests");
  absl::StrAppendFormat(
      &out,
      "\nRequests: %d running, %d waiting; cache blocks: %d of %d; tokens: %d "
      "in, %d out\n",
      Number(requests, "running"), Number(requests, "waiting"),
      Number(requests, "blocks_used"), Number(requests, "blocks_total"),
      Number(requests, "prompt_tokens"), Number(requests, "generated_tokens"));
  return out;
}

struct StatusCommand {
  std::string url = "http://127.0.0.1:8000";
  std::string api_key;
  bool as_json = false;
};

// What is to be shown.
absl::StatusOr<std::string> Ask(const StatusCommand& command) {
  HttpClient::Options options;
  CARAVAN_ASSIGN_OR_RETURN(options.server, ParseServerUrl(command.url));
  options.api_key = command.api_key;
  options.silence_deadline = absl::Seconds(10);
  CARAVAN_ASSIGN_OR_RETURN(const std::string json,
                           HttpClient(std::move(options)).Get("/status"));
  if (command.as_json) return json;
  return FormatStatus(json);
}

}  // namespace

absl::StatusOr<std::string> FormatStatus(absl::string_view json) {
  try {
    return Format(Json::parse(json.begin(), json.end()));
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("not the status of a Caravan server: ", error.what()));
  }
}

void AddStatusCommand(CLI::App& app, int& exit_code) {
  CLI::App* subcommand = app.add_subcommand(
      "status", "Show a server's nodes, engines and requests");
  subcommand->footer(kExamples);
  auto command = std::make_shared<StatusCommand>();
  subcommand->add_option("--url", command->url, "Where the server is")
      ->capture_default_str();
  subcommand->add_option("--api-key", command->api_key,
                         "If the server has keys");
  subcommand->add_flag("--json", command->as_json, "As the server says it");
  subcommand->callback([command, &exit_code] {
    const absl::StatusOr<std::string> text = Ask(*command);
    if (text.ok()) {
      std::fputs(text->c_str(), stdout);
      return;
    }
    std::fprintf(stderr, "caravan status: %s\n",
                 std::string(text.status().message()).c_str());
    exit_code = 1;
  });
}

}  // namespace caravan::cli
