#include "coordinator/text/bpe_model.h"

#include <cstddef>
#include <queue>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 |
         static_cast<uint32_t>(right);
}

}  // namespace

// A pair that could be merged when it was found; it may have changed since.
struct BpeModel::Candidate {
  int32_t rank;
  int32_t left;  // index of the left symbol
  int32_t id;    // of the merged symbol

  // std::priority_queue has the greatest on top.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

class BpeModel::WordMerger {
 public:
  WordMerger(const BpeModel& model, absl::Span<const int32_t> ids)
      : model_(model) {
    const int32_t count = static_cast<int32_t>(ids.size());
    symbols_.reserve(ids.size());
    for (int32_t i = 0; i < count; ++i) {
      symbols_.push_back({.id = ids[i],
                          .previous = i - 1,
                          .next = i + 1 < count ? i + 1 : -1,
                          .merged_away = false});
    }
    for (int32_t i = 0; i < count; ++i) Consider(i);
  }

  void Run() {
    while (!candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      if (StillThere(best)) Apply(best);
    }
  }

  void AppendTo(std::vector<int32_t>* ids) const {
    for (const Symbol& symbol : symbols_) {
      if (!symbol.merged_away) ids->push_back(symbol.id);
    }
  }

 private:
  void Consider(int32_t left) {
    if (left < 0 || symbols_[left].next < 0) return;
    const Symbol& symbol = symbols_[left];
    const Merge* merge = model_.FindMerge(symbol.id, symbols_[symbol.next].id);
    if (merge == nullptr) return;
    candidates_.push({.rank = merge->rank, .left = left, .id = merge->id});
  }

  // A pair with another rank but the same result counts, as in `tokenizers`.
  bool StillThere(const Candidate& candidate) const {
    const Symbol& symbol = symbols_[candidate.left];
    if (symbol.merged_away || symbol.next < 0) return false;
    const Merge* merge = model_.FindMerge(symbol.id, symbols_[symbol.next].id);
    return merge != nullptr && merge->id == candidate.id;
  }

  void Apply(const Candidate& candidate) {
    Symbol& left = symbols_[candidate.left];
    Symbol& right = symbols_[left.next];
    left.id = candidate.id;
    left.next = right.next;
    right.merged_away = true;
    if (left.next >= 0) symbols_[left.next].previous = candidate.left;
    Consider(left.previous);
    Consider(candidate.left);
  }

  const BpeModel& model_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Candidate> candidates_;
};

absl::StatusOr<BpeModel> BpeModel::Create(Options options) {
  BpeModel model;
  model.symbols_are_bytes_ = options.symbols_are_bytes;
  model.byte_fallback_ = options.byte_fallback;
  model.unknown_id_ = options.unknown_id;
  model.fuse_unknown_ = options.fuse_unknown;
  model.ignore_merges_ = options.ignore_merges;
  model.merges_.reserve(options.merges.size());
  int32_t rank = 0;
  for (const auto& [left, right] : options.merges) {
    const auto left_id = options.vocabulary.find(left);
    const auto right_id = options.vocabulary.find(right);
    const auto id = options.vocabulary.find(absl::StrCat(left, right));
    const auto end = options.vocabulary.end();
    if (left_id == end || right_id == end || id == end) {
      return absl::InvalidArgumentError(absl::StrCat(
          "merge ", rank, " is not in the vocabulary: \"",
          absl::CHexEscape(left), "\" + \"", absl::CHexEscape(right), "\""));
    }
    // The rank counts all the same: others keep theirs.
    if (!options.control_ids.contains(id->second)) {
      model.merges_[PairKey(left_id->second, right_id->second)] = {
          .rank = rank, .id = id->second};
    }
    ++rank;
  }
  model.vocabulary_ = std::move(options.vocabulary);
  absl::erase_if(model.vocabulary_, [&](const auto& entry) {
    return options.control_ids.contains(entry.second);
  });
  for (int byte = 0; byte < 256; ++byte) {
    const std::string spelling = model.symbols_are_bytes_
                                     ? std::string(1, static_cast<char>(byte))
                                     : absl::StrFormat("<0x%02X>", byte);
    model.byte_ids_[byte] = model.Find(spelling);
  }
  return model;
}

int32_t BpeModel::Find(absl::string_view spelling) const {
  const auto found = vocabulary_.find(spelling);
  return found == vocabulary_.end() ? -1 : found->second;
}

const BpeModel::Merge* BpeModel::FindMerge(int32_t left, int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BpeModel::Encode(absl::string_view word, std::vector<int32_t>* ids) const {
  if (word.empty()) return;
  if (ignore_merges_) {
    const int32_t id = Find(word);
    if (id >= 0) {
      ids->push_back(id);
      return;
    }
  }
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  AppendSymbols(word, &symbols);
  WordMerger merger(*this, symbols);
  merger.Run();
  merger.AppendTo(ids);
}

void BpeModel::AppendSymbols(absl::string_view word,
                             std::vector<int32_t>* ids) const {
  // `tokenizers` holds an unknown token back until the next known character,
  // and past fallback bytes.
  bool unknown_held = false;
  while (!word.empty()) {
    const size_t length = symbols_are_bytes_ ? 1 : FrontUtf8(word).length;
    const absl::string_view character = word.substr(0, length);
    word.remove_prefix(length);
    const int32_t id = symbols_are_bytes_
                           ? byte_ids_[static_cast<uint8_t>(character[0])]
                           : Find(character);
    if (id >= 0) {
      if (unknown_held) ids->push_back(unknown_id_);
      unknown_held = false;
      ids->push_back(id);
    } else if (byte_fallback_ && AppendFallbackBytes(character, ids)) {
      continue;
    } else if (unknown_id_ >= 0) {
      if (unknown_held && !fuse_unknown_) ids->push_back(unknown_id_);
      unknown_held = true;
    }
  }
  if (unknown_held) ids->push_back(unknown_id_);
}

bool BpeModel::AppendFallbackBytes(absl::string_view character,
                                   std::vector<int32_t>* ids) const {
  for (const char byte : character) {
    if (byte_ids_[static_cast<uint8_t>(byte)] < 0) return false;
  }
  for (const char byte : character) {
    ids->push_back(byte_ids_[static_cast<uint8_t>(byte)]);
  }
  return true;
}

}  // namespace caravan::coordinator
