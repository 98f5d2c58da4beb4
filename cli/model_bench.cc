#include "cli/model_bench.h"

#include <algorithm>
#include <latch>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/timed_completion.h"

namespace caravan::cli {
namespace {

std::vector<int32_t> RandomPrompt(int64_t num_tokens, int64_t vocab_size,
                                  uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<int32_t> ids(static_cast<size_t>(num_tokens));
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(generator() % static_cast<uint64_t>(vocab_size));
  }
  return ids;
}

TimedCompletionRequest RequestOf(const SpeedTest& test,
                                 const ModelBenchOptions& options,
                                 uint64_t seed) {
  const bool decodes = test.kind == SpeedTest::Kind::kDecode;
  const int64_t num_prompt =
      decodes ? std::max<int64_t>(test.depth, 1) : test.num_tokens;
  return {.model = options.model,
          .prompt = RandomPrompt(num_prompt, options.vocab_size, seed),
          .num_tokens = decodes ? test.num_tokens : 1};
}

absl::StatusOr<std::vector<TokenTimes>> RunStreams(
    const HttpClient& client, const SpeedTest& test,
    const ModelBenchOptions& options, uint64_t seed) {
  std::vector<TimedCompletionRequest> requests;
  requests.reserve(static_cast<size_t>(test.num_streams));
  for (int i = 0; i < test.num_streams; ++i) {
    requests.push_back(RequestOf(test, options, seed + i));
  }
  std::vector<absl::StatusOr<TokenTimes>> results(requests.size());
  std::vector<std::thread> threads;
  threads.reserve(requests.size());
  std::latch start(test.num_streams);
  for (size_t i = 0; i < requests.size(); ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      results[i] = TimeCompletion(client, requests[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<TokenTimes> times;
  for (absl::StatusOr<TokenTimes>& result : results) {
    if (!result.ok()) return Annotate(result.status(), Name(test));
    times.push_back(*std::move(result));
  }
  return times;
}

// Of all streams, from when the last one has begun until the first one ends.
// Of each, from token to token, so that it does not matter which stream gets
// the tokens of a step first.
absl::StatusOr<double> DecodeRate(const SpeedTest& test,
                                  const std::vector<TokenTimes>& streams) {
  absl::Duration begin = -absl::InfiniteDuration();
  absl::Duration end = absl::InfiniteDuration();
  for (const TokenTimes& stream : streams) {
    begin = std::max(begin, stream.tokens.front());
    end = std::min(end, stream.tokens.back());
  }
  double rate = 0;
  for (const TokenTimes& stream : streams) {
    const auto first =
        std::lower_bound(stream.tokens.begin(), stream.tokens.end(), begin);
    const auto last =
        std::upper_bound(stream.tokens.begin(), stream.tokens.end(), end);
    if (last - first < 2 || *(last - 1) == *first) {
      return absl::FailedPreconditionError(absl::StrCat(
          Name(test),
          ": the streams did not run at the same time: generate more tokens "
          "(--output-len), or let the server run more sequences at once "
          "(--max-num-seqs, --kv-cache-memory)"));
    }
    rate += static_cast<double>(last - first - 1) /
            absl::ToDoubleSeconds(*(last - 1) - *first);
  }
  return rate;
}

absl::StatusOr<SpeedRun> RunOnce(const HttpClient& client,
                                 const SpeedTest& test,
                                 const ModelBenchOptions& options,
                                 uint64_t seed) {
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<TokenTimes> streams,
                           RunStreams(client, test, options, seed));
  SpeedRun run;
  for (const TokenTimes& stream : streams) {
    run.first_tokens.push_back(stream.tokens.front() - stream.sent);
    for (size_t i = 1; i < stream.tokens.size(); ++i) {
      run.gaps.push_back(stream.tokens[i] - stream.tokens[i - 1]);
    }
  }
  if (test.kind == SpeedTest::Kind::kPrefill) {
    run.tokens_per_second = static_cast<double>(test.num_tokens) /
                            absl::ToDoubleSeconds(run.first_tokens[0]);
    return run;
  }
  CARAVAN_ASSIGN_OR_RETURN(run.tokens_per_second, DecodeRate(test, streams));
  return run;
}

absl::StatusOr<double> Limit(const SpeedTest& test,
                             const ModelBenchOptions& options) {
  if (!options.limit) return 0.0;
  return options.limit(test);
}

}  // namespace

std::string Name(const SpeedTest& test) {
  const bool decodes = test.kind == SpeedTest::Kind::kDecode;
  std::string name = absl::StrCat(decodes ? "tg" : "pp", test.num_tokens);
  if (test.depth > 0) absl::StrAppend(&name, " @ d", test.depth);
  if (test.num_streams > 1) absl::StrAppend(&name, " x", test.num_streams);
  return name;
}

absl::StatusOr<std::vector<SpeedResult>> RunModelBench(
    const HttpClient& client, const ModelBenchOptions& options) {
  std::vector<SpeedResult> results;
  results.reserve(options.tests.size());
  for (const SpeedTest& test : options.tests) results.push_back({test, {}});
  // Prompts differ, so that no server can know one from before.
  uint64_t seed = 0;
  for (int repetition = 0; repetition <= options.repetitions; ++repetition) {
    const bool is_warm_up = repetition == 0;
    for (SpeedResult& result : results) {
      const SpeedTest& test = result.test;
      if (options.on_progress) {
        options.on_progress(
            is_warm_up ? absl::StrCat("warm-up: ", Name(test))
                       : absl::StrCat("repetition ", repetition, " of ",
                                      options.repetitions, ": ", Name(test)));
      }
      CARAVAN_ASSIGN_OR_RETURN(const double before, Limit(test, options));
      CARAVAN_ASSIGN_OR_RETURN(SpeedRun run,
                               RunOnce(client, test, options, seed));
      CARAVAN_ASSIGN_OR_RETURN(const double after, Limit(test, options));
      run.limit = std::max(before, after);
      seed += static_cast<uint64_t>(test.num_streams);
      if (!is_warm_up) result.runs.push_back(std::move(run));
    }
  }
  return results;
}

}  // namespace caravan::cli
