// Every bound on what a client may send, in one place.
#ifndef CARAVAN_COORDINATOR_API_LIMITS_H_
#define CARAVAN_COORDINATOR_API_LIMITS_H_

#include <cstdint>

#include "absl/time/time.h"

namespace caravan::coordinator {

// Each is checked before anything is allocated that grows with what it bounds.
struct ApiLimits {
  // HTTP.
  int max_connections = 1024;
  int64_t max_header_bytes = 16 * 1024;
  int max_header_fields = 100;
  int64_t max_target_bytes = 8 * 1024;
  int64_t max_body_bytes = 4 * 1024 * 1024;
  // Of the bodies of all requests that are being read or worked on.
  int64_t max_all_bodies_bytes = 256 * 1024 * 1024;
  absl::Duration header_deadline = absl::Seconds(10);
  absl::Duration body_deadline = absl::Seconds(30);
  absl::Duration idle_deadline = absl::Seconds(60);
  // A client that takes nothing for this long loses its request.
  absl::Duration write_deadline = absl::Seconds(30);
  // A stream that has nothing to tell says so that often.
  absl::Duration longest_silence = absl::Seconds(15);
  // Of tokens that wait for a client to take them, per request.
  int64_t max_pending_bytes = 1024 * 1024;

  // JSON.
  int max_json_depth = 64;
  int64_t max_json_values = 1024 * 1024;
  int64_t max_json_keys = 64 * 1024;  // of all objects of a body together

  // Fields.
  int max_choices = 8;   // n
  int max_prompts = 16;  // of one completion request
  int max_messages = 4096;
  int max_stop_strings = 16;
  int64_t max_stop_bytes = 1024;  // of one stop string
  int max_stop_tokens = 64;
  int max_logprobs = 20;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_LIMITS_H_
