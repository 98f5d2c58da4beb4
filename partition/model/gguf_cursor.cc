#include "partition/model/gguf_cursor.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace caravan::partition {
namespace {

constexpr int64_t kBufferBytes = 1 << 18;

}  // namespace

absl::Status GgufCursor::CheckLength(int64_t bytes) const {
  if (bytes > remaining()) {
    return absl::DataLossError(absl::StrCat("the file ends early: ", bytes,
                                            " bytes wanted at byte ", position_,
                                            " of ", file_.size()));
  }
  if (bytes > max_bytes_ - position_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the header is over ", max_bytes_, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status GgufCursor::ReadBytes(absl::Span<std::byte> out) {
  CARAVAN_RETURN_IF_ERROR(CheckLength(static_cast<int64_t>(out.size())));
  while (!out.empty()) {
    const int64_t buffer_end =
        buffer_begin_ + static_cast<int64_t>(buffer_.size());
    if (position_ == buffer_end) {
      buffer_.resize(static_cast<size_t>(std::min(kBufferBytes, remaining())));
      buffer_begin_ = position_;
      CARAVAN_RETURN_IF_ERROR(file_.Read(position_, absl::MakeSpan(buffer_)));
      continue;
    }
    const size_t count =
        std::min(out.size(), static_cast<size_t>(buffer_end - position_));
    std::memcpy(out.data(), buffer_.data() + (position_ - buffer_begin_),
                count);
    out.remove_prefix(count);
    position_ += static_cast<int64_t>(count);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> GgufCursor::String(int64_t max_bytes) {
  CARAVAN_ASSIGN_OR_RETURN(const int64_t length, Count(1));
  if (length > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a string of ", length, " bytes, at most ", max_bytes, " allowed"));
  }
  CARAVAN_RETURN_IF_ERROR(CheckLength(length));
  std::string text(static_cast<size_t>(length), '\0');
  CARAVAN_RETURN_IF_ERROR(
      ReadBytes({reinterpret_cast<std::byte*>(text.data()), text.size()}));
  return text;
}

absl::StatusOr<int64_t> GgufCursor::Count(int64_t element_bytes) {
  CARAVAN_ASSIGN_OR_RETURN(const uint64_t count, Number<uint64_t>());
  if (count > static_cast<uint64_t>(remaining() / element_bytes)) {
    return absl::DataLossError(absl::StrCat(
        "a count of ", count, " at byte ", position_ - 8, " is more than the ",
        remaining(), " bytes left can hold"));
  }
  return static_cast<int64_t>(count);
}

}  // namespace caravan::partition
