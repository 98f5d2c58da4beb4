#include "coordinator/cluster/relay_router.h"

namespace caravan::coordinator {

ToAgent RelayRouter::Forward(absl::string_view origin,
                             const v1::RelayRequest& request) {
  const uint64_t number = next_++;
  pending_[number] = {.origin = std::string(origin),
                      .request = request.request(),
                      .target = request.target_node()};
  ToAgent out{.node = request.target_node()};
  v1::StartDaemon* start = out.command.mutable_start_daemon();
  start->set_replica(request.replica());
  start->set_epoch(request.epoch());
  start->set_request(number);
  *start->mutable_arguments() = request.arguments();
  return out;
}

ToAgent RelayRouter::Answer(absl::string_view target,
                            const v1::DaemonStarted& started) {
  const auto it = pending_.find(started.request());
  if (it == pending_.end() || it->second.target != target) return {};
  ToAgent out{.node = it->second.origin};
  v1::RelayAnswer* answer = out.command.mutable_relay_answer();
  answer->set_request(it->second.request);
  answer->set_code(started.code());
  answer->set_message(started.message());
  pending_.erase(it);
  return out;
}

ToAgent RelayRouter::Refuse(absl::string_view origin,
                            const v1::RelayRequest& request,
                            const absl::Status& status) {
  ToAgent out{.node = std::string(origin)};
  v1::RelayAnswer* answer = out.command.mutable_relay_answer();
  answer->set_request(request.request());
  answer->set_code(static_cast<int>(status.code()));
  answer->set_message(std::string(status.message()));
  return out;
}

}  // namespace caravan::coordinator
