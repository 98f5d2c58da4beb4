#include "coordinator/text/utf8.h"

#include "absl/strings/str_cat.h"

namespace caravan::coordinator {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// What may follow a lead byte: Unicode 15, table 3-7.
struct LeadByte {
  size_t length = 0;  // 0: no lead byte
  uint8_t second_low = 0x80;
  uint8_t second_high = 0xBF;
};

LeadByte Classify(uint8_t byte) {
  if (byte < 0x80) return {.length = 1};
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {.length = 2};
  if (byte == 0xE0) return {.length = 3, .second_low = 0xA0};
  if (byte == 0xED) return {.length = 3, .second_high = 0x9F};
  if (byte < 0xF0) return {.length = 3};
  if (byte == 0xF0) return {.length = 4, .second_low = 0x90};
  if (byte < 0xF4) return {.length = 4};
  if (byte == 0xF4) return {.length = 4, .second_high = 0x8F};
  return {};
}

}  // namespace

Utf8Sequence FrontUtf8(absl::string_view text) {
  using Kind = Utf8Sequence::Kind;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const LeadByte lead = Classify(byte(0));
  if (lead.length == 0) return {.kind = Kind::kInvalid, .length = 1};
  if (lead.length == 1) {
    return {.kind = Kind::kCharacter, .length = 1, .code_point = byte(0)};
  }
  uint32_t code_point = byte(0) & (0x7Fu >> lead.length);
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {.kind = Kind::kIncomplete, .length = i};
    const uint8_t low = i == 1 ? lead.second_low : 0x80;
    const uint8_t high = i == 1 ? lead.second_high : 0xBF;
    if (byte(i) < low || byte(i) > high) {
      return {.kind = Kind::kInvalid, .length = i};
    }
    code_point = code_point << 6 | (byte(i) & 0x3Fu);
  }
  return {.kind = Kind::kCharacter,
          .length = lead.length,
          .code_point = code_point};
}

absl::Status CheckUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Utf8Sequence front = FrontUtf8(text.substr(i));
    if (front.kind != Utf8Sequence::Kind::kCharacter) {
      return absl::InvalidArgumentError(
          absl::StrCat("text is not UTF-8 at byte ", i));
    }
    i += front.length;
  }
  return absl::OkStatus();
}

bool IsWhiteSpace(uint32_t code_point) {
  return (code_point >= 0x09 && code_point <= 0x0D) || code_point == 0x20 ||
         code_point == 0x85 || code_point == 0xA0 || code_point == 0x1680 ||
         (code_point >= 0x2000 && code_point <= 0x200A) ||
         code_point == 0x2028 || code_point == 0x2029 || code_point == 0x202F ||
         code_point == 0x205F || code_point == 0x3000;
}

std::string TakeUtf8(std::string* pending) {
  std::string taken;
  absl::string_view rest = *pending;
  while (!rest.empty()) {
    const Utf8Sequence front = FrontUtf8(rest);
    if (front.kind == Utf8Sequence::Kind::kIncomplete) break;
    const bool valid = front.kind == Utf8Sequence::Kind::kCharacter;
    absl::StrAppend(&taken,
                    valid ? rest.substr(0, front.length) : kReplacement);
    rest.remove_prefix(front.length);
  }
  pending->erase(0, pending->size() - rest.size());
  return taken;
}

std::string ReplaceInvalidUtf8(absl::string_view bytes) {
  std::string pending(bytes);
  std::string text = TakeUtf8(&pending);
  if (!pending.empty()) absl::StrAppend(&text, kReplacement);
  return text;
}

}  // namespace caravan::coordinator
