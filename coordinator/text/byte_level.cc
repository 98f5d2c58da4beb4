#include "coordinator/text/byte_level.h"

#include <array>
#include <cstdint>

#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

// Bytes that print stand for themselves (as Latin-1); the other 68 are counted
// up from U+0100.
constexpr int kAlphabetEnd = 0x144;

bool StandsForItself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

// -1: not in the alphabet.
std::array<int, kAlphabetEnd> MakeByteOfCharacter() {
  std::array<int, kAlphabetEnd> byte_of;
  byte_of.fill(-1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    byte_of[StandsForItself(byte) ? byte : next++] = byte;
  }
  return byte_of;
}

}  // namespace

std::optional<std::string> BytesOfByteLevel(absl::string_view spelling) {
  static const std::array<int, kAlphabetEnd> byte_of = MakeByteOfCharacter();
  std::string bytes;
  while (!spelling.empty()) {
    const Utf8Sequence front = FrontUtf8(spelling);
    if (front.kind != Utf8Sequence::Kind::kCharacter ||
        front.code_point >= kAlphabetEnd || byte_of[front.code_point] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(byte_of[front.code_point]));
    spelling.remove_prefix(front.length);
  }
  return bytes;
}

}  // namespace caravan::coordinator
