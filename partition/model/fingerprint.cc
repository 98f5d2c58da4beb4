#include "partition/model/fingerprint.h"

#include <openssl/evp.h>

#include <array>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace caravan::partition {

void FingerprintBuilder::Add(absl::string_view label, absl::string_view bytes) {
  absl::StrAppend(&bytes_, label, ":", bytes.size(), ":", bytes, "\n");
}

void FingerprintBuilder::Add(absl::string_view label, int64_t value) {
  Add(label, absl::StrCat(value));
}

void FingerprintBuilder::Add(const ModelSpec& spec) {
  const RopeSpec& rope = spec.rope;
  // Doubles as hexadecimal: every bit counts.
  Add("spec", absl::StrFormat(
                  "%d %d %d %d %d %d %d %d %a | %a %d %a %a %a %d | %d %d %d",
                  spec.vocab_size, spec.hidden_size, spec.intermediate_size,
                  spec.num_layers, spec.num_heads, spec.num_kv_heads,
                  spec.head_dim, spec.max_positions, spec.rms_norm_epsilon,
                  rope.theta, static_cast<int>(rope.scaling), rope.factor,
                  rope.low_frequency_factor, rope.high_frequency_factor,
                  rope.original_max_positions, spec.tied_embeddings ? 1 : 0,
                  static_cast<int>(spec.dtype), spec.bos_token));
  Add("eos", absl::StrJoin(spec.eos_tokens, ","));
}

absl::StatusOr<std::string> FingerprintBuilder::Finish() const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (EVP_Digest(bytes_.data(), bytes_.size(), digest.data(), &size,
                 EVP_sha256(), nullptr) != 1) {
    return absl::InternalError("OpenSSL computed no SHA-256");
  }
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
}

}  // namespace caravan::partition
