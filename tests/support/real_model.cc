#include "tests/support/real_model.h"

#include <cstdlib>
#include <filesystem>

namespace caravan::testing {

std::string RealModelFile() {
  constexpr char kInCache[] = "/caravan/SmolLM2-135M-Instruct.Q4_1.gguf";
  std::string path;
  if (const char* named = std::getenv("CARAVAN_TEST_GGUF")) {
    path = named;
  } else if (const char* cache = std::getenv("XDG_CACHE_HOME")) {
    path = std::string(cache) + kInCache;
  } else if (const char* home = std::getenv("HOME")) {
    path = std::string(home) + "/.cache" + kInCache;
  }
  return std::filesystem::exists(path) ? path : "";
}

}  // namespace caravan::testing
