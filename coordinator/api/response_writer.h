// Answers of a generation as JSON.
#ifndef CARAVAN_COORDINATOR_API_RESPONSE_WRITER_H_
#define CARAVAN_COORDINATOR_API_RESPONSE_WRITER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "coordinator/api/choice_stream.h"
#include "coordinator/api/generation_session.h"
#include "coordinator/api/prepared_generation.h"

namespace caravan::coordinator {

struct ResponseIdentity {
  std::string id;       // "cmpl-..."
  int64_t created = 0;  // Unix seconds
  std::string model;
};

// One form of answer. Const and thread-safe; each method returns one JSON
// object as text.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;

  // The answer in one piece: the deltas of every choice, merged.
  virtual std::string Whole(absl::Span<const ChoiceDelta> choices,
                            const Usage& usage) const = 0;
  // One event of a stream. `usage`: so far, when the client wants it in every
  // event.
  virtual std::string Chunk(const ChoiceDelta& delta,
                            const std::optional<Usage>& usage) const = 0;
  // The last event of a stream, when the client wants it.
  virtual std::string UsageChunk(const Usage& usage) const = 0;
};

// For /v1/completions and /v1/chat/completions. `generation` outlives the
// writer.
std::unique_ptr<ResponseWriter> MakeCompletionWriter(
    ResponseIdentity identity, const PreparedGeneration& generation);
std::unique_ptr<ResponseWriter> MakeChatWriter(
    ResponseIdentity identity, const PreparedGeneration& generation);

// `json` as a server-sent event; the stream's last event; a comment, which
// clients skip.
std::string ServerSentEvent(const std::string& json);
std::string LastServerSentEvent();
std::string ServerSentComment();

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_RESPONSE_WRITER_H_
