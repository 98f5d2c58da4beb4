#include "worker/agent/launch_environment.h"

#include <unistd.h>

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace caravan::worker {
namespace {

constexpr absl::string_view kForeignPrefixes[] = {"OMPI_", "OPAL_", "ORTE_",
                                                  "PMIX_", "PMI_",  "PRTE_"};

absl::string_view NameOf(absl::string_view variable) {
  return variable.substr(0, variable.find('='));
}

bool SteersOpenMpi(absl::string_view variable) {
  return std::any_of(std::begin(kForeignPrefixes), std::end(kForeignPrefixes),
                     [&](absl::string_view prefix) {
                       return absl::StartsWith(variable, prefix);
                     });
}

}  // namespace

std::vector<std::string> LaunchEnvironment(
    absl::Span<const std::string> inherited, absl::string_view programs,
    absl::Span<const std::string> ours) {
  std::set<absl::string_view> taken = {"PATH"};
  for (const std::string& variable : ours) taken.insert(NameOf(variable));
  absl::string_view path = "/usr/local/bin:/usr/bin:/bin";
  std::vector<std::string> environment;
  for (const std::string& variable : inherited) {
    absl::string_view text = variable;
    if (absl::ConsumePrefix(&text, "PATH=")) path = text;
    if (taken.count(NameOf(variable)) == 0 && !SteersOpenMpi(variable)) {
      environment.push_back(variable);
    }
  }
  environment.push_back(absl::StrCat("PATH=", programs, ":", path));
  environment.insert(environment.end(), ours.begin(), ours.end());
  return environment;
}

std::vector<std::string> InheritedEnvironment() {
  std::vector<std::string> environment;
  for (char** variable = environ; variable != nullptr && *variable != nullptr;
       ++variable) {
    environment.push_back(*variable);
  }
  return environment;
}

}  // namespace caravan::worker
