// cp.async: the copy itself happens as late as it may, when it is waited for,
// and until then its destination is poison.
#include <string>

#include "tests/emulated_device/engine/grid_state.h"
#include "tests/emulated_device/engine/sanitizer.h"

namespace caravan::emulated {
namespace {

// Not memset: a sanitizer is told of this access, and not twice.
void Fill(void* target, unsigned char value, size_t bytes) {
  NoteWrite(target, bytes);
  auto* out = static_cast<volatile unsigned char*>(target);
  for (size_t i = 0; i < bytes; ++i) out[i] = value;
}

void Perform(const PendingCopy& copy) {
  if (!copy.valid) {
    Fill(copy.shared, 0, copy.bytes);
    return;
  }
  NoteWrite(copy.shared, copy.bytes);
  NoteRead(copy.global, copy.bytes);
  const auto* from = static_cast<const volatile unsigned char*>(copy.global);
  auto* to = static_cast<volatile unsigned char*>(copy.shared);
  for (size_t i = 0; i < copy.bytes; ++i) to[i] = from[i];
}

}  // namespace

void CopyAsync(void* shared, const void* global, size_t bytes, bool valid,
               Site site) {
  CheckAlignment(shared, bytes, "cp.async's shared address is", site);
  if (valid)
    CheckAlignment(global, bytes, "cp.async's global address is", site);
  Fill(shared, 0xff, bytes);
  EngineScope scope;
  Self()->copies.back().push_back({shared, global, bytes, valid});
}

void Prefetch(const void* address) { NoteRead(address, 1); }

void CommitCopies() {
  EngineScope scope;
  Self()->copies.emplace_back();
}

void WaitForCopies(int groups) {
  std::vector<std::vector<PendingCopy>>& copies = Self()->copies;
  const int committed = static_cast<int>(copies.size()) - 1;
  const int arriving = committed - groups;
  if (arriving <= 0) return;
  for (int i = 0; i < arriving; ++i) {
    for (const PendingCopy& copy : copies[static_cast<size_t>(i)]) {
      Perform(copy);
    }
  }
  EngineScope scope;
  copies.erase(copies.begin(), copies.begin() + arriving);
}

}  // namespace caravan::emulated
