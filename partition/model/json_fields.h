// Typed access to the fields of a JSON object. A field that is absent or null
// has no value; one of another type is an error that names it.
#ifndef CARAVAN_PARTITION_MODEL_JSON_FIELDS_H_
#define CARAVAN_PARTITION_MODEL_JSON_FIELDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json_fwd.hpp"

namespace caravan::partition {

// Borrows the object, which must outlive it. Const and thread-safe.
class JsonFields final {
 public:
  // `prefix` stands before field names in messages ("rope_scaling.").
  explicit JsonFields(const nlohmann::json& object,
                      absl::string_view prefix = "")
      : object_(object), prefix_(prefix) {}

  // Whether the key is there, null or not.
  bool Has(absl::string_view name) const;

  absl::StatusOr<std::optional<int64_t>> Integer(absl::string_view name) const;
  // Takes integers too.
  absl::StatusOr<std::optional<double>> Number(absl::string_view name) const;
  absl::StatusOr<std::optional<bool>> Bool(absl::string_view name) const;
  absl::StatusOr<std::optional<std::string>> String(
      absl::string_view name) const;
  // An array of integers, or one of them.
  absl::StatusOr<std::optional<std::vector<int64_t>>> Integers(
      absl::string_view name) const;
  absl::StatusOr<std::optional<std::vector<std::string>>> Strings(
      absl::string_view name) const;
  // nullptr: absent or null.
  absl::StatusOr<const nlohmann::json*> Object(absl::string_view name) const;

  // kInvalidArgument when absent or null.
  absl::StatusOr<int64_t> RequiredInteger(absl::string_view name) const;
  absl::StatusOr<double> RequiredNumber(absl::string_view name) const;

  absl::Status WrongType(absl::string_view name, absl::string_view kind) const;

 private:
  // nullptr: absent or null.
  const nlohmann::json* Find(absl::string_view name) const;

  const nlohmann::json& object_;
  const std::string prefix_;
};

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_JSON_FIELDS_H_
