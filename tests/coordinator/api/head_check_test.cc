#include "coordinator/api/head_check.h"

#include <string>

#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

RequestHead GoodHead() {
  RequestHead head;
  head.method = "POST";
  head.target = "/v1/completions";
  head.content_type = "application/json; charset=utf-8";
  head.content_length = 10;
  return head;
}

int FramingStatus(const RequestHead& head) {
  const auto response = CheckFraming(head, ApiLimits());
  return response.has_value() ? response->status : 0;
}

int MethodStatus(const RequestHead& head) {
  const auto response = CheckMethod(head, *FindRoute("/v1/completions"));
  return response.has_value() ? response->status : 0;
}

TEST(HeadCheckTest, PassesWhatIsGood) {
  EXPECT_EQ(FramingStatus(GoodHead()), 0);
  EXPECT_EQ(MethodStatus(GoodHead()), 0);
}

TEST(HeadCheckTest, RefusesFraming) {
  RequestHead head = GoodHead();
  head.target = "/" + std::string(8192, 'a');
  EXPECT_EQ(FramingStatus(head), 414);
  head = GoodHead();
  head.num_fields = 101;
  EXPECT_EQ(FramingStatus(head), 431);
  head = GoodHead();
  head.transfer_encoding = "xchunked";
  EXPECT_EQ(FramingStatus(head), 400);
  head.transfer_encoding = "gzip, chunked";
  EXPECT_EQ(FramingStatus(head), 400);
  head.transfer_encoding = "Chunked";
  EXPECT_EQ(FramingStatus(head), 0);
  head.content_encoding = "gzip";
  EXPECT_EQ(FramingStatus(head), 415);
  head = GoodHead();
  head.content_length = uint64_t{1} << 40;
  EXPECT_EQ(FramingStatus(head), 413);
}

TEST(HeadCheckTest, RefusesMethods) {
  RequestHead head = GoodHead();
  head.content_length.reset();
  EXPECT_EQ(MethodStatus(head), 411);
  head.is_chunked = true;
  EXPECT_EQ(MethodStatus(head), 0);
  head.content_type = "text/plain";
  EXPECT_EQ(MethodStatus(head), 415);
  head.content_type = "";
  EXPECT_EQ(MethodStatus(head), 415);
  head.method = "PUT";
  EXPECT_EQ(MethodStatus(head), 405);
  head.method = "OPTIONS";
  EXPECT_EQ(MethodStatus(head), 204);
}

TEST(HeadCheckTest, KeepsAUsableRequestId) {
  RequestHead head;
  head.request_id = "abc-1_2.3";
  EXPECT_EQ(RequestIdOf(head), "abc-1_2.3");
  for (const std::string& id : {std::string(), std::string("a\r\nb"),
                                std::string("a b"), std::string(129, 'a')}) {
    head.request_id = id;
    EXPECT_EQ(RequestIdOf(head).size(), 32);
  }
}

}  // namespace
}  // namespace caravan::coordinator
