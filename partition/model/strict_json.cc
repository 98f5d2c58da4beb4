#include "partition/model/strict_json.h"

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace caravan::partition {
namespace {

using Json = nlohmann::json;

// Builds the document as nlohmann's own builder does, and stops at what it
// would let pass.
class StrictBuilder final : public nlohmann::json_sax<Json> {
 public:
  explicit StrictBuilder(int max_depth) : max_depth_(max_depth) {}

  absl::Status TakeStatus() && { return std::move(status_); }
  Json TakeRoot() && { return std::move(root_); }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override {
    return Add(value) != nullptr;
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Add(value) != nullptr;
  }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value) != nullptr;
  }
  bool string(string_t& value) override {
    return Add(std::move(value)) != nullptr;
  }
  bool binary(binary_t&) override { return Fail("binary data"); }

  bool start_object(std::size_t) override { return Open(Json::object()); }
  bool start_array(std::size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (open_.back()->contains(name)) {
      return Fail(absl::StrCat("the key \"", absl::CHexEscape(name),
                               "\" occurs twice in one object"));
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    return Fail(absl::StrCat("not valid JSON at byte ", position, ": ",
                             absl::CHexEscape(error.what())));
  }

 private:
  bool Fail(absl::string_view reason) {
    status_ = absl::InvalidArgumentError(reason);
    return false;
  }

  // The place of the value in the document; nullptr: failed.
  Json* Add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }

  bool Open(Json value) {
    if (static_cast<int>(open_.size()) == max_depth_) {
      return Fail(absl::StrCat("nested deeper than ", max_depth_, " levels"));
    }
    // Stays valid: a parent gets no further element while this one is open.
    open_.push_back(Add(std::move(value)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const int max_depth_;
  absl::Status status_;
  Json root_;
  std::vector<Json*> open_;
  std::string key_;
};

}  // namespace

absl::StatusOr<Json> ParseStrictJson(absl::string_view text, int max_depth) {
  try {
    StrictBuilder builder(max_depth);
    if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
      return std::move(builder).TakeStatus();
    }
    Json root = std::move(builder).TakeRoot();
    if (!root.is_object()) {
      return absl::InvalidArgumentError("must be a JSON object");
    }
    return root;
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("not valid JSON: ", absl::CHexEscape(error.what())));
  }
}

}  // namespace caravan::partition
