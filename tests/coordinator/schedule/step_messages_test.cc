#include "coordinator/schedule/step_messages.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

using ::testing::ElementsAre;

TEST(StepMessagesTest, CarriesEverySamplingParameter) {
  const v1::SamplingParameters message = ToMessage({.temperature = 0.5f,
                                                    .top_k = 3,
                                                    .top_p = 0.25f,
                                                    .min_p = 0.125f,
                                                    .seed = 1ull << 63,
                                                    .logprobs = 4,
                                                    .prompt_logprobs = 0});
  EXPECT_EQ(message.temperature(), 0.5f);
  EXPECT_EQ(message.top_k(), 3);
  EXPECT_EQ(message.top_p(), 0.25f);
  EXPECT_EQ(message.min_p(), 0.125f);
  EXPECT_EQ(message.seed(), 1ull << 63);
  EXPECT_EQ(message.logprobs(), 4);
  EXPECT_EQ(message.prompt_logprobs(), 0);
  EXPECT_EQ(ToMessage({}).prompt_logprobs(), -1);
}

TEST(StepMessagesTest, ReadsLogprobs) {
  v1::TokenLogprobs message;
  message.set_id(5);
  message.set_logprob(-1.5f);
  message.add_top_ids(9);
  message.add_top_ids(2);
  message.add_top_logprobs(-0.5f);
  message.add_top_logprobs(-1.0f);
  const TokenLogprob logprob = FromMessage(message);
  EXPECT_EQ(logprob.id, 5);
  EXPECT_EQ(logprob.logprob, -1.5f);
  EXPECT_THAT(logprob.top_ids, ElementsAre(9, 2));
  EXPECT_THAT(logprob.top_logprobs, ElementsAre(-0.5f, -1.0f));
}

}  // namespace
}  // namespace caravan::coordinator
