#include "worker/agent/daemon_arguments.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "worker/agent/mpi_command.h"

namespace caravan::worker {
namespace {

constexpr size_t kMaxValueBytes = 65536;

enum class Form {
  kNumber,
  kWord,      // letters, digits and any of ,^_-
  kNetworks,  // addresses, subnets and interface names, comma separated
  kNodes,     // Open MPI's compressed list of node names
  kUri,       // "1915355136.0;tcp://10.0.0.1:51189"
  kRelay,     // replaced by this node's own
  kSession,   // replaced by this node's own
  kShared,    // replaced by this node's own
};

struct Rule {
  absl::string_view name;
  Form form;
};

// Every parameter that mpirun passes on with the settings of mpi_command.cc.
// None of these can name a program, a library or a file.
constexpr Rule kRules[] = {
    {"btl", Form::kWord},
    {"btl_tcp_disable_family", Form::kNumber},
    {"btl_tcp_if_include", Form::kNetworks},
    {"btl_tcp_port_min_v4", Form::kNumber},
    {"btl_tcp_port_range_v4", Form::kNumber},
    {"btl_vader_backing_directory", Form::kShared},
    {"btl_vader_single_copy_mechanism", Form::kWord},
    {"ess", Form::kWord},
    {"ess_base_jobid", Form::kNumber},
    {"ess_base_num_procs", Form::kNumber},
    {"ess_base_vpid", Form::kNumber},
    {"hwloc_base_binding_policy", Form::kWord},
    {"if_base_do_not_resolve", Form::kNumber},
    {"mpi_yield_when_idle", Form::kNumber},
    {"odls_base_sigkill_timeout", Form::kNumber},
    {"oob_tcp_if_include", Form::kNetworks},
    {"oob_tcp_keepalive_intvl", Form::kNumber},
    {"oob_tcp_keepalive_probes", Form::kNumber},
    {"oob_tcp_keepalive_time", Form::kNumber},
    {"orte_hnp_uri", Form::kUri},
    {"orte_keep_fqdn_hostnames", Form::kNumber},
    {"orte_node_regex", Form::kNodes},
    {"orte_tag_output", Form::kNumber},
    {"orte_tmpdir_base", Form::kSession},
    {"plm", Form::kWord},
    {"plm_rsh_agent", Form::kRelay},
    {"plm_rsh_no_tree_spawn", Form::kNumber},
    {"pml", Form::kWord},
    {"pmix", Form::kWord},
    {"rmaps_base_oversubscribe", Form::kNumber},
};

absl::string_view Punctuation(Form form) {
  switch (form) {
    case Form::kNumber:
      return "";
    case Form::kWord:
      return ",^_-";
    case Form::kNetworks:
      return ",./:_-";
    case Form::kNodes:
      return ",._-[]:@()";
    case Form::kUri:
      return ",.:;/[]";
    case Form::kRelay:
    case Form::kSession:
    case Form::kShared:
      return "";
  }
  return "";
}

bool HasForm(absl::string_view value, Form form) {
  if (value.empty() || value.size() > kMaxValueBytes) return false;
  if (form == Form::kNumber) {
    return std::all_of(value.begin(), value.end(), absl::ascii_isdigit);
  }
  const absl::string_view extra = Punctuation(form);
  return std::all_of(value.begin(), value.end(), [&](char c) {
    return absl::ascii_isalnum(c) || extra.find(c) != absl::string_view::npos;
  });
}

absl::StatusOr<std::string> AllowedValue(absl::string_view name,
                                         absl::string_view value,
                                         const DaemonPlaces& places) {
  const Rule* rule =
      std::find_if(std::begin(kRules), std::end(kRules),
                   [&](const Rule& known) { return known.name == name; });
  if (rule == std::end(kRules)) {
    return absl::PermissionDeniedError(
        absl::StrCat("orted may not be started with the parameter '",
                     absl::CEscape(name.substr(0, 100)), "'"));
  }
  if (rule->form == Form::kRelay) return places.relay_command;
  if (rule->form == Form::kSession) return places.session_folder;
  if (rule->form == Form::kShared) return places.shared_memory_folder;
  if (!HasForm(value, rule->form)) {
    return absl::PermissionDeniedError(
        absl::StrCat("orted's parameter '", name, "' may not be '",
                     absl::CEscape(value.substr(0, 200)), "'"));
  }
  return std::string(value);
}

// Splits as a shell would with white space and quotes, and expands nothing.
absl::StatusOr<std::vector<std::string>> SplitQuoted(absl::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  for (const char c : text) {
    if (quote != '\0') {
      if (c == quote) {
        quote = '\0';
      } else {
        word += c;
      }
    } else if (c == '"' || c == '\'') {
      quote = c;
      in_word = true;
    } else if (absl::ascii_isspace(c)) {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote != '\0') {
    return absl::InvalidArgumentError("unbalanced quotes in orted's arguments");
  }
  if (in_word) words.push_back(std::move(word));
  return words;
}

}  // namespace

absl::StatusOr<DaemonRequest> ParseRelayCommand(
    absl::Span<const std::string> arguments) {
  if (arguments.empty() || !IsNodeName(arguments[0])) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the relay wants HOST COMMAND..., not '",
        absl::CEscape(arguments.empty() ? "" : arguments[0]), "'"));
  }
  DaemonRequest request = {.target_node = arguments[0]};
  CARAVAN_ASSIGN_OR_RETURN(
      std::vector<std::string> words,
      SplitQuoted(absl::StrJoin(arguments.subspan(1), " ")));
  const auto daemon =
      std::find_if(words.begin(), words.end(), [](const std::string& word) {
        return word == "orted" || absl::EndsWith(word, "/orted");
      });
  if (daemon == words.end()) {
    return absl::InvalidArgumentError(
        "the relay starts orted and nothing else; mpirun asked for something "
        "else");
  }
  request.arguments.assign(daemon + 1, words.end());
  return request;
}

absl::StatusOr<std::vector<std::string>> AllowedDaemonArguments(
    absl::Span<const std::string> arguments, const DaemonPlaces& places) {
  std::vector<std::string> allowed;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& flag = arguments[i];
    if (flag == "--daemonize" || flag == "-daemonize") continue;
    if ((flag != "-mca" && flag != "--mca") || i + 2 >= arguments.size()) {
      return absl::PermissionDeniedError(absl::StrCat(
          "orted may not be started with the argument '",
          absl::CEscape(absl::string_view(flag).substr(0, 100)), "'"));
    }
    CARAVAN_ASSIGN_OR_RETURN(
        std::string value,
        AllowedValue(arguments[i + 1], arguments[i + 2], places));
    allowed.insert(allowed.end(), {"-mca", arguments[i + 1], std::move(value)});
    i += 2;
  }
  if (allowed.empty()) {
    return absl::PermissionDeniedError("orted may not be started bare");
  }
  return allowed;
}

}  // namespace caravan::worker
