// What engines on the emulated device want unless somebody says otherwise.
#include <cstdlib>

namespace caravan::emulated {
namespace {

[[maybe_unused]] const bool kChosen = [] {
  // Streams run in the background, as a GPU's do: an engine does not wait for
  // what it sends.
  setenv("CARAVAN_EMULATED_STREAMS", "background", /*overwrite=*/0);
  // As a card that a plan fits on, with what CUDA itself would take; what is
  // not used takes no memory.
  setenv("CARAVAN_EMULATED_MEMORY", "8589934592", /*overwrite=*/0);
  return true;
}();

}  // namespace
}  // namespace caravan::emulated
