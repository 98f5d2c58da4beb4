#include "tests/emulated_device/nccl/shared_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace caravan::emulated {
namespace {

// It may have been made this very moment, and be empty yet.
bool AwaitSize(int file) {
  constexpr auto kPause = std::chrono::microseconds(100);
  constexpr int kAttempts = 100'000;
  struct stat status = {};
  for (int i = 0; i < kAttempts && fstat(file, &status) == 0; ++i) {
    if (static_cast<size_t>(status.st_size) >= sizeof(SharedRegion)) {
      return true;
    }
    std::this_thread::sleep_for(kPause);
  }
  return false;
}

}  // namespace

bool CreateRegion(const std::string& name) {
  const int file = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
  if (file < 0) return false;
  const bool sized = ftruncate(file, sizeof(SharedRegion)) == 0;
  close(file);
  return sized;
}

std::shared_ptr<SharedRegion> OpenRegion(const std::string& name) {
  const int file = shm_open(name.c_str(), O_RDWR, 0600);
  if (file < 0) return nullptr;
  if (!AwaitSize(file)) {
    close(file);
    return nullptr;
  }
  void* memory = mmap(nullptr, sizeof(SharedRegion), PROT_READ | PROT_WRITE,
                      MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return nullptr;
  return {static_cast<SharedRegion*>(memory),
          [](SharedRegion* region) { munmap(region, sizeof(SharedRegion)); }};
}

void RemoveRegion(const std::string& name) { shm_unlink(name.c_str()); }

}  // namespace caravan::emulated
