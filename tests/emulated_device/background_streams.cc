// For engines on the emulated device: their streams run in the background, as a
// GPU's do, unless somebody says otherwise. An engine does not wait for what it
// sends.
#include <cstdlib>

namespace caravan::emulated {
namespace {

[[maybe_unused]] const int chosen =
    setenv("CARAVAN_EMULATED_STREAMS", "background", /*overwrite=*/0);

}  // namespace
}  // namespace caravan::emulated
