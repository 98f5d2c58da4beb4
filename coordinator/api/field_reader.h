// Typed access to the fields of a JSON object, each with its bounds.
#ifndef CARAVAN_COORDINATOR_API_FIELD_READER_H_
#define CARAVAN_COORDINATOR_API_FIELD_READER_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// A borrowed view. A field that is absent or null reads as nullopt; one of the
// wrong type or out of its bounds is kInvalidArgument by its name. A number
// spelled 5.0 is the integer 5; a string or a boolean is never a number.
class FieldReader final {
 public:
  // `object` is a JSON object and outlives this. `prefix` stands before the
  // names in messages: "stream_options.".
  explicit FieldReader(const nlohmann::json& object,
                       absl::string_view prefix = "");

  // Null when absent or null.
  const nlohmann::json* Find(absl::string_view name) const;

  absl::StatusOr<std::optional<int64_t>> Integer(absl::string_view name,
                                                 int64_t least,
                                                 int64_t most) const;
  absl::StatusOr<std::optional<double>> Number(absl::string_view name,
                                               double least, double most) const;
  absl::StatusOr<std::optional<bool>> Boolean(absl::string_view name) const;
  // Null or what lies in the document.
  absl::StatusOr<const std::string*> String(absl::string_view name) const;
  absl::StatusOr<const nlohmann::json*> Object(absl::string_view name) const;

  // kInvalidArgument that names the field.
  absl::Status Error(absl::string_view name, absl::string_view message) const;

 private:
  const nlohmann::json& object_;
  std::string prefix_;
};

// The integer that `value` is, also when spelled as 5.0; nullopt for anything
// else and for what an int64_t cannot hold.
std::optional<int64_t> AsInteger(const nlohmann::json& value);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_FIELD_READER_H_
