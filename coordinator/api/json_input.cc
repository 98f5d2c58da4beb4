#include "coordinator/api/json_input.h"

#include <cstdint>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "coordinator/api/errors.h"

namespace caravan::coordinator {
namespace {

using nlohmann::json;

// Builds the document and stops at the first thing that is not allowed; the
// library's own builder neither counts nor notices a key given twice.
class DocumentBuilder final : public nlohmann::json_sax<json> {
 public:
  explicit DocumentBuilder(const ApiLimits& limits) : limits_(limits) {}

  json TakeDocument() { return std::move(document_); }
  const absl::Status& status() const { return status_; }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(int64_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(uint64_t value) override {
    return Add(value) != nullptr;
  }
  bool number_float(double value, const std::string& spelling) override {
    return Add(value) != nullptr;
  }
  bool string(std::string& value) override {
    return Add(std::move(value)) != nullptr;
  }
  bool binary(json::binary_t& value) override {
    return Fail("binary values are not JSON");
  }
  bool start_object(std::size_t size) override { return Open(json::object()); }
  bool start_array(std::size_t size) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(std::string& name) override {
    if (++num_keys_ > limits_.max_json_keys) {
      return Fail(absl::StrCat("more than ", limits_.max_json_keys, " keys"));
    }
    if (open_.size() == 1) field_ = name;
    const auto [place, is_new] =
        open_.back()->get_ref<json::object_t&>().emplace(std::move(name),
                                                         nullptr);
    if (!is_new) {
      return Fail(absl::StrCat("key '", Shown(place->first), "' given twice"));
    }
    member_ = &place->second;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& token,
                   const json::exception& error) override {
    const bool is_overflow = error.id == 406;
    return Fail(is_overflow
                    ? absl::StrCat("number ", Shown(token), " out of range")
                    : absl::StrCat("not valid JSON at byte ", position));
  }

 private:
  static std::string Shown(absl::string_view text) {
    return absl::Utf8SafeCHexEscape(text.substr(0, 64));
  }

  bool Fail(absl::string_view message) {
    status_ = field_.empty()
                  ? FieldError("", absl::StrCat("Request body: ", message))
                  : FieldError(Shown(field_),
                               absl::StrCat("Request body, field '",
                                            Shown(field_), "': ", message));
    return false;
  }

  // Null after a failure.
  template <typename Value>
  json* Add(Value&& value) {
    if (open_.empty()) {
      Fail("must be a JSON object");
      return nullptr;
    }
    if (++num_values_ > limits_.max_json_values) {
      Fail(absl::StrCat("more than ", limits_.max_json_values, " values"));
      return nullptr;
    }
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(json(std::forward<Value>(value)));
      return &parent.back();
    }
    *member_ = json(std::forward<Value>(value));
    return member_;
  }

  bool Open(json value) {
    if (open_.empty()) {
      if (!value.is_object()) return Fail("must be a JSON object");
      document_ = std::move(value);
      open_.push_back(&document_);
      return true;
    }
    if (static_cast<int>(open_.size()) >= limits_.max_json_depth) {
      return Fail(absl::StrCat("nested deeper than ", limits_.max_json_depth));
    }
    // Arrays grow only at their open end, so that pointers to what is open
    // stay valid.
    json* place = Add(std::move(value));
    if (place == nullptr) return false;
    open_.push_back(place);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const ApiLimits& limits_;
  json document_;
  std::vector<json*> open_;  // from the document inwards
  json* member_ = nullptr;   // where the value of the last key goes
  std::string field_;        // the document's own key that is being read
  int64_t num_values_ = 0;
  int64_t num_keys_ = 0;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<json> ParseJsonObject(absl::string_view text,
                                     const ApiLimits& limits) {
  if (text.empty()) return FieldError("", "Request body: empty");
  DocumentBuilder builder(limits);
  try {
    const bool ok = json::sax_parse(text.begin(), text.end(), &builder);
    if (!builder.status().ok()) return builder.status();
    if (!ok) return FieldError("", "Request body: not valid JSON");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("JSON reader: ", error.what()));
  }
  return builder.TakeDocument();
}

}  // namespace caravan::coordinator
