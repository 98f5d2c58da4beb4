// A tokenizer.model from nowhere: it is refused, or makes a tokenizer.
#include <cstddef>
#include <cstdint>
#include <utility>

#include "coordinator/text/sentencepiece_file.h"
#include "coordinator/text/sentencepiece_model.h"
#include "tests/fuzz/check_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace coordinator = caravan::coordinator;
  auto file = coordinator::ReadSentencePieceFile(
      absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!file.ok()) return 0;
  auto parts = coordinator::SentencePieceParts(file->vocabulary);
  if (!parts.ok()) return 0;
  parts->bos_token = file->bos_token;
  parts->eos_token = file->eos_token;
  coordinator::CheckTokenizer(*std::move(parts));
  return 0;
}
