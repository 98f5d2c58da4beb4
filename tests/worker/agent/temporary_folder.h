// A folder for one test.
#ifndef CARAVAN_TESTS_WORKER_AGENT_TEMPORARY_FOLDER_H_
#define CARAVAN_TESTS_WORKER_AGENT_TEMPORARY_FOLDER_H_

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace caravan::worker {

// Is removed with its contents.
class TemporaryFolder final {
 public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "agent-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_WORKER_AGENT_TEMPORARY_FOLDER_H_
