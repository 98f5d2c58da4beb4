#include "coordinator/api/text_endpoints.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/simulated_backend.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::SimulatedBackend;
using ::caravan::testing::StatusIs;
using nlohmann::json;
using ::testing::HasSubstr;

class TextEndpointsTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::string> Encode(const char* body) {
    return Tokenize(json::parse(body), backend_.model(), ApiLimits());
  }
  absl::StatusOr<std::string> Decode(const char* body) {
    return Detokenize(json::parse(body), backend_.model(), ApiLimits());
  }
  SimulatedBackend backend_;
};

TEST_F(TextEndpointsTest, TokenizesText) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string answer,
                               Encode(R"({"prompt":"ab"})"));
  EXPECT_EQ(json::parse(answer), json::parse(R"({"count":3,
      "max_model_len":2048,"tokens":[256,97,98],"token_strs":null})"));
}

TEST_F(TextEndpointsTest, TokenizesMessages) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::string answer,
      Encode(R"({"messages":[{"role":"user","content":"a"}],
                 "return_token_strs":true,"model":"test-model"})"));
  EXPECT_EQ(json::parse(answer)["token_strs"],
            json::parse(R"(["<|im_start|>","a","<|im_end|>","<|im_start|>"])"));
}

TEST_F(TextEndpointsTest, Detokenizes) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string answer,
                               Decode(R"({"tokens":[256,97,255]})"));
  EXPECT_EQ(json::parse(answer), json::parse(R"({"prompt":"a\ufffd"})"));
}

TEST_F(TextEndpointsTest, RefusesByField) {
  EXPECT_THAT(Encode("{}"), StatusIs(absl::StatusCode::kInvalidArgument,
                                     HasSubstr("prompt is required")));
  EXPECT_THAT(Encode(R"({"prompt":"a","model":"x"})"),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Decode("{}"), StatusIs(absl::StatusCode::kInvalidArgument,
                                     HasSubstr("tokens is required")));
  EXPECT_THAT(
      Decode(R"({"tokens":[5000]})"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("token id 5000")));
}

}  // namespace
}  // namespace caravan::coordinator
