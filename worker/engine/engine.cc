#include "worker/engine/engine.h"

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/progress_page.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "caravan/v1/engine.pb.h"
#include "worker/engine/control_client.h"
#include "worker/engine/executor_factory.h"
#include "worker/engine/step_loop.h"

namespace caravan::worker {
namespace {

constexpr absl::Duration kPlanDeadline = absl::Seconds(30);
constexpr absl::Duration kFlushTimeout = absl::Seconds(1);

class Engine final : private StepHost {
 public:
  Engine(const EngineEnvironment& environment, Platform& platform)
      : environment_(environment),
        platform_(platform),
        client_(environment.coordinator) {}

  absl::Status Run() {
    const absl::Status status = Live();
    if (absl::IsCancelled(status)) return absl::OkStatus();  // told to stop
    ReportFailure(status);
    return status;
  }

 private:
  absl::Status Live() {
    CARAVAN_RETURN_IF_ERROR(OpenProgress());
    CARAVAN_RETURN_IF_ERROR(SayHello());
    CARAVAN_ASSIGN_OR_RETURN(v1::EngineCommand first,
                             Next(absl::Now() + kPlanDeadline));
    if (!first.has_plan()) {
      return absl::InternalError("the coordinator sent no plan first");
    }
    const v1::EnginePlan& plan = first.plan();
    const ExecutorFactory factory{
        .plan = &plan,
        .rank = environment_.rank,
        .platform = &platform_,
        .device = environment_.device,
        .under_mpi = environment_.under_mpi,
        .progress = progress_.get(),
        .on_load_progress = [this](int64_t loaded, int64_t total) {
          ReportLoading(loaded, total);
        }};
    CARAVAN_ASSIGN_OR_RETURN(RunningExecutor running, factory.Create());
    v1::EngineReport ready = NewReport();
    *ready.mutable_ready() = running.ready;
    client_.Send(std::move(ready));

    const int last_stage_rank = (plan.pp() - 1) * plan.tp();
    reports_results_ = environment_.rank == last_stage_rank;
    StepLoop loop(*running.executor, *this);
    const absl::Status status = loop.Run();
    LogInfo(absl::StrCat("steps=", loop.num_begun(),
                         " begun while one ran=", loop.num_ahead()));
    return status;
  }

  absl::StatusOr<v1::Step> NextStep(absl::Time deadline) override {
    CARAVAN_ASSIGN_OR_RETURN(v1::EngineCommand command, Next(deadline));
    if (!command.has_step()) {
      return absl::InternalError("the coordinator sent a second plan");
    }
    return std::move(*command.mutable_step());
  }

  void OnIdle() override { SetPhase(EnginePhase::kIdle); }

  void OnStep(uint64_t number) override {
    step_ = number;
    if (progress_ != nullptr) progress_->SetStep(step_);
    SetPhase(EnginePhase::kCompute);
  }

  void OnResult(v1::StepResult result) override {
    if (!reports_results_) return;
    v1::EngineReport report = NewReport();
    *report.mutable_step_result() = std::move(result);
    client_.Send(std::move(report));
  }

  // The next command of this epoch; kCancelled when it is to stop.
  absl::StatusOr<v1::EngineCommand> Next(absl::Time deadline) {
    while (true) {
      CARAVAN_ASSIGN_OR_RETURN(v1::EngineCommand command,
                               client_.Next(deadline));
      if (command.replica() != environment_.replica ||
          command.epoch() != environment_.epoch) {
        continue;  // stale
      }
      if (command.has_stop()) {
        LogInfo(absl::StrCat("stops: ", command.stop().reason()));
        return absl::CancelledError(command.stop().reason());
      }
      return command;
    }
  }

  absl::Status OpenProgress() {
    if (environment_.progress_folder.empty()) return absl::OkStatus();
    CARAVAN_ASSIGN_OR_RETURN(
        progress_, ProgressWriter::Create(
                       environment_.progress_folder, environment_.replica,
                       environment_.epoch, environment_.rank));
    return absl::OkStatus();
  }

  absl::Status SayHello() {
    v1::EngineReport report = NewReport();
    v1::EngineHello* hello = report.mutable_hello();
    hello->set_token(environment_.token);
    hello->set_build_id(std::string(BuildId()));
    hello->set_node(environment_.node);
    hello->set_pid(getpid());
    CARAVAN_ASSIGN_OR_RETURN(std::string endpoint,
                             platform_.OpenEndpoint(environment_.data_address));
    hello->set_endpoint(std::move(endpoint));
    client_.Send(std::move(report));
    return absl::OkStatus();
  }

  // At most ten reports a second.
  void ReportLoading(int64_t loaded, int64_t total) {
    const absl::Time now = absl::Now();
    if (progress_ != nullptr) progress_->Tick();
    if (loaded < total && now < next_load_report_) return;
    next_load_report_ = now + absl::Milliseconds(100);
    v1::EngineReport report = NewReport();
    report.mutable_load_progress()->set_loaded_bytes(loaded);
    report.mutable_load_progress()->set_total_bytes(total);
    client_.Send(std::move(report));
  }

  void ReportFailure(const absl::Status& status) {
    // Who had the cause, or the coordinator, tells why a group was torn down.
    Log(absl::IsAborted(status) ? LogLevel::kInfo : LogLevel::kError,
        absl::StrCat("ends: ", status.ToString()));
    v1::EngineReport report = NewReport();
    v1::EngineFailure* failure = report.mutable_failure();
    failure->set_code(static_cast<int>(status.code()));
    failure->set_message(std::string(status.message()));
    failure->set_step(step_);
    failure->set_phase(std::string(Name(phase_)));
    client_.Send(std::move(report));
    client_.Flush(kFlushTimeout);
  }

  v1::EngineReport NewReport() const {
    v1::EngineReport report;
    report.set_replica(environment_.replica);
    report.set_epoch(environment_.epoch);
    report.set_rank(environment_.rank);
    return report;
  }

  void SetPhase(EnginePhase phase) {
    phase_ = phase;
    if (progress_ != nullptr) progress_->SetPhase(phase);
  }

  const EngineEnvironment& environment_;
  Platform& platform_;
  ControlClient client_;
  std::unique_ptr<ProgressWriter> progress_;
  absl::Time next_load_report_ = absl::InfinitePast();
  bool reports_results_ = false;
  uint64_t step_ = 0;
  EnginePhase phase_ = EnginePhase::kStarting;
};

}  // namespace

absl::Status RunEngine(const EngineEnvironment& environment,
                       Platform& platform) {
  return Engine(environment, platform).Run();
}

}  // namespace caravan::worker
