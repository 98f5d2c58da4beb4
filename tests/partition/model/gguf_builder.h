// Makes GGUF files for tests, byte by byte, well-formed unless told otherwise.
#ifndef CARAVAN_TESTS_PARTITION_MODEL_GGUF_BUILDER_H_
#define CARAVAN_TESTS_PARTITION_MODEL_GGUF_BUILDER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace caravan::partition {

// Little-endian bytes of a number.
template <typename T>
std::string Bytes(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}
// A length and the text.
inline std::string GgufString(const std::string& text) {
  return Bytes<uint64_t>(text.size()) + text;
}

class GgufBuilder final {
 public:
  uint32_t magic = 0x46554747;
  uint32_t version = 3;
  uint64_t alignment = 32;  // of the data; does not write the key
  // Added to what the header says.
  uint64_t extra_keys = 0;
  uint64_t extra_tensors = 0;

  // `value` is what follows the type number.
  GgufBuilder& Key(const std::string& key, uint32_t type,
                   const std::string& value) {
    keys_ += GgufString(key) + Bytes(type) + value;
    ++num_keys_;
    return *this;
  }
  GgufBuilder& Uint32(const std::string& key, uint32_t value) {
    return Key(key, 4, Bytes(value));
  }
  GgufBuilder& Float32(const std::string& key, float value) {
    return Key(key, 6, Bytes(value));
  }
  GgufBuilder& String(const std::string& key, const std::string& value) {
    return Key(key, 8, GgufString(value));
  }
  GgufBuilder& Strings(const std::string& key,
                       const std::vector<std::string>& values) {
    std::string bytes = Bytes<uint32_t>(8) + Bytes<uint64_t>(values.size());
    for (const std::string& value : values) bytes += GgufString(value);
    return Key(key, 9, bytes);
  }

  // `sizes` innermost first, `type` ggml's number.
  GgufBuilder& Tensor(const std::string& name,
                      const std::vector<uint64_t>& sizes, uint32_t type,
                      const std::string& bytes) {
    return TensorAt(name, sizes, type, Pad(data_.size()), bytes);
  }
  // With an offset that may be wrong.
  GgufBuilder& TensorAt(const std::string& name,
                        const std::vector<uint64_t>& sizes, uint32_t type,
                        uint64_t offset, const std::string& bytes) {
    data_.resize(Pad(data_.size()), '\0');
    tensors_ += GgufString(name) + Bytes<uint32_t>(sizes.size());
    for (uint64_t size : sizes) tensors_ += Bytes(size);
    tensors_ += Bytes(type) + Bytes(offset);
    data_ += bytes;
    ++num_tensors_;
    return *this;
  }

  std::string Build() const {
    std::string file = Bytes(magic) + Bytes(version) +
                       Bytes<uint64_t>(num_tensors_ + extra_tensors) +
                       Bytes<uint64_t>(num_keys_ + extra_keys) + keys_ +
                       tensors_;
    file.resize(Pad(file.size()), '\0');
    file += data_;
    file.resize(Pad(file.size()), '\0');
    return file;
  }

 private:
  size_t Pad(size_t size) const {
    return (size + alignment - 1) / alignment * alignment;
  }

  std::string keys_;
  std::string tensors_;
  std::string data_;
  uint64_t num_keys_ = 0;
  uint64_t num_tensors_ = 0;
};

}  // namespace caravan::partition

#endif  // CARAVAN_TESTS_PARTITION_MODEL_GGUF_BUILDER_H_
