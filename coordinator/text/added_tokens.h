// Tokens that are found in a text as they stand, before anything else cuts it.
#ifndef CARAVAN_COORDINATOR_TEXT_ADDED_TOKENS_H_
#define CARAVAN_COORDINATOR_TEXT_ADDED_TOKENS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "coordinator/text/regex.h"

namespace caravan::coordinator {

struct AddedToken {
  int32_t id = -1;
  std::string spelling;
  // "Special" in Hugging Face's words: steers the model, is no text.
  bool control = false;
  // Take the white space on that side of them along.
  bool strips_left = false;
  bool strips_right = false;
};

// Whether only a template may spell `token`. All control tokens are so; and
// tokens in angle or square brackets, since fine-tunes add "<|im_start|>" and
// the like without calling it special. Such a one is shown when the model says
// it, but a user who types it gets plain text, where Hugging Face would give
// the token. Other added tokens are words, which anybody may write.
bool IsTemplateOnly(const AddedToken& token);

// A part of a text: an added token, or what lies between two (id -1).
struct TextFragment {
  TextRange range;
  int32_t id = -1;
};

// Immutable; const methods are thread-safe.
class AddedTokens final {
 public:
  // Empty spellings are left out; of two equal ones the first counts.
  explicit AddedTokens(absl::Span<const AddedToken> tokens);

  // Leftmost first, and the longest there. `template_ranges` are in order and
  // do not touch; a token that only a template may spell lies in one of them.
  std::vector<TextFragment> Split(
      absl::string_view text,
      absl::Span<const TextRange> template_ranges) const;

 private:
  struct Entry {
    int32_t id;
    bool template_only;
    bool strips_left;
    bool strips_right;
  };
  struct Match {
    const Entry* entry = nullptr;
    size_t end = 0;
  };

  // The longest token at `begin`; `template_end` is where the template's text
  // around `begin` ends, or `begin` outside of it.
  Match FindAt(absl::string_view text, size_t begin, size_t template_end) const;

  // A trie. Node 0 is the root; an edge's key is node << 8 | byte.
  absl::flat_hash_map<uint64_t, uint32_t> edges_;
  std::vector<int32_t> entry_of_node_;  // index into entries_, -1: none
  std::vector<Entry> entries_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_ADDED_TOKENS_H_
