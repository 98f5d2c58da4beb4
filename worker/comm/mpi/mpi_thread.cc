#include "worker/comm/mpi/mpi_thread.h"

#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/comm/mpi/mpi_requests.h"

namespace caravan::worker {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

constexpr auto kSpin = microseconds(50);

// A longer timeout is as good as none, and a sum with it must not overflow.
nanoseconds Bounded(absl::Duration timeout) {
  return absl::ToChronoNanoseconds(std::min(timeout, absl::Hours(24)));
}

// How long to sleep before the next look, after `waited` without an event. A
// fraction of it, so that a wait gets longer by that fraction at most, and
// rarely more than a decode step bears; a rank that waits long, in a prefill
// say, must leave the core to those that work.
nanoseconds SliceAfter(nanoseconds waited) {
  const nanoseconds usual =
      std::min<nanoseconds>(waited / 4, microseconds(200));
  const nanoseconds long_wait =
      std::min<nanoseconds>(waited / 100, microseconds(1000));
  return std::max({usual, long_wait, nanoseconds(microseconds(10))});
}

}  // namespace

class MpiThread::Core final {
 public:
  enum class Phase { kStarting, kRunning, kEnded };

  // The thread's life.
  void Run() {
    pthread_setname_np(pthread_self(), "mpi");
    prctl(PR_SET_TIMERSLACK,
          1000UL);  // nanoseconds; else slices are 50 us more
    const absl::Status started = Initialize();
    Enter(started.ok() ? Phase::kRunning : Phase::kEnded, started);
    if (started.ok()) Enter(Phase::kEnded, Serve());
  }

  // Blocks until the phase is another than `phase`; the status that came with
  // the change.
  absl::Status AwaitPhaseAfter(Phase phase, absl::Duration timeout,
                               const char* what) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!phase_changed_.wait_for(lock, Bounded(timeout),
                                 [&] { return phase_ != phase; })) {
      return absl::DeadlineExceededError(absl::StrCat(
          what, " did not end: after=", absl::FormatDuration(timeout)));
    }
    return phase_status_;
  }

  void Submit(std::vector<SharedBatch> batches) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (SharedBatch& batch : batches) inbox_.push_back(std::move(batch));
      called_.store(true);
    }
    wake_.notify_one();
  }

  void Abandon(SharedBatch batch) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      abandoned_.push_back(std::move(batch));
      called_.store(true);
    }
    wake_.notify_one();
  }

  void RequestStop(absl::Duration timeout) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_requested_ = true;
      stop_by_ = SteadyClock::now() + Bounded(timeout);
      called_.store(true);
    }
    wake_.notify_one();
  }

  int rank() const { return rank_; }
  int size() const { return size_; }
  BufferPool& pool() { return pool_; }

 private:
  absl::Status Initialize() {
    int provided = 0;
    CARAVAN_RETURN_IF_ERROR(MpiStatus(
        "MPI_Init_thread",
        MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided)));
    for (MPI_Comm group : {MPI_COMM_WORLD, MPI_COMM_SELF}) {
      CARAVAN_RETURN_IF_ERROR(
          MpiStatus("MPI_Comm_set_errhandler",
                    MPI_Comm_set_errhandler(group, MPI_ERRORS_RETURN)));
    }
    if (provided < MPI_THREAD_FUNNELED) {
      return absl::FailedPreconditionError(
          absl::StrCat("MPI does not allow threads: level=", provided,
                       " needed=", MPI_THREAD_FUNNELED));
    }
    CARAVAN_RETURN_IF_ERROR(
        MpiStatus("MPI_Comm_rank", MPI_Comm_rank(MPI_COMM_WORLD, &rank_)));
    return MpiStatus("MPI_Comm_size", MPI_Comm_size(MPI_COMM_WORLD, &size_));
  }

  // Until a stop is requested; OK when MPI was finalized.
  absl::Status Serve() {
    SteadyClock::time_point last_event = SteadyClock::now();
    while (true) {
      if (called_.load() && TakeCalls()) last_event = SteadyClock::now();
      if (stopping_ && (requests_.empty() || SteadyClock::now() >= end_by_)) {
        return Finalize();
      }
      if (requests_.empty()) {
        Sleep(std::nullopt);
        continue;
      }
      if (requests_.Poll()) {
        last_event = SteadyClock::now();
        continue;
      }
      const nanoseconds waited = SteadyClock::now() - last_event;
      if (waited < kSpin) {
        sched_yield();
      } else {
        Sleep(SliceAfter(waited));
      }
    }
  }

  // Takes over what other threads asked for.
  bool TakeCalls() {
    std::vector<SharedBatch> begun;
    std::vector<SharedBatch> abandoned;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      begun.swap(inbox_);
      abandoned.swap(abandoned_);
      stopping_ = stop_requested_;
      end_by_ = stop_by_;
      called_.store(false);
    }
    for (const SharedBatch& batch : begun) requests_.Begin(batch);
    for (const SharedBatch& batch : abandoned) requests_.Abandon(batch);
    return !begun.empty();
  }

  // Until called, or for `slice`.
  void Sleep(std::optional<nanoseconds> slice) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto called = [&] { return called_.load(); };
    if (slice.has_value()) {
      wake_.wait_for(lock, *slice, called);
    } else {
      wake_.wait(lock, called);
    }
  }

  absl::Status Finalize() {
    if (!requests_.empty()) {
      return absl::AbortedError(
          "MPI is not finalized: transfers are still under way");
    }
    return MpiStatus("MPI_Finalize", MPI_Finalize());
  }

  void Enter(Phase phase, absl::Status status) {
    // Under the lock, as whoever waits may free this after it.
    std::lock_guard<std::mutex> lock(mutex_);
    phase_ = phase;
    phase_status_ = std::move(status);
    phase_changed_.notify_all();
  }

  BufferPool pool_;
  std::mutex mutex_;
  std::condition_variable wake_;  // of the thread
  std::condition_variable phase_changed_;
  // Under mutex_.
  Phase phase_ = Phase::kStarting;
  absl::Status phase_status_;
  std::vector<SharedBatch> inbox_;
  std::vector<SharedBatch> abandoned_;
  bool stop_requested_ = false;
  SteadyClock::time_point stop_by_;
  // Whether there is something new in the above; changes under mutex_.
  std::atomic<bool> called_ = false;

  // Set before kRunning.
  int rank_ = 0;
  int size_ = 0;
  // The thread's own.
  MpiRequests requests_{pool_};
  bool stopping_ = false;
  SteadyClock::time_point end_by_;
};

