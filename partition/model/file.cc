#include "partition/model/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::partition {
namespace {

class PosixFile final : public RandomAccessFile {
 public:
  PosixFile(std::string path, int64_t size, int descriptor)
      : RandomAccessFile(std::move(path), size), descriptor_(descriptor) {}
  ~PosixFile() override { close(descriptor_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

 private:
  absl::Status DoRead(int64_t offset,
                      absl::Span<std::byte> out) const override {
    while (!out.empty()) {
      const ssize_t got = pread(descriptor_, out.data(), out.size(), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return absl::ErrnoToStatus(errno, "read failed");
      if (got == 0) {
        return absl::DataLossError(
            absl::StrCat("the file became shorter while in use: it ends before "
                         "byte ",
                         offset + static_cast<int64_t>(out.size())));
      }
      offset += got;
      out.remove_prefix(static_cast<size_t>(got));
    }
    return absl::OkStatus();
  }

  const int descriptor_;
};

class InMemoryFile final : public RandomAccessFile {
 public:
  InMemoryFile(std::string path, std::string bytes)
      : RandomAccessFile(std::move(path), static_cast<int64_t>(bytes.size())),
        bytes_(std::move(bytes)) {}

 private:
  absl::Status DoRead(int64_t offset,
                      absl::Span<std::byte> out) const override {
    std::copy_n(reinterpret_cast<const std::byte*>(bytes_.data()) + offset,
                out.size(), out.data());
    return absl::OkStatus();
  }

  const std::string bytes_;
};

}  // namespace

absl::Status RandomAccessFile::Read(int64_t offset,
                                    absl::Span<std::byte> out) const {
  const int64_t bytes = static_cast<int64_t>(out.size());
  if (offset < 0) {
    return absl::InvalidArgumentError(absl::StrCat("offset below 0: ", offset));
  }
  if (bytes > size_ || offset > size_ - bytes) {
    return absl::DataLossError(absl::StrCat("the file ends early: ", bytes,
                                            " bytes wanted at offset ", offset,
                                            ", the file has ", size_));
  }
  return DoRead(offset, out);
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenFile(
    absl::string_view path) {
  const std::string name(path);
  // O_NONBLOCK: opening a pipe would wait for its writer.
  const int descriptor = open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", name));
  }
  struct stat facts;
  if (fstat(descriptor, &facts) != 0) {
    const int error = errno;
    close(descriptor);
    return absl::ErrnoToStatus(error, absl::StrCat("cannot inspect ", name));
  }
  if (!S_ISREG(facts.st_mode)) {
    close(descriptor);
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": not a regular file"));
  }
  return std::make_unique<PosixFile>(name, facts.st_size, descriptor);
}

std::unique_ptr<RandomAccessFile> MemoryFile(absl::string_view path,
                                             std::string bytes) {
  return std::make_unique<InMemoryFile>(std::string(path), std::move(bytes));
}

absl::StatusOr<std::string> ReadWholeFile(absl::string_view path,
                                          int64_t max_bytes) {
  CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccessFile> file,
                           OpenFile(path));
  if (file->size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": too large: ", file->size(), " bytes, at most ",
                     max_bytes, " are read"));
  }
  std::string text(static_cast<size_t>(file->size()), '\0');
  CARAVAN_RETURN_IF_ERROR(Annotate(
      file->Read(0, {reinterpret_cast<std::byte*>(text.data()), text.size()}),
      path));
  return text;
}

}  // namespace caravan::partition
