// For how long a client has been sent nothing.
#ifndef CARAVAN_COORDINATOR_API_SILENCE_H_
#define CARAVAN_COORDINATOR_API_SILENCE_H_

#include "absl/time/time.h"
#include "base/clock.h"

namespace caravan::coordinator {

// Begins when it is made. One thread.
class Silence final {
 public:
  // It may last for `longest`. `clock` outlives it.
  Silence(const Clock* clock, absl::Duration longest);

  // Something is sent: it begins anew.
  void Break();

  // How long it may last still: nothing to `longest`, however the clock is set.
  absl::Duration left() const;

 private:
  const Clock& clock_;
  const absl::Duration longest_;
  absl::Time began_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_SILENCE_H_
