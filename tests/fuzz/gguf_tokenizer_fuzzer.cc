// The header of a GGUF file from nowhere: its vocabulary is refused, or makes a
// tokenizer.
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "coordinator/text/gguf_tokenizer.h"
#include "partition/model/file.h"
#include "partition/model/gguf_file.h"
#include "tests/fuzz/check_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace coordinator = caravan::coordinator;
  namespace partition = caravan::partition;
  const auto file = partition::GgufFile::Parse(partition::MemoryFile(
      "fuzz.gguf", std::string(reinterpret_cast<const char*>(data), size)));
  if (!file.ok()) return 0;
  auto parts = coordinator::ReadGgufTokenizer(**file);
  if (parts.ok()) coordinator::CheckTokenizer(*std::move(parts));
  return 0;
}
