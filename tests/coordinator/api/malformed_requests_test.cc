// Requests that must be refused, each with its status and words, while other
// clients' streams run on unchanged.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/api_test_server.h"

namespace caravan::testing {
namespace {

using ::testing::HasSubstr;

struct BadBody {
  std::string body;
  int status;
  std::string message;
};

std::string Repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) absl::StrAppend(&all, i > 0 ? "," : "", text);
  return all;
}

std::vector<BadBody> BadCompletions() {
  const std::string mebibyte(1 << 20, 'a');
  std::vector<BadBody> cases = {
      // JSON.
      {"", 400, "empty"},
      {"{}", 400, "prompt is required"},
      {"[]", 400, "must be a JSON object"},
      {"null", 400, "must be a JSON object"},
      {R"({"prompt":"a")", 400, "not valid JSON"},
      {R"({"prompt":"a"} x)", 400, "not valid JSON"},
      {R"({'prompt':'a'})", 400, "not valid JSON"},
      {R"({"prompt":"a",})", 400, "not valid JSON"},
      {R"({"prompt":"a"/**/})", 400, "not valid JSON"},
      {std::string("{\0}", 3), 400, "not valid JSON"},
      {"\xff\xfe{\0}\0", 400, "not valid JSON"},
      {R"({"prompt":"a","prompt":"b"})", 400, "given twice"},
      {absl::StrCat("{\"prompt\":", std::string(100000, '['), "}"), 400,
       "nested deeper"},
      {absl::StrCat("{\"x\":[", Repeated("0", 1 << 20), ",1]}"), 400,
       "more than 1048576 values"},
      {R"({"prompt":"a","temperature":NaN})", 400, "'temperature'"},
      {R"({"prompt":"a","temperature":-Infinity})", 400, "'temperature'"},
      {R"({"prompt":"a","temperature":1e999})", 400, "'temperature'"},
      {absl::StrCat(R"({"prompt":"a","n":1)", std::string(1000, '0'), "}"), 400,
       "'n'"},
      // Text.
      {"{\"prompt\":\"\xff\"}", 400, "'prompt'"},
      {"{\"prompt\":\"\xed\xa0\x80\"}", 400, "'prompt'"},
      {R"({"prompt":"\ud800"})", 400, "'prompt'"},
      {R"({"prompt":"","add_special_tokens":false})", 400, "not be empty"},
      {absl::StrCat(R"({"prompt":")", mebibyte, "\"}"), 400,
       "maximum context length is 2048"},
      {absl::StrCat(R"({"prompt":")", std::string(2047, 'a'), "\"}"), 400,
       "at least 2048 input tokens"},
      // Prompts.
      {R"({"prompt":null})", 400, "prompt is required"},
      {R"({"prompt":7})", 400, "prompt must be"},
      {R"({"prompt":{"a":1}})", 400, "prompt must be"},
      {R"({"prompt":[]})", 400, "prompt must not be empty"},
      {R"({"prompt":[[]]})", 400, "prompt must not be empty"},
      {R"({"prompt":[-1]})", 400, "token ids only"},
      {R"({"prompt":[4096]})", 400, "token id 4096"},
      {R"({"prompt":[1.5]})", 400, "token ids only"},
      {R"({"prompt":[[[1]]]})", 400, "token ids only"},
      {absl::StrCat("{\"prompt\":[", Repeated("\"a\"", 1000), "]}"), 400,
       "at most 16 prompts, got 1000"},
      {absl::StrCat("{\"prompt\":[", Repeated("7", 3000), "]}"), 400,
       "at least 3000 input tokens"},
      // Other models.
      {R"({"model":"gpt-4","prompt":"a"})", 404, "`gpt-4` does not exist"},
      {R"({"model":"","prompt":"a"})", 404, "does not exist"},
      {R"({"model":"../../etc/passwd","prompt":"a"})", 404, "does not exist"},
      {R"({"model":["test-model"],"prompt":"a"})", 400, "model must be"},
      // Too long.
      {R"({"prompt":"a","max_tokens":2047})", 400, "is too large: 2047"},
      {R"({"prompt":"a","max_tokens":9223372036854775807})", 400, "too large"},
      {R"({"prompt":"a","max_tokens":0})", 400, "max_tokens"},
  };
  // One field each; generation_parameters_test.cc has them all.
  const std::pair<const char*, const char*> fields[] = {
      {"max_tokens", "-1"},
      {"max_tokens", "1.5"},
      {"max_tokens", "\"5\""},
      {"max_tokens", "1e30"},
      {"n", "0"},
      {"n", "1000000000"},
      {"n", "null5"},
      {"best_of", "2"},
      {"temperature", "-0.1"},
      {"temperature", "\"hot\""},
      {"temperature", "1e38"},
      {"top_p", "0"},
      {"top_p", "1.0000001"},
      {"top_k", "-2"},
      {"top_k", "2147483648"},
      {"min_p", "-1"},
      {"seed", "1e30"},
      {"seed", "18446744073709551616"},
      {"stop", "\"\""},
      {"stop", "{}"},
      {"stop_token_ids", "[-1]"},
      {"stop_token_ids", "[4096]"},
      {"logprobs", "21"},
      {"logprobs", "-1"},
      {"echo", "1"},
      {"stream", "\"yes\""},
      {"stream_options", "{}"},
      {"logit_bias", "{\"5\":101}"},
      {"presence_penalty", "3"},
      {"frequency_penalty", "-3"},
      {"suffix", "\"b\""},
      {"ignore_eos", "\"no\""},
      {"tools", "[{}]"},
      {"guided_json", "{}"},
  };
  for (const auto& [name, value] : fields) {
    cases.push_back(
        {absl::StrCat(R"({"prompt":"a",")", name, "\":", value, "}"), 400,
         name});
  }
  return cases;
}

