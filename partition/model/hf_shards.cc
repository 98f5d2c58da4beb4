#include "partition/model/hf_shards.h"

#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "partition/model/safetensors_header.h"
#include "partition/model/strict_json.h"

namespace caravan::partition {
namespace {

constexpr char kSingle[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";
constexpr int64_t kMaxIndexBytes = int64_t{16} << 20;
constexpr size_t kMaxFiles = 1024;  // each stays open
constexpr int kMaxDepth = 4;

// Which file a tensor is in, by name.
using WeightMap = std::map<std::string, std::string>;

bool Exists(const std::string& path) {
  std::error_code ignored;  // what cannot be inspected fails when opened
  return std::filesystem::exists(path, ignored);
}

std::string Label(absl::string_view tensor) {
  return absl::StrCat("tensor \"", absl::CHexEscape(tensor), "\"");
}

// A plain name: an index must not lead out of its folder.
absl::Status CheckFileName(const std::string& name) {
  if (!absl::EndsWith(name, ".safetensors") || absl::StrContains(name, "/") ||
      absl::StrContains(name, std::string(1, '\0'))) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(name),
                     "\" is not the name of a .safetensors file beside it"));
  }
  return absl::OkStatus();
}

absl::StatusOr<WeightMap> ParseIndex(absl::string_view text) {
  CARAVAN_ASSIGN_OR_RETURN(const nlohmann::json json,
                           ParseStrictJson(text, kMaxDepth));
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object()) {
    return absl::InvalidArgumentError("field weight_map must be an object");
  }
  WeightMap result;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Label(tensor), ": the file must be a string"));
    }
    const std::string name = file.get<std::string>();
    CARAVAN_RETURN_IF_ERROR(Annotate(CheckFileName(name), Label(tensor)));
    result.emplace(tensor, name);
  }
  return result;
}

absl::StatusOr<SafetensorsHeader> AddFile(const std::string& path,
                                          HfShards& shards,
                                          FingerprintBuilder& fingerprint) {
  CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<RandomAccessFile> file,
                           OpenFile(path));
  absl::StatusOr<SafetensorsHeader> header = ReadSafetensorsHeader(*file);
  if (!header.ok()) return Annotate(header.status(), path);
  for (const SafetensorsTensor& tensor : header->tensors) {
    const HfShards::Place place = {tensor.info, shards.files.size(),
                                   tensor.offset};
    const auto [entry, is_new] = shards.tensors.emplace(tensor.name, place);
    if (!is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", Label(tensor.name), " is in ",
                       shards.files[entry->second.file]->path(), " too"));
    }
  }
  fingerprint.Add("file", std::filesystem::path(path).filename().string());
  fingerprint.Add("size", file->size());
  fingerprint.Add("header", header->text);
  shards.files.push_back(std::move(file));
  return header;
}

absl::Status CheckAgainstIndex(const SafetensorsHeader& header,
                               const std::string& file,
                               const WeightMap& weight_map) {
  for (const SafetensorsTensor& tensor : header.tensors) {
    const auto listed = weight_map.find(tensor.name);
    if (listed == weight_map.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Label(tensor.name), " is in ", file, " but not listed"));
    }
    if (listed->second != file) {
      return absl::InvalidArgumentError(
          absl::StrCat(Label(tensor.name), " is in ", file, " but listed in ",
                       listed->second));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<HfShards> OpenSharded(const std::string& folder,
                                     FingerprintBuilder& fingerprint) {
  const std::string index = absl::StrCat(folder, "/", kIndex);
  CARAVAN_ASSIGN_OR_RETURN(const std::string text,
                           ReadWholeFile(index, kMaxIndexBytes));
  fingerprint.Add("index", text);
  absl::StatusOr<WeightMap> weight_map = ParseIndex(text);
  if (!weight_map.ok()) return Annotate(weight_map.status(), index);
  std::set<std::string> files;
  for (const auto& [tensor, file] : *weight_map) files.insert(file);
  if (files.size() > kMaxFiles) {
    return absl::InvalidArgumentError(
        absl::StrCat(index, ": ", files.size(), " files, at most ", kMaxFiles));
  }
  HfShards shards;
  for (const std::string& file : files) {
    CARAVAN_ASSIGN_OR_RETURN(
        const SafetensorsHeader header,
        AddFile(absl::StrCat(folder, "/", file), shards, fingerprint));
    CARAVAN_RETURN_IF_ERROR(
        Annotate(CheckAgainstIndex(header, file, *weight_map), index));
  }
  for (const auto& [tensor, file] : *weight_map) {
    if (!shards.tensors.contains(tensor)) {
      return absl::InvalidArgumentError(
          absl::StrCat(index, ": ", Label(tensor), " is not in ", file));
    }
  }
  return shards;
}

}  // namespace

absl::StatusOr<HfShards> OpenHfShards(absl::string_view folder,
                                      FingerprintBuilder& fingerprint) {
  const std::string root(folder);
  const std::string single = absl::StrCat(root, "/", kSingle);
  if (Exists(single)) {
    HfShards shards;
    CARAVAN_RETURN_IF_ERROR(AddFile(single, shards, fingerprint).status());
    return shards;
  }
  if (Exists(absl::StrCat(root, "/", kIndex))) {
    return OpenSharded(root, fingerprint);
  }
  return absl::NotFoundError(
      absl::StrCat(root, ": no weights: neither ", kSingle, " nor ", kIndex,
                   Exists(root + "/pytorch_model.bin") ||
                           Exists(root + "/pytorch_model.bin.index.json")
                       ? "; PyTorch's .bin files are not read"
                       : ""));
}

}  // namespace caravan::partition
