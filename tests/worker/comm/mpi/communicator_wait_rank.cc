// Two ranks that say what waiting costs them: rank 0 waits a second for a
// message that never comes, rank 1 has nothing under way for as long.
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "worker/comm/mpi/mpi_world.h"

namespace caravan::worker {
namespace {

double ProcessMilliseconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

int Run() {
  auto world = CreateMpiWorld({});
  if (!world.ok() || (*world)->size() != 2) return 1;
  auto group = (*world)->CreateGroup(
      {.name = "pp0", .world_ranks = {0, 1}, .timeout = absl::Seconds(1)});
  if (!group.ok()) return 1;
  const double before = ProcessMilliseconds();
  if ((*world)->rank() == 0) {
    std::byte byte;
    const absl::Status status = (*group)->Recv(absl::MakeSpan(&byte, 1), 1);
    if (!absl::IsDeadlineExceeded(status)) return 1;
  } else {
    poll(nullptr, 0, 1000);
  }
  std::printf("rank=%d cpu_ms=%.0f\n", (*world)->rank(),
              ProcessMilliseconds() - before);
  return 0;
}

}  // namespace
}  // namespace caravan::worker

int main() { return caravan::worker::Run(); }
