// A whole server in this process: model, scheduler, cluster, HTTP; with the
// agent of this machine as a child when it needs no other nodes.
#ifndef CARAVAN_CLI_LOCAL_SERVER_H_
#define CARAVAN_CLI_LOCAL_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/serve_options.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/schedule/scheduler.h"
#include "partition/model/model_spec.h"

namespace caravan::cli {

// Serves from StartLocalServer until Shutdown or its end; answers 503 until it
// is ready. Thread-safe.
class LocalServer final {
 public:
  ~LocalServer();  // Shutdown without draining
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  std::string url() const;  // "http://127.0.0.1:8000"
  std::string model_name() const;
  const partition::ModelSpec& spec() const;
  // Where agents of other machines dial, and with which secret.
  std::string agent_address() const;
  std::string token_file() const;

  // Blocks until the engines are ready. kDeadlineExceeded; or why they will
  // never be.
  absl::Status WaitUntilReady(absl::Time deadline);

  coordinator::ClusterView View();

  // Refuses new requests, waits up to `drain` for those under way, then ends
  // engines and agents. Blocks for `drain` plus a few seconds at most.
  void Shutdown(absl::Duration drain);

 private:
  friend absl::StatusOr<std::unique_ptr<LocalServer>> StartLocalServer(
      ServeOptions options);
  class Impl;
  explicit LocalServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// kInvalidArgument, kFailedPrecondition: options that make no sense; else why
// model, tokenizer or address cannot be used.
absl::StatusOr<std::unique_ptr<LocalServer>> StartLocalServer(
    ServeOptions options);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_LOCAL_SERVER_H_
