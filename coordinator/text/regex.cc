#include "coordinator/text/regex.h"

#include <cstdint>
#include <string>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/oniguruma_pattern.h"

namespace caravan::coordinator {
namespace {

constexpr size_t kMaxPatternBytes = 16 << 10;
constexpr uint32_t kParenthesesLimit = 64;
// A run of a million spaces backtracks a million times; a pattern that runs
// away stops within a second or so.
constexpr uint32_t kMatchLimit = 50'000'000;
constexpr uint32_t kHeapLimitKib = 64 << 10;
constexpr size_t kJitStackStart = 32 << 10;
constexpr size_t kJitStackLimit = 8 << 20;

std::string ErrorText(int error) {
  PCRE2_UCHAR message[256];
  if (pcre2_get_error_message(error, message, sizeof(message)) < 0) {
    return absl::StrCat("error ", error);
  }
  return std::string(reinterpret_cast<const char*>(message));
}

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using CompiledCode = std::unique_ptr<pcre2_code, Freer<pcre2_code_free>>;
using CompileContext =
    std::unique_ptr<pcre2_compile_context, Freer<pcre2_compile_context_free>>;
using MatchContext =
    std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;
using MatchData =
    std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freer<pcre2_jit_stack_free>>;

}  // namespace

struct Regex::Code {
  CompiledCode compiled;
};

Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pattern of ", pattern.size(), " bytes; the limit is ",
                     kMaxPatternBytes));
  }
  CARAVAN_ASSIGN_OR_RETURN(const std::string translated,
                           Pcre2FromOniguruma(pattern));
  CompileContext context(pcre2_compile_context_create(nullptr));
  if (context == nullptr) {
    return absl::ResourceExhaustedError("no memory to compile a pattern");
  }
  pcre2_set_parens_nest_limit(context.get(), kParenthesesLimit);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_unique<Code>();
  code->compiled.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
      context.get()));
  if (code->compiled == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern ", absl::Utf8SafeCHexEscape(pattern),
                     " does not compile: ", ErrorText(error)));
  }
  // Without a JIT, on a processor that PCRE2 has none for, matching is slower
  // and the same.
  pcre2_jit_compile(code->compiled.get(), PCRE2_JIT_COMPLETE);
  return Regex(std::move(code));
}

struct RegexMatcher::State {
  const pcre2_code* code = nullptr;
  MatchContext context;
  MatchData data;
  JitStack stack;
};

RegexMatcher::RegexMatcher(const Regex& regex)
    : state_(std::make_unique<State>()) {
  const pcre2_code* code = regex.code_->compiled.get();
  state_->code = code;
  state_->context.reset(pcre2_match_context_create(nullptr));
  state_->data.reset(pcre2_match_data_create_from_pattern(code, nullptr));
  state_->stack.reset(
      pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr));
  if (state_->context == nullptr) return;
  pcre2_set_match_limit(state_->context.get(), kMatchLimit);
  pcre2_set_heap_limit(state_->context.get(), kHeapLimitKib);
  if (state_->stack != nullptr) {
    pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
  }
}

RegexMatcher::~RegexMatcher() = default;

absl::StatusOr<std::vector<TextRange>> RegexMatcher::FindAll(
    absl::string_view text) {
  if (state_->context == nullptr || state_->data == nullptr) {
    return absl::ResourceExhaustedError("no memory to match a pattern");
  }
  std::vector<TextRange> matches;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  for (size_t from = 0; from < text.size();) {
    // The caller has checked the UTF-8; PCRE2 would do so anew each time.
    const int found = pcre2_match(state_->code, subject, text.size(), from,
                                  PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                                  state_->data.get(), state_->context.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the pre-tokenizer's pattern gave up at byte ", from,
                       ": ", ErrorText(found)));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(state_->data.get());
    matches.push_back({.begin = range[0], .end = range[1]});
    from = range[1];
  }
  return matches;
}

}  // namespace caravan::coordinator
