#include "coordinator/text/sentencepiece_file.h"

#include <bit>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::coordinator {
namespace {

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("not a SentencePiece model: ", what));
}

// One field of a protocol buffer message.
struct Field {
  uint32_t number = 0;
  uint64_t value = 0;         // of a varint or a fixed number
  absl::string_view payload;  // of a string, bytes or message
};

// Goes through a serialized message, field by field
// (https://protobuf.dev/programming-guides/encoding).
class MessageReader {
 public:
  explicit MessageReader(absl::string_view bytes) : rest_(bytes) {}

  bool done() const { return rest_.empty(); }

  absl::StatusOr<Field> Next() {
    CARAVAN_ASSIGN_OR_RETURN(const uint64_t tag, Varint());
    Field field{.number = static_cast<uint32_t>(tag >> 3)};
    switch (tag & 7) {
      case 0: {
        CARAVAN_ASSIGN_OR_RETURN(field.value, Varint());
        return field;
      }
      case 1: {
        CARAVAN_ASSIGN_OR_RETURN(field.value, Fixed(8));
        return field;
      }
      case 2: {
        CARAVAN_ASSIGN_OR_RETURN(const uint64_t size, Varint());
        if (size > rest_.size()) return Malformed("a field is cut short");
        field.payload = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return field;
      }
      case 5: {
        CARAVAN_ASSIGN_OR_RETURN(field.value, Fixed(4));
        return field;
      }
    }
    return Malformed("a field of no known kind");
  }

 private:
  absl::StatusOr<uint64_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const uint8_t byte = static_cast<uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    return Malformed("a number is cut short or too long");
  }

  absl::StatusOr<uint64_t> Fixed(size_t bytes) {
    if (rest_.size() < bytes) return Malformed("a number is cut short");
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      value |= uint64_t{static_cast<uint8_t>(rest_[i])} << (8 * i);
    }
    rest_.remove_prefix(bytes);
    return value;
  }

  absl::string_view rest_;
};

// With sentencepiece_model.proto's defaults.
struct Specs {
  uint64_t model_type = 1;  // unigram
  bool byte_fallback = false;
  bool space_is_suffix = false;
  int64_t bos_id = 1;
  int64_t eos_id = 2;
  std::string normalizer_name;
  bool has_character_map = false;
  bool adds_dummy_prefix = true;
  bool removes_extra_spaces = true;
  bool escapes_spaces = true;
};

absl::StatusOr<SentencePiece> ReadPiece(absl::string_view bytes) {
  SentencePiece piece;
  for (MessageReader reader(bytes); !reader.done();) {
    CARAVAN_ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 1) piece.text = std::string(field.payload);
    if (field.number == 2) {
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    }
    if (field.number == 3) {
      if (field.value < 1 || field.value > 6) {
        return Malformed(absl::StrCat("a piece of type ", field.value));
      }
      piece.type = static_cast<PieceType>(field.value);
    }
  }
  return piece;
}

absl::Status ReadTrainerSpec(absl::string_view bytes, Specs* specs) {
  for (MessageReader reader(bytes); !reader.done();) {
    CARAVAN_ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 3) specs->model_type = field.value;
    if (field.number == 24) specs->space_is_suffix = field.value != 0;
    if (field.number == 35) specs->byte_fallback = field.value != 0;
    if (field.number == 41) specs->bos_id = static_cast<int64_t>(field.value);
    if (field.number == 42) specs->eos_id = static_cast<int64_t>(field.value);
  }
  return absl::OkStatus();
}

absl::Status ReadNormalizerSpec(absl::string_view bytes, Specs* specs) {
  for (MessageReader reader(bytes); !reader.done();) {
    CARAVAN_ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 1) specs->normalizer_name = std::string(field.payload);
    if (field.number == 2) specs->has_character_map = !field.payload.empty();
    if (field.number == 3) specs->adds_dummy_prefix = field.value != 0;
    if (field.number == 4) specs->removes_extra_spaces = field.value != 0;
    if (field.number == 5) specs->escapes_spaces = field.value != 0;
  }
  return absl::OkStatus();
}

absl::Status CheckSpecs(const Specs& specs) {
  const auto unread = [](absl::string_view what) {
    return absl::UnimplementedError(
        absl::StrCat("a SentencePiece model with ", what, " is not supported"));
  };
  if (specs.model_type != 2) {
    return unread(
        absl::StrCat("model_type ", specs.model_type, " (2, BPE, is)"));
  }
  if (specs.has_character_map) {
    return unread(absl::StrCat("the normalizer \"",
                               absl::CHexEscape(specs.normalizer_name), "\""));
  }
  if (specs.removes_extra_spaces) return unread("remove_extra_whitespaces");
  if (!specs.escapes_spaces) return unread("escape_whitespaces off");
  if (specs.space_is_suffix) return unread("treat_whitespace_as_suffix");
  return absl::OkStatus();
}

// -1 where the file says so or says nonsense.
int TokenId(int64_t id, const SentencePieceVocabulary& vocabulary) {
  const int64_t end = static_cast<int64_t>(vocabulary.pieces.size());
  return id >= 0 && id < end ? static_cast<int>(id) : -1;
}

}  // namespace

absl::StatusOr<SentencePieceFile> ReadSentencePieceFile(
    absl::string_view bytes) {
  SentencePieceFile file;
  Specs specs;
  for (MessageReader reader(bytes); !reader.done();) {
    CARAVAN_ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 1) {
      CARAVAN_ASSIGN_OR_RETURN(SentencePiece piece, ReadPiece(field.payload));
      if (piece.type == PieceType::kUnused) {
        return absl::UnimplementedError(
            "a SentencePiece model with unused pieces is not supported");
      }
      file.vocabulary.pieces.push_back(std::move(piece));
      if (file.vocabulary.pieces.size() > kMaxVocabulary) {
        return Malformed("too many pieces");
      }
    } else if (field.number == 2) {
      CARAVAN_RETURN_IF_ERROR(ReadTrainerSpec(field.payload, &specs));
    } else if (field.number == 3) {
      CARAVAN_RETURN_IF_ERROR(ReadNormalizerSpec(field.payload, &specs));
    }
  }
  if (file.vocabulary.pieces.empty()) return Malformed("it has no pieces");
  CARAVAN_RETURN_IF_ERROR(CheckSpecs(specs));
  file.vocabulary.byte_fallback = specs.byte_fallback;
  file.vocabulary.dummy_prefix =
      specs.adds_dummy_prefix ? DummyPrefix::kAlways : DummyPrefix::kNever;
  file.bos_token = TokenId(specs.bos_id, file.vocabulary);
  file.eos_token = TokenId(specs.eos_id, file.vocabulary);
  return file;
}

}  // namespace caravan::coordinator
