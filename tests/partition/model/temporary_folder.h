// A folder of its own for a test; removed with what is in it.
#ifndef CARAVAN_TESTS_PARTITION_MODEL_TEMPORARY_FOLDER_H_
#define CARAVAN_TESTS_PARTITION_MODEL_TEMPORARY_FOLDER_H_

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/check.h"

namespace caravan::partition {

class TemporaryFolder final {
 public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "caravan-XXXXXX").string();
    CARAVAN_CHECK(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string Path(const std::string& name) const { return path_ + "/" + name; }

  // Returns the path of the file.
  std::string Write(const std::string& name, const std::string& bytes) const {
    std::ofstream stream(Path(name), std::ios::binary);
    stream << bytes;
    stream.close();
    CARAVAN_CHECK(stream.good());
    return Path(name);
  }

 private:
  std::string path_;
};

}  // namespace caravan::partition

#endif  // CARAVAN_TESTS_PARTITION_MODEL_TEMPORARY_FOLDER_H_
