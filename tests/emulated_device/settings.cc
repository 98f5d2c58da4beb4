#include "tests/emulated_device/settings.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

namespace caravan::emulated {
namespace {

[[noreturn]] void Refuse(const char* name, const char* value) {
  std::fprintf(stderr, "emulated device: %s=%s is not a value it can have\n",
               name, value);
  std::exit(2);
}

uint64_t Number(const char* name, uint64_t fallback, uint64_t max) {
  const char* text = std::getenv(name);
  if (text == nullptr) return fallback;
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 10);
  if (end == text || *end != '\0' || value > max) Refuse(name, text);
  return value;
}

StreamPolicy Policy() {
  static constexpr const char* kNames[] = {"lazy", "eager", "random",
                                           "background"};
  constexpr const char* kVariable = "CARAVAN_EMULATED_STREAMS";
  const char* text = std::getenv(kVariable);
  if (text == nullptr) return StreamPolicy::kLazy;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (std::strcmp(text, kNames[i]) == 0) return static_cast<StreamPolicy>(i);
  }
  Refuse(kVariable, text);
}

Settings Read() {
  Settings settings;
  settings.num_devices =
      static_cast<int>(Number("CARAVAN_EMULATED_DEVICES", 4, kMaxDevices));
  settings.memory_bytes = Number("CARAVAN_EMULATED_MEMORY",
                                 settings.memory_bytes, uint64_t{1} << 36);
  settings.protect_memory = Number("CARAVAN_EMULATED_PROTECT", 0, 1) == 1;
  settings.schedule_seed = Number("CARAVAN_EMULATED_SEED", 0, UINT64_MAX);
  settings.stream_policy = Policy();
  return settings;
}

}  // namespace

const Settings& GetSettings() {
  static const Settings settings = Read();
  return settings;
}

}  // namespace caravan::emulated
