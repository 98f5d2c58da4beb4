// An engine of one rank on a GPU against what Hugging Face transformers says of
// models: golden_gpu FOLDER..., each with its checkpoint and golden.

#include <cstdio>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/support/golden_rank.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/comm/local/local_world.h"

namespace caravan::worker {
namespace {

absl::Status Check(const char* folder) {
  absl::StatusOr<std::unique_ptr<Backend>> backend =
      CreateCudaBackend(CudaBackendOptions{.deterministic = true});
  if (!backend.ok()) return backend.status();
  return testing::RunGoldenRank({.golden_folder = folder}, **backend,
                                *CreateLocalWorlds(1)[0]);
}

}  // namespace
}  // namespace caravan::worker

int main(int argc, char** argv) {
  int num_failed = 0;
  for (int i = 1; i < argc; ++i) {
    const absl::Status status = caravan::worker::Check(argv[i]);
    std::printf("%s: %s\n", argv[i], status.ToString().c_str());
    num_failed += status.ok() ? 0 : 1;
  }
  return argc > 1 && num_failed == 0 ? 0 : 1;
}
