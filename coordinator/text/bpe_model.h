// Byte-pair encoding by ranked merges, as Hugging Face's `tokenizers` does it.
#ifndef CARAVAN_COORDINATOR_TEXT_BPE_MODEL_H_
#define CARAVAN_COORDINATOR_TEXT_BPE_MODEL_H_

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// Immutable after Create; const methods are thread-safe.
//
// A word starts as one symbol per byte or per character; then, as long as there
// is one, the adjacent pair of least rank, leftmost first, becomes one symbol
// (Sennrich et al., arXiv 1508.07909). A heap over a linked list makes it
// n log n in the word's length.
class BpeModel final {
 public:
  struct Options {
    // Spelling to id; under `symbols_are_bytes` the spelling is of raw bytes.
    absl::flat_hash_map<std::string, int32_t> vocabulary;
    // In order of rank, spelled as the vocabulary is.
    std::vector<std::pair<std::string, std::string>> merges;
    // Never come out, whatever a word spells.
    absl::flat_hash_set<int32_t> control_ids;
    bool symbols_are_bytes = false;
    // A character that is not in the vocabulary becomes <0xE2><0x82>...
    bool byte_fallback = false;
    int32_t unknown_id = -1;     // -1: what is unknown is left out
    bool fuse_unknown = false;   // a run of unknown characters gives one token
    bool ignore_merges = false;  // a word that is a token is that token
  };

  // kInvalidArgument: a merge of or into what is not in the vocabulary.
  static absl::StatusOr<BpeModel> Create(Options options);

  // Appends the ids of `word`, which is UTF-8, to `ids`.
  void Encode(absl::string_view word, std::vector<int32_t>* ids) const;

  // A symbol of a word that is being merged; a list within an array.
  struct Symbol {
    int32_t id;
    int32_t previous;  // index, -1: none
    int32_t next;      // index, -1: none
    bool merged_away;
  };

 private:
  struct Merge {
    int32_t rank;
    int32_t id;
  };
  struct Candidate;
  class WordMerger;

  BpeModel() = default;

  // -1: not there or a control token.
  int32_t Find(absl::string_view spelling) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;
  void AppendSymbols(absl::string_view word, std::vector<int32_t>* ids) const;
  bool AppendFallbackBytes(absl::string_view character,
                           std::vector<int32_t>* ids) const;

  absl::flat_hash_map<std::string, int32_t> vocabulary_;
  absl::flat_hash_map<uint64_t, Merge> merges_;
  // Of a byte as a symbol, or as a fallback; -1: none.
  std::array<int32_t, 256> byte_ids_;
  bool symbols_are_bytes_ = false;
  bool byte_fallback_ = false;
  int32_t unknown_id_ = -1;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_BPE_MODEL_H_
