#include "partition/model/model_source.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "partition/model/gguf_source.h"
#include "partition/model/hf_folder.h"
#include "partition/model/hf_source.h"
#include "partition/model/named_models.h"
#include "partition/model/synthetic_source.h"

namespace caravan::partition {
namespace {

bool Exists(const std::string& path) {
  std::error_code ignored;  // what cannot be inspected fails when opened
  return std::filesystem::exists(path, ignored);
}

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

absl::StatusOr<ModelSpec> SyntheticSpec(const std::string& path,
                                        const std::string& overrides) {
  if (Exists(path)) {
    CARAVAN_ASSIGN_OR_RETURN(const HfConfiguration configuration,
                             ReadHfConfiguration(path, overrides));
    return configuration.spec;
  }
  absl::StatusOr<ModelSpec> spec = NamedModelSpec(path, overrides);
  if (!absl::IsNotFound(spec.status())) return spec;
  return absl::NotFoundError(absl::StrCat("no file or folder ", path, ", and ",
                                          spec.status().message()));
}

absl::StatusOr<std::unique_ptr<ModelSource>> OpenByKind(
    const std::string& path, const std::string& overrides) {
  if (IsFolder(path)) return OpenHfSource(path, overrides);
  if (absl::EndsWithIgnoreCase(path, ".gguf")) {
    if (overrides.empty()) return OpenGgufSource(path);
    return absl::InvalidArgumentError(absl::StrCat(
        "--hf-overrides is for models with a config.json, not for ", path));
  }
  if (Exists(path)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": neither a folder with config.json nor a .gguf file"));
  }
  absl::Status missing =
      absl::NotFoundError(absl::StrCat("no file or folder ", path));
  if (NamedModelSpec(path).ok()) {
    return absl::NotFoundError(absl::StrCat(
        missing.message(),
        "; the name stands for synthetic weights: load format \"dummy\""));
  }
  return missing;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelSource>> OpenModel(
    const ModelSourceOptions& options) {
  switch (options.load_format) {
    case LoadFormat::kAuto:
      return OpenByKind(options.path, options.hf_overrides);
    case LoadFormat::kDummy: {
      CARAVAN_ASSIGN_OR_RETURN(
          const ModelSpec spec,
          SyntheticSpec(options.path, options.hf_overrides));
      return MakeSyntheticSource(spec, options.seed);
    }
  }
  return absl::InternalError("unknown load format");
}

}  // namespace caravan::partition
