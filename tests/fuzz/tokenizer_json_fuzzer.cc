// A tokenizer.json from nowhere: it is refused, or makes a tokenizer.
#include <cstddef>
#include <cstdint>
#include <utility>

#include "coordinator/text/tokenizer_json.h"
#include "tests/fuzz/check_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace coordinator = caravan::coordinator;
  auto parts = coordinator::ReadTokenizerJson(
      absl::string_view(reinterpret_cast<const char*>(data), size));
  if (parts.ok()) coordinator::CheckTokenizer(*std::move(parts));
  return 0;
}
