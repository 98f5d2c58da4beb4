// What the server does with a request, apart from HTTP's bytes.
#ifndef CARAVAN_COORDINATOR_API_API_SERVICE_H_
#define CARAVAN_COORDINATOR_API_API_SERVICE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/api/authorization.h"
#include "coordinator/api/byte_budget.h"
#include "coordinator/api/errors.h"
#include "coordinator/api/generation_session.h"
#include "coordinator/api/http_message.h"
#include "coordinator/api/limits.h"
#include "coordinator/api/prepared_generation.h"
#include "coordinator/api/response_writer.h"
#include "coordinator/api/router.h"
#include "coordinator/api/served_model.h"
#include "coordinator/schedule/scheduler.h"

namespace caravan::coordinator {

// Thread-safe; shared by all connections.
class ApiService final {
 public:
  struct Options {
    ServedModel model;
    std::vector<std::string> api_keys;
    Scheduler* scheduler = nullptr;  // outlives this
    // The answer to GET /status, a JSON object.
    std::function<std::string()> status;
    ApiLimits limits;
    Clock* clock = &RealClock();
  };
  explicit ApiService(Options options);

  const ApiLimits& limits() const { return limits_; }
  const Clock& clock() const { return clock_; }
  // Of the bodies of all requests under way.
  ByteBudget* body_budget() const { return &body_budget_; }

  // After this no generation is started any more: kUnavailable.
  void StartDraining() { is_draining_ = true; }
  bool is_draining() const { return is_draining_; }

  // The endpoint, when the body should be read; else the answer that the head
  // alone deserves (401, 404, 405, 411, 413, 414, 415, 431; OPTIONS).
  struct HeadVerdict {
    const Route* route = nullptr;  // null: see response
    HttpResponse response;
  };
  HeadVerdict CheckHead(const RequestHead& head) const;

  // All endpoints but the generating ones. May take long for long bodies.
  HttpResponse Answer(const RequestHead& head, const Route& route,
                      const std::string& body) const;

  // Reads, checks and encodes the body of a generating endpoint. May take long
  // for long bodies.
  absl::StatusOr<PreparedGeneration> Prepare(const Route& route,
                                             const std::string& body) const;

  absl::StatusOr<std::unique_ptr<GenerationSession>> StartGeneration(
      PreparedGeneration generation, const std::string& request_id,
      std::function<void()> wake) const;

  // `session` outlives the writer.
  std::unique_ptr<ResponseWriter> MakeWriter(
      const GenerationSession& session, const std::string& request_id) const;

  // What the client is told; logs what it is not.
  ApiError Report(const absl::Status& status,
                  const std::string& request_id) const;

 private:
  HttpResponse Models() const;
  HttpResponse Model(absl::string_view name) const;
  HttpResponse Health() const;
  absl::StatusOr<std::string> AnswerText(Endpoint endpoint,
                                         const std::string& body) const;

  const ServedModel model_;
  const Authorization authorization_;
  Scheduler* const scheduler_;
  const std::function<std::string()> status_;
  const ApiLimits limits_;
  Clock& clock_;
  const int64_t created_;
  std::atomic<bool> is_draining_{false};
  mutable ByteBudget body_budget_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_API_SERVICE_H_
