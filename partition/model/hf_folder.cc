#include "partition/model/hf_folder.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "partition/model/file.h"
#include "partition/model/hf_config.h"

namespace caravan::partition {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;

}  // namespace

absl::StatusOr<HfConfiguration> ReadHfConfiguration(
    absl::string_view path, absl::string_view overrides) {
  namespace fs = std::filesystem;
  fs::path config = fs::path(std::string(path));
  std::error_code ignored;  // what is no folder is opened as a file
  if (fs::is_directory(config, ignored)) config /= "config.json";
  HfConfiguration result;
  CARAVAN_ASSIGN_OR_RETURN(result.text,
                           ReadWholeFile(config.string(), kMaxConfigBytes));
  absl::StatusOr<std::string> overridden =
      OverrideHfConfig(result.text, overrides);
  if (!overridden.ok()) return Annotate(overridden.status(), config.string());
  result.text = *std::move(overridden);
  absl::StatusOr<ModelSpec> spec = ParseHfConfig(result.text);
  if (!spec.ok()) return Annotate(spec.status(), config.string());
  result.spec = *spec;
  const std::string generation =
      (config.parent_path() / "generation_config.json").string();
  absl::StatusOr<std::string> text = ReadWholeFile(generation, kMaxConfigBytes);
  if (absl::IsNotFound(text.status())) return result;
  if (!text.ok()) return text.status();
  result.generation_text = *std::move(text);
  CARAVAN_RETURN_IF_ERROR(Annotate(
      MergeGenerationConfig(result.generation_text, result.spec), generation));
  return result;
}

}  // namespace caravan::partition
