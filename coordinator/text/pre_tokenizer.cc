#include "coordinator/text/pre_tokenizer.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {

const absl::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const absl::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Rust's char::is_numeric, so Nd, Nl and No.
const absl::string_view kOneDigitPattern = R"(\p{N})";
const absl::string_view kDigitsPattern = R"(\p{N}+)";

namespace {

// A step at work on the words of one text.
class PatternSplitter {
 public:
  explicit PatternSplitter(const SplitByPattern& step)
      : matcher_(step.pattern), drops_rest_(step.drops_rest) {}

  absl::Status Apply(absl::string_view word, bool /*at_start*/,
                     PreTokenized* output) {
    CARAVAN_ASSIGN_OR_RETURN(const std::vector<TextRange> matches,
                             matcher_.FindAll(word));
    size_t done = 0;
    for (const TextRange& match : matches) {
      AddRest(word.substr(done, match.begin - done), output);
      output->words.push_back(
          word.substr(match.begin, match.end - match.begin));
      done = match.end;
    }
    AddRest(word.substr(done), output);
    return absl::OkStatus();
  }

 private:
  void AddRest(absl::string_view rest, PreTokenized* output) const {
    if (!rest.empty() && !drops_rest_) output->words.push_back(rest);
  }

  RegexMatcher matcher_;
  const bool drops_rest_;
};

class SpaceAdder {
 public:
  explicit SpaceAdder(const AddSpace& /*step*/) {}

  absl::Status Apply(absl::string_view word, bool /*at_start*/,
                     PreTokenized* output) {
    if (!absl::StartsWith(word, " ")) {
      word = output->storage.emplace_back(absl::StrCat(" ", word));
    }
    output->words.push_back(word);
    return absl::OkStatus();
  }
};

class MetaspaceSplitter {
 public:
  explicit MetaspaceSplitter(const Metaspace& step) : step_(step) {}

  absl::Status Apply(absl::string_view word, bool at_start,
                     PreTokenized* output) {
    std::string& changed = output->storage.emplace_back(
        absl::StrReplaceAll(word, {{" ", kMetaspace}}));
    const bool wants_prefix = step_.prefix == DummyPrefix::kAlways ||
                              (step_.prefix == DummyPrefix::kFirst && at_start);
    if (wants_prefix && !absl::StartsWith(changed, kMetaspace)) {
      changed.insert(0, kMetaspace.data(), kMetaspace.size());
    }
    absl::string_view rest = changed;
    while (step_.splits) {
      const size_t next = rest.find(kMetaspace, 1);
      if (next == absl::string_view::npos) break;
      output->words.push_back(rest.substr(0, next));
      rest.remove_prefix(next);
    }
    output->words.push_back(rest);
    return absl::OkStatus();
  }

 private:
  const Metaspace step_;
};

PatternSplitter Start(const SplitByPattern& step) {
  return PatternSplitter(step);
}
SpaceAdder Start(const AddSpace& step) { return SpaceAdder(step); }
MetaspaceSplitter Start(const Metaspace& step) {
  return MetaspaceSplitter(step);
}

}  // namespace

PreTokenizer::PreTokenizer(std::vector<PreTokenizerStep> steps)
    : steps_(std::move(steps)) {}

absl::StatusOr<PreTokenized> PreTokenizer::Split(absl::string_view text,
                                                 bool at_start) const {
  PreTokenized result;
  if (text.empty()) return result;
  result.words.push_back(text);
  for (const PreTokenizerStep& step : steps_) {
    const std::vector<absl::string_view> words = std::move(result.words);
    result.words.clear();
    const auto run = [&](const auto& kind) -> absl::Status {
      auto worker = Start(kind);
      bool first = at_start;
      for (const absl::string_view word : words) {
        CARAVAN_RETURN_IF_ERROR(worker.Apply(word, first, &result));
        first = false;
      }
      return absl::OkStatus();
    };
    CARAVAN_RETURN_IF_ERROR(std::visit(run, step));
  }
  return result;
}

}  // namespace caravan::coordinator
