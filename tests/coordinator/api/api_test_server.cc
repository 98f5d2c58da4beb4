#include "tests/coordinator/api/api_test_server.h"

#include <atomic>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace caravan::testing {

void ApiServerTest::StartServer(
    const std::function<void(coordinator::ApiServerOptions*)>& change) {
  coordinator::ApiServerOptions options;
  options.port = 0;
  options.model = backend_.model();
  options.scheduler = &backend_.scheduler();
  change(&options);
  CARAVAN_ASSERT_OK_AND_ASSIGN(server_, coordinator::ApiServer::Start(options));
}

ReceivedResponse ApiServerTest::Post(const std::string& path,
                                     const std::string& body) {
  return HttpTestClient(port()).Post(path, body);
}

ReceivedResponse ApiServerTest::Get(const std::string& path) {
  return HttpTestClient(port()).Get(path);
}

void ApiServerTest::BesideOracles(int num_streams,
                                  const std::function<void()>& action) {
  std::atomic<bool> is_over = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < num_streams; ++i) {
    threads.emplace_back([this, &is_over, i] {
      const std::string prompt = absl::StrCat("oracle ", i);
      const std::string expected = backend_.ExpectedText(prompt, 100);
      do {
        const ReceivedResponse response =
            Post("/v1/completions",
                 absl::StrCat(R"({"prompt":")", prompt,
                              R"(","max_tokens":100,"stream":true,)",
                              R"("ignore_eos":true})"));
        ASSERT_EQ(response.status, 200) << response.body;
        EXPECT_EQ(TextOfStream(response), expected);
      } while (!is_over);
    });
  }
  action();
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(backend_.IsIdleSoon());
}

std::string TextOfStream(const ReceivedResponse& response) {
  std::string text;
  for (const std::string& event : response.events()) {
    if (event == "[DONE]") return text;
    const nlohmann::json chunk = nlohmann::json::parse(event, nullptr, false);
    if (chunk.is_discarded() || !chunk.contains("choices")) return "no chunk";
    for (const nlohmann::json& choice : chunk["choices"]) {
      text.append(choice.value("text", ""));
    }
  }
  return absl::StrCat(text, "(not done)");
}

}  // namespace caravan::testing
