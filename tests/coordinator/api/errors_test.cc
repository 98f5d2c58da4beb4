#include "coordinator/api/errors.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ErrorsTest, EveryCodeHasItsHttpStatus) {
  EXPECT_EQ(ToApiError(absl::InvalidArgumentError("x")).http_status, 400);
  EXPECT_EQ(ToApiError(absl::UnauthenticatedError("x")).http_status, 401);
  EXPECT_EQ(ToApiError(absl::NotFoundError("x")).http_status, 404);
  EXPECT_EQ(ToApiError(absl::ResourceExhaustedError("x")).http_status, 429);
  EXPECT_EQ(ToApiError(absl::UnavailableError("x")).http_status, 503);
  EXPECT_EQ(ToApiError(absl::AbortedError("x")).http_status, 503);
  EXPECT_EQ(ToApiError(absl::InternalError("x")).http_status, 500);
  EXPECT_EQ(ToApiError(absl::UnknownError("x")).http_status, 500);
}

TEST(ErrorsTest, NamesTheField) {
  const ApiError error =
      ToApiError(FieldError("top_p", "top_p is wrong", "some_code"));
  EXPECT_EQ(nlohmann::json::parse(ErrorJson(error)),
            nlohmann::json::parse(R"({"error":{
                "message":"top_p is wrong","type":"invalid_request_error",
                "param":"top_p","code":"some_code"}})"));
}

TEST(ErrorsTest, WordsAnUnknownModelAsVllm) {
  const ApiError error = ToApiError(UnknownModelError("x"));
  EXPECT_EQ(error.http_status, 404);
  EXPECT_EQ(error.message, "The model `x` does not exist.");
  EXPECT_EQ(error.param, "model");
}

TEST(ErrorsTest, KeepsInternalTextInside) {
  const ApiError error = ToApiError(absl::InternalError("shm /secret"));
  EXPECT_THAT(error.message, Not(HasSubstr("secret")));
  EXPECT_EQ(error.type, "server_error");
}

TEST(ErrorsTest, IsJsonWhateverTheMessageHolds) {
  const auto parsed = nlohmann::json::parse(
      ErrorJson(HttpError(400, "quote \" line\n bad \xff")));
  EXPECT_EQ(parsed["error"]["message"], "quote \" line\n bad \xef\xbf\xbd");
  EXPECT_TRUE(parsed["error"]["param"].is_null());
}

}  // namespace
}  // namespace caravan::coordinator
