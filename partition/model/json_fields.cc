#include "partition/model/json_fields.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace caravan::partition {
namespace {

using Json = nlohmann::json;

// Floats are not integers, even whole ones; nor are values above int64_t.
std::optional<int64_t> AsInteger(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (!std::in_range<int64_t>(number)) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return std::nullopt;
}

}  // namespace

const Json* JsonFields::Find(absl::string_view name) const {
  const auto found = object_.find(std::string(name));
  if (found == object_.end() || found->is_null()) return nullptr;
  return &*found;
}

bool JsonFields::Has(absl::string_view name) const {
  return object_.contains(std::string(name));
}

absl::Status JsonFields::WrongType(absl::string_view name,
                                   absl::string_view kind) const {
  return absl::InvalidArgumentError(
      absl::StrCat("field ", prefix_, name, " must be ", kind));
}

absl::StatusOr<std::optional<int64_t>> JsonFields::Integer(
    absl::string_view name) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> integer = AsInteger(*value);
  if (!integer.has_value()) return WrongType(name, "an integer below 2^63");
  return integer;
}

absl::StatusOr<std::optional<double>> JsonFields::Number(
    absl::string_view name) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) return WrongType(name, "a number");
  return value->get<double>();
}

absl::StatusOr<std::optional<bool>> JsonFields::Bool(
    absl::string_view name) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return WrongType(name, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::optional<std::string>> JsonFields::String(
    absl::string_view name) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return WrongType(name, "a string");
  return value->get<std::string>();
}

absl::StatusOr<std::optional<std::vector<int64_t>>> JsonFields::Integers(
    absl::string_view name) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  std::vector<int64_t> integers;
  const auto add = [&](const Json& element) {
    const std::optional<int64_t> integer = AsInteger(element);
    if (integer.has_value()) integers.push_back(*integer);
    return integer.has_value();
  };
  if (value->is_array()) {
    for (const Json& element : *value) {
      if (!add(element)) return WrongType(name, "an array of integers");
    }
  } else if (!add(*value)) {
    return WrongType(name, "an integer or an array of integers");
  }
  return integers;
}

absl::StatusOr<std::optional<std::vector<std::string>>> JsonFields::Strings(
    absl::string_view name) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) return WrongType(name, "an array of strings");
  std::vector<std::string> strings;
  for (const Json& element : *value) {
    if (!element.is_string()) return WrongType(name, "an array of strings");
    strings.push_back(element.get<std::string>());
  }
  return strings;
}

absl::StatusOr<const Json*> JsonFields::Object(absl::string_view name) const {
  const Json* value = Find(name);
  if (value != nullptr && !value->is_object()) {
    return WrongType(name, "an object");
  }
  return value;
}

absl::StatusOr<int64_t> JsonFields::RequiredInteger(
    absl::string_view name) const {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> value, Integer(name));
  if (!value.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("field ", prefix_, name, " is missing"));
  }
  return *value;
}

absl::StatusOr<double> JsonFields::RequiredNumber(
    absl::string_view name) const {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<double> value, Number(name));
  if (!value.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("field ", prefix_, name, " is missing"));
  }
  return *value;
}

}  // namespace caravan::partition
