// A client that says exactly what a test wants it to say.
#ifndef CARAVAN_TESTS_COORDINATOR_API_HTTP_TEST_CLIENT_H_
#define CARAVAN_TESTS_COORDINATOR_API_HTTP_TEST_CLIENT_H_

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace caravan::testing {

struct ReceivedResponse {
  int status = 0;  // 0: the connection ended before a whole answer
  std::map<std::string, std::string> fields;  // names in lower case
  std::string body;                           // without chunk framing

  nlohmann::json json() const;  // null when it is none
  std::string error_message() const;
  // The data of each event of a stream.
  std::vector<std::string> events() const;
};

// One connection to 127.0.0.1. Every wait ends after ten seconds.
class HttpTestClient final {
 public:
  explicit HttpTestClient(int port);
  ~HttpTestClient();
  HttpTestClient(const HttpTestClient&) = delete;
  HttpTestClient& operator=(const HttpTestClient&) = delete;

  // Returns false when the server has closed.
  bool Send(const std::string& bytes);
  ReceivedResponse Receive();
  // At least so much of the raw answer, or all of it.
  std::string ReceiveBytes(size_t least);
  // Whether the server closes, whatever it sends before.
  bool EndsSoon();
  // Whether the server closes without sending more.
  bool IsClosedByServer() { return EndsSoon() && received_.empty(); }

  void HalfClose();  // no more is sent
  void Close();
  void Reset();  // closes with RST
  // Makes the kernel keep little for this client.
  void ShrinkReceiveBuffer();

  ReceivedResponse Get(const std::string& path,
                       const std::string& more_fields = "");
  ReceivedResponse Post(const std::string& path, const std::string& body,
                        const std::string& more_fields = "");

 private:
  bool Fill();  // reads more; false at the end or after the deadline
  std::string TakeLine();
  std::string TakeBytes(size_t count);

  int socket_ = -1;
  std::string received_;
  bool at_end_ = false;
};

std::string PostText(const std::string& path, const std::string& body,
                     const std::string& more_fields = "");

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_COORDINATOR_API_HTTP_TEST_CLIENT_H_
