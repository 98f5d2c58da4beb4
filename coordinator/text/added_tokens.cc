#include "coordinator/text/added_tokens.h"

#include <cstddef>

#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

bool IsBracketed(absl::string_view spelling) {
  if (spelling.size() < 2) return false;
  return (spelling.front() == '<' && spelling.back() == '>') ||
         (spelling.front() == '[' && spelling.back() == ']');
}

bool IsContinuation(char byte) {
  return (static_cast<uint8_t>(byte) & 0xC0) == 0x80;
}

size_t SkipWhiteSpace(absl::string_view text, size_t from) {
  while (from < text.size()) {
    const Utf8Sequence front = FrontUtf8(text.substr(from));
    if (!IsWhiteSpace(front.code_point)) break;
    from += front.length;
  }
  return from;
}

size_t SkipWhiteSpaceBackwards(absl::string_view text, size_t end,
                               size_t limit) {
  while (end > limit) {
    size_t begin = end - 1;
    while (begin > limit && IsContinuation(text[begin])) --begin;
    if (!IsWhiteSpace(FrontUtf8(text.substr(begin)).code_point)) break;
    end = begin;
  }
  return end;
}

}  // namespace

bool IsTemplateOnly(const AddedToken& token) {
  return token.control || IsBracketed(token.spelling);
}

AddedTokens::AddedTokens(absl::Span<const AddedToken> tokens) {
  entry_of_node_.push_back(-1);
  for (const AddedToken& token : tokens) {
    if (token.spelling.empty()) continue;
    uint32_t node = 0;
    for (const char byte : token.spelling) {
      const uint64_t edge = uint64_t{node} << 8 | static_cast<uint8_t>(byte);
      const auto [next, is_new] = edges_.try_emplace(
          edge, static_cast<uint32_t>(entry_of_node_.size()));
      if (is_new) entry_of_node_.push_back(-1);
      node = next->second;
    }
    if (entry_of_node_[node] >= 0) continue;
    entry_of_node_[node] = static_cast<int32_t>(entries_.size());
    entries_.push_back({.id = token.id,
                        .template_only = IsTemplateOnly(token),
                        .strips_left = token.strips_left,
                        .strips_right = token.strips_right});
  }
}

AddedTokens::Match AddedTokens::FindAt(absl::string_view text, size_t begin,
                                       size_t template_end) const {
  Match longest;
  uint32_t node = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    const auto next =
        edges_.find(uint64_t{node} << 8 | static_cast<uint8_t>(text[i]));
    if (next == edges_.end()) break;
    node = next->second;
    if (entry_of_node_[node] < 0) continue;
    const Entry& entry = entries_[entry_of_node_[node]];
    if (entry.template_only && i + 1 > template_end) continue;
    longest = {.entry = &entry, .end = i + 1};
  }
  return longest;
}

std::vector<TextFragment> AddedTokens::Split(
    absl::string_view text, absl::Span<const TextRange> template_ranges) const {
  std::vector<TextFragment> fragments;
  size_t done = 0;
  const auto add_text_until = [&](size_t end) {
    if (end > done) fragments.push_back({.range = {done, end}});
  };
  size_t range = 0;  // the first that does not end before `i`
  for (size_t i = 0; i < text.size();) {
    while (range < template_ranges.size() && template_ranges[range].end <= i) {
      ++range;
    }
    const bool in_template =
        range < template_ranges.size() && template_ranges[range].begin <= i;
    const Match match =
        FindAt(text, i, in_template ? template_ranges[range].end : i);
    if (match.entry == nullptr) {
      ++i;
      continue;
    }
    const size_t begin =
        match.entry->strips_left ? SkipWhiteSpaceBackwards(text, i, done) : i;
    const size_t end =
        match.entry->strips_right ? SkipWhiteSpace(text, match.end) : match.end;
    add_text_until(begin);
    fragments.push_back({.range = {begin, end}, .id = match.entry->id});
    done = i = end;
  }
  add_text_until(text.size());
  return fragments;
}

}  // namespace caravan::coordinator