std::vector<BadBody> BadChats() {
  const std::string user = R"({"role":"user","content":"a"})";
  return {
      {"{}", 400, "messages is required"},
      {R"({"messages":[]})", 400, "messages must not be empty"},
      {R"({"messages":"a"})", 400, "messages must be an array"},
      {R"({"messages":[1]})", 400, "messages[0]"},
      {R"({"messages":[{"role":"root","content":"a"}]})", 400, "role"},
      {R"({"messages":[{"role":"user"}]})", 400, "content is required"},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url",
           "image_url":{"url":"http://127.0.0.1:1/"}}]}]})",
       400, "type text"},
      {absl::StrCat(R"({"messages":[)", Repeated(user, 5000), "]}"), 400,
       "at most 4096 messages"},
      {absl::StrCat(R"({"messages":[)", user, R"(],"max_tokens":5000})"), 400,
       "too large"},
      {absl::StrCat(R"({"messages":[)", user, R"(],"top_logprobs":2})"), 400,
       "top_logprobs"},
      {R"({"messages":[{"role":"user","content":"unrenderable"}]})", 400,
       "no place"},
      {absl::StrCat(R"({"messages":[)", user, R"(],"model":"x"})"), 404,
       "does not exist"},
  };
}

class MalformedRequestsTest : public ApiServerTest {
 protected:
  void ExpectRefusals(const std::string& path,
                      const std::vector<BadBody>& cases) {
    HttpTestClient client(port());  // refusals keep the connection
    for (const BadBody& bad : cases) {
      const ReceivedResponse response = client.Post(path, bad.body);
      const std::string shown = bad.body.substr(0, 100);
      EXPECT_EQ(response.status, bad.status) << shown;
      EXPECT_THAT(response.error_message(), HasSubstr(bad.message)) << shown;
      EXPECT_LT(response.body.size(), 1024) << shown;
    }
  }
};

TEST_F(MalformedRequestsTest, BodiesAreRefusedBesideOracles) {
  StartServer();
  BesideOracles(3, [this] {
    ExpectRefusals("/v1/completions", BadCompletions());
    ExpectRefusals("/v1/chat/completions", BadChats());
    ExpectRefusals("/tokenize", {{"{}", 400, "prompt is required"},
                                 {R"({"prompt":7})", 400, "must be a string"}});
    ExpectRefusals("/detokenize", {{R"({"tokens":"a"})", 400, "token ids"},
                                   {R"({"tokens":[-1]})", 400, "token ids"}});
  });
}

struct BadBytes {
  std::string bytes;
  int status;  // 0: closed without an answer
};

