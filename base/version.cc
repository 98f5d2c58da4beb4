#include "base/version.h"

namespace caravan {

absl::string_view Version() { return CARAVAN_VERSION; }

absl::string_view BuildId() { return CARAVAN_VERSION "+" CARAVAN_COMMIT; }

}  // namespace caravan
