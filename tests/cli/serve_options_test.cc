#include "cli/serve_options.h"

#include <CLI/CLI.hpp>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

using ::caravan::testing::IsOk;
using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

ServeOptions Cluster() {
  ServeOptions options;
  options.model = "m";
  options.nodes = 4;
  options.listen = "10.0.0.1:7000";
  options.insecure = true;
  return options;
}

TEST(IsLoopbackTest, KnowsThisMachinesAddresses) {
  for (const char* address :
       {"127.0.0.1", "127.0.0.1:80", "127.1.2.3:0", "localhost",
        "localhost:7000", "[::1]:7000", "::1"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address : {"10.0.0.1", "0.0.0.0:7000", "[::]:7000",
                              "node-a:7000", "", "[fe80::1]:1", "::"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

TEST(ValidateTest, OneMachineNeedsNothingMore) {
  ServeOptions options;
  EXPECT_THAT(Validate(options), IsOk());
  options.listen = "127.0.0.1:0";
  EXPECT_THAT(Validate(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                          HasSubstr("--nodes N")));
  options = {.port = 65536};
  EXPECT_THAT(Validate(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("65536")));
  for (const double share : {0.0, -1.0, 1.5, std::nan("")}) {
    options = {.memory_utilization = share};
    EXPECT_THAT(Validate(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("--memory-utilization")))
        << share;
    options = {.shutdown_timeout_seconds = share - 2};
    EXPECT_THAT(Validate(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("--shutdown-timeout")))
        << share;
  }
  options = {.kv_cache_memory = "4G"};
  EXPECT_THAT(Validate(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                          HasSubstr("--kv-cache-memory")));
}

TEST(ValidateTest, AClusterNeedsAnAddressAndTheWord) {
  EXPECT_THAT(Validate(Cluster()), IsOk());
  ServeOptions options = Cluster();
  options.insecure = false;
  EXPECT_THAT(Validate(options), StatusIs(absl::StatusCode::kFailedPrecondition,
                                          HasSubstr("--insecure")));
  options.listen = "127.0.0.1:7000";
  EXPECT_THAT(Validate(options), IsOk());
  for (const char* listen : {"", "10.0.0.1", "10.0.0.1:x", "10.0.0.1:70000"}) {
    options = Cluster();
    options.listen = listen;
    EXPECT_THAT(Validate(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("--listen")))
        << listen;
  }
}

TEST(AddModelOptionsTest, FlagsReachTheirMembersAndNonsenseIsRefused) {
  ServeOptions options;
  CLI::App app;
  AddModelOptions(app, options);
  app.parse(
      "my-model --tensor-parallel-size 3 --pp 2 --dtype float16 -q q4 "
      "--max-model-len 512 --activation-dtype bfloat16 --skip-tokenizer-init "
      "--enforce-eager --deterministic --kv-cache-dtype float16");
  EXPECT_EQ(options.model, "my-model");
  EXPECT_EQ(options.tp, 3);
  EXPECT_EQ(options.pp, 2);
  EXPECT_EQ(options.dtype, "float16");
  EXPECT_EQ(options.quantization, "q4");
  EXPECT_EQ(options.max_model_len, 512);
  EXPECT_EQ(options.activation_dtype, "bfloat16");
  EXPECT_EQ(options.kv_cache_dtype, "float16");
  EXPECT_TRUE(options.skip_tokenizer_init);
  EXPECT_TRUE(options.enforce_eager);
  EXPECT_FALSE(ServeOptions().enforce_eager);
  EXPECT_TRUE(options.deterministic);
  EXPECT_FALSE(ServeOptions().deterministic);
  for (const char* line :
       {"", "m --tp 0", "m --tp x", "m --dtype int8", "m --quantization q5",
        "m --activation-dtype float16", "m --activation-dtype",
        "m --kv-cache-dtype fp8", "m --max-num-seqs 0", "m --device tpu",
        "m --seed -1"}) {
    ServeOptions others;
    CLI::App other;
    AddModelOptions(other, others);
    EXPECT_THROW(other.parse(line), CLI::ParseError) << line;
  }
}

}  // namespace
}  // namespace caravan::cli
