#include "cli/bench.h"

#include <CLI/CLI.hpp>
#include <string>

#include "gtest/gtest.h"

namespace caravan::cli {
namespace {

int ExitCode(const std::string& line) {
  int exit_code = 0;
  CLI::App app;
  AddBenchCommand(app, exit_code);
  app.parse(line);
  return exit_code;
}

TEST(BenchCommandTest, RefusesWhatItCannotMeasure) {
  for (const char* line : {"bench model", "bench model m --url http://h:1",
                           "bench model m --output-len 1",
                           "bench model m --input-len 0 --output-len 0"}) {
    EXPECT_EQ(ExitCode(line), 1) << line;
  }
  for (const char* line :
       {"bench", "bench model m --concurrency 0",
        "bench model m --concurrency 1,x", "bench model m --repetitions 0",
        "bench model m --max-tokens 3"}) {
    EXPECT_THROW(ExitCode(line), CLI::ParseError) << line;
  }
}

}  // namespace
}  // namespace caravan::cli