MpiThread::MpiThread(std::shared_ptr<Core> core, std::thread thread)
    : core_(std::move(core)), thread_(std::move(thread)) {}

absl::StatusOr<std::unique_ptr<MpiThread>> MpiThread::Start(
    absl::Duration timeout) {
  static std::atomic<bool> started = false;
  if (started.exchange(true)) {
    return absl::FailedPreconditionError(
        "MPI can be started once per process only");
  }
  const auto core = std::make_shared<Core>();
  std::thread thread;
  try {
    thread = std::thread([core] { core->Run(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no thread for MPI: ", error.what()));
  }
  const absl::Status status =
      core->AwaitPhaseAfter(Core::Phase::kStarting, timeout, "MPI_Init");
  if (!status.ok()) {
    thread.detach();
    return status;
  }
  return std::unique_ptr<MpiThread>(new MpiThread(core, std::move(thread)));
}

MpiThread::~MpiThread() {
  if (thread_.joinable()) Stop(absl::ZeroDuration()).IgnoreError();
}

int MpiThread::rank() const { return core_->rank(); }

int MpiThread::size() const { return core_->size(); }

BufferPool& MpiThread::pool() { return core_->pool(); }

void MpiThread::Submit(std::vector<SharedBatch> batches) {
  core_->Submit(std::move(batches));
}

void MpiThread::Abandon(SharedBatch batch) { core_->Abandon(std::move(batch)); }

absl::Status MpiThread::Stop(absl::Duration timeout) {
  core_->RequestStop(timeout);
  absl::Status status =
      core_->AwaitPhaseAfter(Core::Phase::kRunning, timeout, "MPI_Finalize");
  if (absl::IsDeadlineExceeded(status)) {
    thread_.detach();
  } else {
    thread_.join();
  }
  return status;
}

}  // namespace caravan::worker
