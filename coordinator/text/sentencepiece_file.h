// Reads SentencePiece's model files, `tokenizer.model`.
#ifndef CARAVAN_COORDINATOR_TEXT_SENTENCEPIECE_FILE_H_
#define CARAVAN_COORDINATOR_TEXT_SENTENCEPIECE_FILE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/sentencepiece_model.h"

namespace caravan::coordinator {

struct SentencePieceFile {
  SentencePieceVocabulary vocabulary;
  int bos_token = -1;  // -1: none
  int eos_token = -1;
};

// `bytes` is a serialized sentencepiece.ModelProto (sentencepiece_model.proto
// of github.com/google/sentencepiece). kInvalidArgument: not one;
// kUnimplemented: another model than BPE, or a normalizer that changes more
// than spaces, by name.
absl::StatusOr<SentencePieceFile> ReadSentencePieceFile(
    absl::string_view bytes);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_SENTENCEPIECE_FILE_H_
