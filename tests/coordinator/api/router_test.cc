#include "coordinator/api/router.h"

#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

TEST(RouterTest, FindsPaths) {
  ASSERT_NE(FindRoute("/v1/completions"), nullptr);
  EXPECT_EQ(FindRoute("/v1/completions")->endpoint, Endpoint::kCompletions);
  EXPECT_EQ(FindRoute("/v1/models")->endpoint, Endpoint::kModels);
  EXPECT_EQ(FindRoute("/v1/models/a/b")->endpoint, Endpoint::kModel);
  EXPECT_EQ(FindRoute("/v1/models/"), nullptr);
  EXPECT_EQ(FindRoute("/v1/completions/"), nullptr);
  EXPECT_EQ(FindRoute("/v1/../etc/passwd"), nullptr);
  EXPECT_EQ(FindRoute("*"), nullptr);
  EXPECT_EQ(FindRoute(""), nullptr);
}

TEST(RouterTest, OnlyHealthAndVersionNeedNoKey) {
  EXPECT_TRUE(FindRoute("/health")->is_public);
  EXPECT_TRUE(FindRoute("/version")->is_public);
  for (const char* path :
       {"/v1/completions", "/v1/chat/completions", "/v1/models", "/v1/models/a",
        "/tokenize", "/detokenize", "/status"}) {
    EXPECT_FALSE(FindRoute(path)->is_public) << path;
  }
}

TEST(RouterTest, KnowsMethods) {
  EXPECT_TRUE(FindRoute("/health")->Allows("HEAD"));
  EXPECT_FALSE(FindRoute("/health")->Allows("POST"));
  EXPECT_TRUE(FindRoute("/tokenize")->Allows("POST"));
  EXPECT_FALSE(FindRoute("/tokenize")->Allows("GET"));
}

TEST(RouterTest, TakesThePathOfATarget) {
  EXPECT_EQ(PathOf("/a?b=c"), "/a");
  EXPECT_EQ(PathOf("http://host:1/a?b"), "/a");
  EXPECT_EQ(PathOf("HTTPS://host"), "/");
  EXPECT_EQ(PathOf("*"), "*");
  EXPECT_EQ(PathOf(""), "");
}

}  // namespace
}  // namespace caravan::coordinator
