#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "partition/plan/layout.h"
#include "partition/plan/plan.h"
#include "partition/plan/rank_memory.h"

namespace caravan::partition {
namespace {

using Row = std::vector<std::string>;

constexpr char kAssumed[] =
    "\nWhat CUDA and NCCL take is assumed: no GPU has measured it.\n";

std::string Size(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  return bytes >= int64_t{100} << 20
             ? absl::StrFormat("%.2f GiB", value / 0x1p30)
             : absl::StrFormat("%.1f MiB", value / 0x1p20);
}

std::string Span(const Range& range) {
  return range.size() == 1 ? absl::StrCat(range.begin)
                           : absl::StrCat(range.begin, "-", range.end - 1);
}

struct Column {
  const char* name;
  int64_t RankMemory::* bytes;
};

// What CUDA itself takes is a column only where there is a GPU.
std::vector<Column> MemoryColumns(const RankMemory& sum) {
  std::vector<Column> columns = {{"weights", &RankMemory::weights},
                                 {"KV cache", &RankMemory::kv_cache},
                                 {"activations", &RankMemory::activations},
                                 {"communication", &RankMemory::communication}};
  if (sum.reserve > 0) columns.push_back({"CUDA", &RankMemory::reserve});
  return columns;
}

Row Cells(const RankPlan& rank, const std::vector<Column>& columns,
          const PlanOptions& options) {
  Row row = {
      absl::StrCat(rank.rank),
      absl::StrCat(rank.stage),
      absl::StrCat(rank.tp_rank),
      DeviceName(rank.device),
      Span(rank.layers),
      Span(rank.shard.heads),
      Span(rank.shard.kv_heads),
      Span(rank.shard.mlp_columns),
      rank.has_embedding || rank.has_head ? Span(rank.shard.vocabulary) : "-"};
  for (const Column& column : columns) {
    row.push_back(Size(rank.memory.*column.bytes));
  }
  row.push_back(Size(rank.memory.total()));
  row.push_back(Size(UsableBytes(rank.device, options) - rank.memory.total()));
  return row;
}

// Columns as wide as their widest cell, all to the right.
std::string Align(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppendFormat(&text, "%s%*s", i == 0 ? "" : "  ",
                            static_cast<int>(widths[i]), row[i]);
    }
    text += "\n";
  }
  return text;
}

// In which types, and what a token takes on all ranks together.
std::string CacheText(const Plan& plan) {
  std::vector<std::string> names;
  int64_t block_bytes = 0;
  for (const RankPlan& rank : plan.ranks) {
    block_bytes += KvBlockBytes(plan.spec, rank);
    const std::string name(Name(rank.kv_cache_dtype));
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  }
  return absl::StrFormat(
      "%s (%.1f KiB a token)", absl::StrJoin(names, ", "),
      static_cast<double>(block_bytes) / kBlockTokens / 0x1p10);
}

}  // namespace

std::string FormatPlan(const Plan& plan) {
  const PlanOptions& options = plan.options;
  const ModelSpec& spec = plan.spec;
  RankMemory sum;
  for (const RankPlan& rank : plan.ranks) {
    sum.weights += rank.memory.weights;
    sum.kv_cache += rank.memory.kv_cache;
    sum.activations += rank.memory.activations;
    sum.communication += rank.memory.communication;
    sum.reserve += rank.memory.reserve;
  }
  const std::vector<Column> columns = MemoryColumns(sum);
  Row head = {"rank",  "stage",    "tp",      "device",    "layers",
              "heads", "KV heads", "columns", "vocabulary"};
  Row total(head.size());
  total[0] = "all";
  for (const Column& column : columns) {
    head.emplace_back(column.name);
    total.push_back(Size(sum.*column.bytes));
  }
  head.insert(head.end(), {"total", "left"});
  total.push_back(Size(sum.total()));
  std::vector<Row> rows = {head};
  for (const RankPlan& rank : plan.ranks) {
    rows.push_back(Cells(rank, columns, options));
  }
  rows.push_back(total);
  return absl::StrCat(
      spec.num_layers, " layers, ", spec.hidden_size, " wide, ", spec.num_heads,
      " heads, ", spec.num_kv_heads, " KV heads, MLP ", spec.intermediate_size,
      ", vocabulary ", spec.vocab_size, "; ",
      absl::StrFormat("%.2f", static_cast<double>(CountParameters(spec)) / 1e9),
      "e9 parameters\n", "tensor parallel ", options.tp,
      " x pipeline parallel ", options.pp, " = ", plan.ranks.size(),
      " ranks; weights ", HeldFormatNames(spec, plan.ranks, options.hold()),
      ", KV cache ", CacheText(plan),
      plan.ranks.size() > 1 ? absl::StrCat(", activations sent in ",
                                           Name(options.activation_dtype))
                            : "",
      "\n", "up to ", options.max_model_len, " tokens a sequence, ",
      options.max_sequences, " sequences, ", options.max_rows_per_step,
      " rows a step; ", plan.num_blocks,
      " KV blocks = ", plan.num_blocks * kBlockTokens, " tokens\n\n",
      Align(rows), sum.reserve > 0 ? kAssumed : "");
}

}  // namespace caravan::partition
