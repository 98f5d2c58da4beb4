#include "base/progress_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan {
namespace {

constexpr uint64_t kMagic = 0x31676f7270766163;  // "cavprog1"

struct Page {
  uint64_t magic;
  uint64_t replica;
  uint64_t epoch;
  int64_t pid;
  int32_t rank;
  std::atomic<uint32_t> phase;
  std::atomic<uint64_t> step;
  std::atomic<uint64_t> ticks;
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

absl::Status FileError(absl::string_view what, absl::string_view path) {
  const int error = errno;
  return absl::ErrnoToStatus(error, absl::StrCat(what, ": ", path));
}

absl::StatusOr<void*> MapPage(const std::string& path, int flags,
                              int protection) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) return FileError("cannot open progress page", path);
  if ((flags & O_CREAT) != 0 && ftruncate(fd, sizeof(Page)) != 0) {
    const absl::Status status = FileError("cannot size progress page", path);
    close(fd);
    return status;
  }
  if (lseek(fd, 0, SEEK_END) < static_cast<off_t>(sizeof(Page))) {
    close(fd);
    return absl::DataLossError(absl::StrCat("not a progress page: ", path));
  }
  void* page = mmap(nullptr, sizeof(Page), protection, MAP_SHARED, fd, 0);
  const absl::Status status = page == MAP_FAILED
                                  ? FileError("cannot map progress page", path)
                                  : absl::OkStatus();
  close(fd);
  if (!status.ok()) return status;
  return page;
}

}  // namespace

absl::string_view Name(EnginePhase phase) {
  switch (phase) {
    case EnginePhase::kStarting:
      return "starting";
    case EnginePhase::kLoading:
      return "loading";
    case EnginePhase::kIdle:
      return "idle";
    case EnginePhase::kReceive:
      return "receive";
    case EnginePhase::kCompute:
      return "compute";
    case EnginePhase::kReduce:
      return "all-reduce";
    case EnginePhase::kSend:
      return "send";
    case EnginePhase::kSample:
      return "sample";
  }
  return "unknown";
}

absl::StatusOr<std::unique_ptr<ProgressWriter>> ProgressWriter::Create(
    absl::string_view folder, uint64_t replica, uint64_t epoch, int rank) {
  const std::string path = absl::StrCat(folder, "/", getpid(), ".progress");
  CARAVAN_ASSIGN_OR_RETURN(
      void* memory,
      MapPage(path, O_RDWR | O_CREAT | O_TRUNC, PROT_READ | PROT_WRITE));
  Page* page = new (memory) Page;
  page->replica = replica;
  page->epoch = epoch;
  page->pid = getpid();
  page->rank = rank;
  page->phase = static_cast<uint32_t>(EnginePhase::kStarting);
  page->step = 0;
  page->ticks = 0;
  // Readers take a page without it for none.
  std::atomic_ref<uint64_t>(page->magic)
      .store(kMagic, std::memory_order_release);
  return std::unique_ptr<ProgressWriter>(new ProgressWriter(memory));
}

ProgressWriter::~ProgressWriter() { munmap(page_, sizeof(Page)); }

void ProgressWriter::SetStep(uint64_t step) {
  static_cast<Page*>(page_)->step.store(step, std::memory_order_relaxed);
}

void ProgressWriter::SetPhase(EnginePhase phase) {
  static_cast<Page*>(page_)->phase.store(static_cast<uint32_t>(phase),
                                         std::memory_order_relaxed);
  Tick();
}

void ProgressWriter::Tick() {
  static_cast<Page*>(page_)->ticks.fetch_add(1, std::memory_order_relaxed);
}

absl::StatusOr<EngineProgressSnapshot> ReadProgress(absl::string_view path) {
  CARAVAN_ASSIGN_OR_RETURN(void* memory,
                           MapPage(std::string(path), O_RDONLY, PROT_READ));
  Page* page = static_cast<Page*>(memory);
  const uint64_t magic =
      std::atomic_ref<uint64_t>(page->magic).load(std::memory_order_acquire);
  EngineProgressSnapshot snapshot;
  snapshot.replica = page->replica;
  snapshot.epoch = page->epoch;
  snapshot.rank = page->rank;
  snapshot.pid = page->pid;
  snapshot.step = page->step.load(std::memory_order_relaxed);
  const uint32_t phase = page->phase.load(std::memory_order_relaxed);
  snapshot.phase = static_cast<EnginePhase>(phase);
  snapshot.ticks = page->ticks.load(std::memory_order_relaxed);
  munmap(memory, sizeof(Page));
  if (magic != kMagic || phase > static_cast<uint32_t>(EnginePhase::kSample)) {
    return absl::DataLossError(absl::StrCat("not a progress page: ", path));
  }
  return snapshot;
}

}  // namespace caravan
