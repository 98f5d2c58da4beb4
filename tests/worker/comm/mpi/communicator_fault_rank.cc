// One rank that reduces for ever, for tests that kill or stop one. It says
// "running rank=R pid=P" after the first reduction and "ended rank=R: STATUS"
// when a call fails; then it waits to be killed, so that mpirun does not end
// the others before they have spoken.
#include <unistd.h>

#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/comm/mpi/mpi_world.h"

namespace caravan::worker {
namespace {

void Say(const std::string& line) {
  // At once, so that lines of several ranks do not mix.
  const std::string text = line + "\n";
  if (write(STDOUT_FILENO, text.data(), text.size()) < 0) _exit(1);
}

absl::Status Run(size_t count, absl::Duration timeout) {
  auto world = CreateMpiWorld({});
  if (!world.ok()) return world.status();
  GroupOptions options{.name = "tp0", .timeout = timeout};
  options.world_ranks.resize((*world)->size());
  std::iota(options.world_ranks.begin(), options.world_ranks.end(), 0);
  auto group = (*world)->CreateGroup(options);
  if (!group.ok()) return group.status();
  std::vector<float> values(count, 0.0f);
  for (int64_t round = 0;; ++round) {
    const absl::Status status =
        (*group)->AllReduceSum({values.data(), DType::kFloat32, 1,
                                static_cast<int64_t>(values.size())});
    if (round == 0 && status.ok()) {
      Say(absl::StrCat("running rank=", (*world)->rank(), " pid=", getpid()));
    }
    if (status.ok()) continue;
    Say(absl::StrCat("ended rank=", (*world)->rank(), ": ", status.ToString(),
                     "; then ", (*group)->Send({}, 0).ToString()));
    pause();
    _exit(71);
  }
}

}  // namespace
}  // namespace caravan::worker

// Arguments: values per reduction, timeout in milliseconds.
int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const absl::Status status = caravan::worker::Run(
      std::atoll(argv[1]), absl::Milliseconds(std::atoll(argv[2])));
  caravan::worker::Say(status.ToString());
  _exit(1);
}
