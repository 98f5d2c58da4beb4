#include "partition/model/gguf_spec.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "partition/model/gguf_rope.h"
#include "partition/model/tensor_names.h"

namespace caravan::partition {
namespace {

absl::Status CheckArchitecture(const GgufFile& file) {
  CARAVAN_ASSIGN_OR_RETURN(const absl::string_view architecture,
                           file.String("general.architecture"));
  if (architecture != "llama") {
    return absl::UnimplementedError(absl::StrCat(
        file.path(), ": general.architecture \"",
        absl::CHexEscape(architecture), "\" is not supported; llama is"));
  }
  return absl::OkStatus();
}

// Keys that change the arithmetic, whatever their value is.
absl::Status RefuseUnsupported(const GgufFile& file) {
  for (absl::string_view key :
       {"llama.attention.clamp_kqv", "llama.attention.max_alibi_bias",
        "llama.attention.scale", "llama.attention.sliding_window",
        "llama.embedding_scale", "llama.logit_scale", "llama.residual_scale",
        "llama.use_parallel_residual"}) {
    if (file.Has(key)) {
      return absl::UnimplementedError(
          absl::StrCat(file.path(), ": ", key, " is not supported"));
    }
  }
  if (file.Has("llama.expert_count")) {
    CARAVAN_ASSIGN_OR_RETURN(const int64_t experts,
                             file.Integer("llama.expert_count"));
    if (experts != 0) {
      return absl::UnimplementedError(
          absl::StrCat(file.path(), ": llama.expert_count ", experts,
                       " is not supported; 0 is"));
    }
  }
  if (file.Has("llama.attention.causal")) {
    CARAVAN_ASSIGN_OR_RETURN(const bool causal,
                             file.Bool("llama.attention.causal"));
    if (!causal) {
      return absl::UnimplementedError(absl::StrCat(
          file.path(), ": llama.attention.causal false is not supported"));
    }
  }
  return absl::OkStatus();
}

// A missing key is the file's fault, not an absent thing.
absl::StatusOr<int64_t> Required(const GgufFile& file, absl::string_view key) {
  absl::StatusOr<int64_t> value = file.Integer(key);
  if (absl::IsNotFound(value.status())) {
    return absl::InvalidArgumentError(value.status().message());
  }
  return value;
}

absl::StatusOr<int> RequiredInt(const GgufFile& file, absl::string_view key) {
  CARAVAN_ASSIGN_OR_RETURN(const int64_t value, Required(file, key));
  if (!std::in_range<int>(value)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": ", key, " is out of range: ", value));
  }
  return static_cast<int>(value);
}

absl::Status ReadHeads(const GgufFile& file, ModelSpec& spec) {
  CARAVAN_ASSIGN_OR_RETURN(spec.num_heads,
                           RequiredInt(file, "llama.attention.head_count"));
  spec.num_kv_heads = spec.num_heads;
  if (file.Has("llama.attention.head_count_kv")) {
    CARAVAN_ASSIGN_OR_RETURN(
        spec.num_kv_heads, RequiredInt(file, "llama.attention.head_count_kv"));
  }
  if (file.Has("llama.attention.key_length")) {
    CARAVAN_ASSIGN_OR_RETURN(spec.head_dim,
                             Required(file, "llama.attention.key_length"));
  } else if (spec.num_heads < 1 || spec.hidden_size % spec.num_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path(), ": llama.embedding_length must be a multiple of ",
        "llama.attention.head_count: ", spec.hidden_size, " and ",
        spec.num_heads));
  } else {
    spec.head_dim = spec.hidden_size / spec.num_heads;
  }
  if (file.Has("llama.attention.value_length")) {
    CARAVAN_ASSIGN_OR_RETURN(const int64_t value_length,
                             Required(file, "llama.attention.value_length"));
    if (value_length != spec.head_dim) {
      return absl::UnimplementedError(absl::StrCat(
          file.path(), ": llama.attention.value_length ", value_length,
          " is not supported; that of the keys, ", spec.head_dim, ", is"));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadVocabulary(const GgufFile& file, ModelSpec& spec) {
  const GgufTensor* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": tensor \"token_embd.weight\" is missing"));
  }
  spec.vocab_size = embedding->rows;
  if (file.Has("tokenizer.ggml.tokens")) {
    CARAVAN_ASSIGN_OR_RETURN(const absl::Span<const std::string> tokens,
                             file.Strings("tokenizer.ggml.tokens"));
    // Fewer is well: embeddings are padded to round sizes.
    if (static_cast<int64_t>(tokens.size()) > spec.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          file.path(), ": tokenizer.ggml.tokens has ", tokens.size(),
          " tokens, token_embd.weight ", spec.vocab_size, " rows"));
    }
  }
  if (file.Has("llama.vocab_size")) {
    CARAVAN_ASSIGN_OR_RETURN(const int64_t size,
                             file.Integer("llama.vocab_size"));
    if (size != spec.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat(file.path(), ": llama.vocab_size is ", size,
                       ", token_embd.weight has ", spec.vocab_size, " rows"));
    }
  }
  spec.tied_embeddings = file.FindTensor("output.weight") == nullptr;
  return absl::OkStatus();
}

