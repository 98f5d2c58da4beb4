#include "coordinator/api/field_reader.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "coordinator/api/errors.h"

namespace caravan::coordinator {

using nlohmann::json;

std::optional<int64_t> AsInteger(const json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return std::nullopt;
    }
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    const double number = value.get<double>();
    // 2^53: beyond it a double no longer says which integer was meant.
    if (std::trunc(number) != number || std::abs(number) > 0x1p53) {
      return std::nullopt;
    }
    return static_cast<int64_t>(number);
  }
  return std::nullopt;
}

FieldReader::FieldReader(const json& object, absl::string_view prefix)
    : object_(object), prefix_(prefix) {}

const json* FieldReader::Find(absl::string_view name) const {
  const auto place = object_.find(std::string(name));
  if (place == object_.end() || place->is_null()) return nullptr;
  return &*place;
}

absl::Status FieldReader::Error(absl::string_view name,
                                absl::string_view message) const {
  const std::string full_name = absl::StrCat(prefix_, name);
  return FieldError(full_name, absl::StrCat(full_name, " ", message));
}

absl::StatusOr<std::optional<int64_t>> FieldReader::Integer(
    absl::string_view name, int64_t least, int64_t most) const {
  const json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) return Error(name, "must be an integer");
  const std::optional<int64_t> number = AsInteger(*value);
  if (!number.has_value() && value->is_number_float() &&
      std::trunc(value->get<double>()) != value->get<double>()) {
    return Error(
        name, absl::StrCat("must be an integer, got ", value->get<double>()));
  }
  if (!number.has_value() || *number < least || *number > most) {
    return Error(name, absl::StrCat("must be between ", least, " and ", most,
                                    ", got ", value->dump()));
  }
  return number;
}

absl::StatusOr<std::optional<double>> FieldReader::Number(
    absl::string_view name, double least, double most) const {
  const json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) return Error(name, "must be a number");
  const double number = value->get<double>();
  // Written so that a NaN fails too, though JSON has none.
  if (!(number >= least && number <= most)) {
    return Error(name, absl::StrCat("must be between ", least, " and ", most,
                                    ", got ", number));
  }
  return number;
}

absl::StatusOr<std::optional<bool>> FieldReader::Boolean(
    absl::string_view name) const {
  const json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return Error(name, "must be true or false");
  return value->get<bool>();
}

absl::StatusOr<const std::string*> FieldReader::String(
    absl::string_view name) const {
  const json* value = Find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_string()) return Error(name, "must be a string");
  return value->get_ptr<const std::string*>();
}

absl::StatusOr<const json*> FieldReader::Object(absl::string_view name) const {
  const json* value = Find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) return Error(name, "must be an object");
  return value;
}

}  // namespace caravan::coordinator