std::vector<BadBytes> BadHttp() {
  const std::string head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\n";
  const std::string json_head =
      absl::StrCat(head, "Content-Type: application/json\r\n");
  const std::string chunked =
      absl::StrCat(json_head, "Transfer-Encoding: chunked\r\n\r\n");
  std::string many_fields = "GET /health HTTP/1.1\r\n";
  for (int i = 0; i < 101; ++i) absl::StrAppend(&many_fields, "A: b\r\n");
  return {
      {"\r\n\r\n\r\n", 400},
      {"hello\r\n\r\n", 400},
      {"\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03\r\n\r\n", 400},  // TLS
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"GET /health HTTP/9.9\r\n\r\n", 400},
      {"GET /health\r\n\r\n", 400},
      {"GET  HTTP/1.1\r\n\r\n", 400},
      {"GET /health HTTP/1.1\nHost: a\n\n", 400},
      {"GET /health HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {std::string("GET /health HTTP/1.1\r\nA: b\0c\r\n\r\n", 33), 400},
      {"GET /he\x01lth HTTP/1.1\r\n\r\n", 400},
      {absl::StrCat(many_fields, "\r\n"), 431},
      {absl::StrCat("GET /health HTTP/1.1\r\nA: ", std::string(20000, 'b'),
                    "\r\n\r\n"),
       431},
      {absl::StrCat("GET /", std::string(10000, 'a'), " HTTP/1.1\r\n\r\n"),
       414},
      {absl::StrCat("GET /", std::string(64 * 1024, 'a'), " HTTP/1.1\r\n\r\n"),
       414},
      {absl::StrCat(json_head, "\r\n"), 411},
      {absl::StrCat(json_head, "Content-Length: -1\r\n\r\n"), 400},
      {absl::StrCat(json_head, "Content-Length: +1\r\n\r\n{"), 400},
      {absl::StrCat(json_head, "Content-Length: 0x10\r\n\r\n"), 400},
      {absl::StrCat(json_head, "Content-Length: 99999999999999999999\r\n\r\n"),
       400},
      {absl::StrCat(json_head, "Content-Length: 1099511627776\r\n\r\n"), 413},
      {absl::StrCat(json_head, "Content-Length: 4194305\r\n\r\n"), 413},
      {absl::StrCat(json_head, "Content-Length: 2\r\nContent-Length: 3\r\n\r\n",
                    "{}"),
       400},
      {absl::StrCat(json_head, "Content-Length: 2\r\n",
                    "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
       400},
      {absl::StrCat(json_head, "Transfer-Encoding: xchunked\r\n\r\n"), 400},
      {absl::StrCat(json_head, "Transfer-Encoding: gzip, chunked\r\n\r\n"),
       400},
      {absl::StrCat(json_head, "Content-Encoding: gzip\r\n",
                    "Content-Length: 2\r\n\r\n{}"),
       415},
      {absl::StrCat(head, "Content-Type: text/plain\r\n",
                    "Content-Length: 2\r\n\r\n{}"),
       415},
      {absl::StrCat(head, "Content-Length: 2\r\n\r\n{}"), 415},
      {absl::StrCat(chunked, "-2\r\n{}\r\n0\r\n\r\n"), 400},
      {absl::StrCat(chunked, "0x2\r\n{}\r\n0\r\n\r\n"), 400},
      {absl::StrCat(chunked, "11111111111111111\r\n"), 400},
      {absl::StrCat(chunked, "2\r\n{}xx0\r\n\r\n"), 400},
      {absl::StrCat(chunked, "500000\r\n", std::string(0x500000, ' ')), 413},
      {"POST /nothing HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 404},
      {"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404},
      {"GET /%00 HTTP/1.1\r\n\r\n", 404},
      {"GET /v1/completions HTTP/1.1\r\n\r\n", 405},
      {"DELETE /v1/models HTTP/1.1\r\n\r\n", 405},
      {"BREW /health HTTP/1.1\r\n\r\n", 405},
  };
}

TEST_F(MalformedRequestsTest, BytesAreRefusedBesideOracles) {
  StartServer();
  BesideOracles(3, [this] {
    for (const BadBytes& bad : BadHttp()) {
      HttpTestClient client(port());
      client.Send(bad.bytes);
      const ReceivedResponse response = client.Receive();
      const std::string shown = bad.bytes.substr(0, 200);
      EXPECT_EQ(response.status, bad.status) << shown;
      if (bad.status != 0) {
        EXPECT_NE(response.error_message(), "") << shown;
      }
    }
  });
}

TEST_F(MalformedRequestsTest, AMillionTinyChunksAreOnlyABody) {
  StartServer();
  std::string bytes =
      "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 1000000; ++i) bytes.append("1\r\n \r\n");
  bytes.append("0\r\n\r\n");
  HttpTestClient client(port());
  client.Send(bytes);
  const ReceivedResponse response = client.Receive();
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.error_message(), HasSubstr("not valid JSON"));
}

}  // namespace
}  // namespace caravan::testing