absl::StatusOr<int> TokenId(const GgufFile& file, absl::string_view key,
                            int64_t vocab_size) {
  CARAVAN_ASSIGN_OR_RETURN(const int64_t id, file.Integer(key));
  if (id < 0 || id >= vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": ", key, " ", id,
                     " is outside the vocabulary of ", vocab_size));
  }
  return static_cast<int>(id);
}

absl::Status ReadTokens(const GgufFile& file, ModelSpec& spec) {
  constexpr char kBos[] = "tokenizer.ggml.bos_token_id";
  if (file.Has(kBos)) {
    CARAVAN_ASSIGN_OR_RETURN(spec.bos_token,
                             TokenId(file, kBos, spec.vocab_size));
  }
  // End of text, of turn and of message all end a generation.
  for (absl::string_view key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id"}) {
    if (!file.Has(key)) continue;
    CARAVAN_ASSIGN_OR_RETURN(const int id, TokenId(file, key, spec.vocab_size));
    if (std::find(spec.eos_tokens.begin(), spec.eos_tokens.end(), id) ==
        spec.eos_tokens.end()) {
      spec.eos_tokens.push_back(id);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const GgufFile& file, ModelSpec& spec) {
  CARAVAN_ASSIGN_OR_RETURN(spec.hidden_size,
                           Required(file, "llama.embedding_length"));
  CARAVAN_ASSIGN_OR_RETURN(spec.intermediate_size,
                           Required(file, "llama.feed_forward_length"));
  CARAVAN_ASSIGN_OR_RETURN(spec.num_layers,
                           RequiredInt(file, "llama.block_count"));
  CARAVAN_ASSIGN_OR_RETURN(spec.max_positions,
                           Required(file, "llama.context_length"));
  constexpr char kEpsilon[] = "llama.attention.layer_norm_rms_epsilon";
  if (!file.Has(kEpsilon)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": no metadata key \"", kEpsilon, "\""));
  }
  CARAVAN_ASSIGN_OR_RETURN(spec.rms_norm_epsilon, file.Float(kEpsilon));
  return ReadHeads(file, spec);
}

}  // namespace

absl::StatusOr<ModelSpec> ReadGgufSpec(const GgufFile& file) {
  if (!file.Has("general.architecture")) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path(), ": no metadata key \"general.architecture\""));
  }
  CARAVAN_RETURN_IF_ERROR(CheckArchitecture(file));
  CARAVAN_RETURN_IF_ERROR(RefuseUnsupported(file));
  ModelSpec spec;
  CARAVAN_RETURN_IF_ERROR(ReadSizes(file, spec));
  CARAVAN_RETURN_IF_ERROR(ReadVocabulary(file, spec));
  // Before sizes are used in arithmetic, and again with what comes after.
  CARAVAN_RETURN_IF_ERROR(Annotate(Validate(spec), file.path()));
  CARAVAN_RETURN_IF_ERROR(ReadGgufRope(file, spec));
  CARAVAN_RETURN_IF_ERROR(ReadTokens(file, spec));
  CARAVAN_RETURN_IF_ERROR(Annotate(Validate(spec), file.path()));
  return spec;
}

std::string GgufTensorName(absl::string_view name) {
  if (name == kEmbedding) return "token_embd.weight";
  if (name == kFinalNorm) return "output_norm.weight";
  if (name == kHead) return "output.weight";
  return absl::StrReplaceAll(name, {{"model.layers.", "blk."},
                                    {kInputNorm, "attn_norm"},
                                    {kQuery, "attn_q"},
                                    {kKey, "attn_k"},
                                    {kValue, "attn_v"},
                                    {kAttentionOutput, "attn_output"},
                                    {kMlpNorm, "ffn_norm"},
                                    {kGate, "ffn_gate"},
                                    {kUp, "ffn_up"},
                                    {kDown, "ffn_down"}});
}

}  // namespace caravan::partition
