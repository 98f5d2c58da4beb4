#include "coordinator/api/generation_exchange.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/api/silence.h"

namespace caravan::coordinator {
namespace {

namespace asio = boost::asio;

// What the client gets of a running session. Keeps the answer in one piece, or
// what of a stream is not sent yet.
class Answer {
 public:
  Answer(const GenerationSession& session, const ResponseWriter& writer,
         ResponseFraming framing, Silence silence)
      : session_(session),
        writer_(writer),
        framing_(std::move(framing)),
        silence_(silence),
        whole_(session.generation().num_choices()) {}

  bool is_stream() const { return session_.generation().parameters.stream; }

  void Add(std::vector<ChoiceDelta> deltas) {
    for (ChoiceDelta& delta : deltas) {
      if (is_stream()) {
        AddEvent(delta);
      } else if (delta.is_first) {
        whole_[delta.index] = std::move(delta);
      } else {
        whole_[delta.index].Append(std::move(delta));
      }
    }
  }

  // After everything: what is left to send.
  void End() {
    const GenerationParameters& parameters = session_.generation().parameters;
    if (!is_stream()) {
      bytes_ = FormatResponse(
          JsonResponse(writer_.Whole(whole_, session_.usage())), framing_);
      return;
    }
    if (parameters.include_usage) {
      events_.append(ServerSentEvent(writer_.UsageChunk(session_.usage())));
    }
    events_.append(LastServerSentEvent());
    stream_ended_ = true;
  }

  void EndWithError(const ApiError& error) {
    framing_.keep_alive = false;
    if (is_stream() && head_sent_) {
      events_.append(ServerSentEvent(ErrorJson(error)));
      stream_ended_ = true;
    } else {
      events_.clear();
      bytes_ = FormatResponse(ErrorResponse(error), framing_);
    }
  }

  // What to send now; empty: nothing. A stream that has been silent for too
  // long gets a comment.
  std::string TakeBytes() {
    if (events_.empty() && bytes_.empty() && !stream_ended_ &&
        patience() <= absl::ZeroDuration()) {
      events_ = ServerSentComment();
    }
    if (!events_.empty()) {
      if (!std::exchange(head_sent_, true)) {
        bytes_.append(FormatStreamHead(framing_));
      }
      bytes_.append(FormatStreamPiece(events_, framing_));
      events_.clear();
    }
    if (stream_ended_) bytes_.append(FormatStreamEnd(framing_));
    if (!bytes_.empty()) silence_.Break();
    return std::exchange(bytes_, std::string());
  }

  // After how long bytes should be taken even if nothing was added.
  absl::Duration patience() const {
    return is_stream() ? silence_.left() : absl::InfiniteDuration();
  }

  bool keep_alive() const { return framing_.keep_alive; }
  const std::string& request_id() const { return framing_.request_id; }

 private:
  void AddEvent(const ChoiceDelta& delta) {
    if (!delta.has_content()) return;
    std::optional<Usage> usage;
    if (session_.generation().parameters.continuous_usage) {
      usage = session_.usage();
      usage->completion_tokens = delta.completion_tokens;
    }
    events_.append(ServerSentEvent(writer_.Chunk(delta, usage)));
  }

  const GenerationSession& session_;
  const ResponseWriter& writer_;
  ResponseFraming framing_;
  Silence silence_;
  std::vector<ChoiceDelta> whole_;  // by choice, when not a stream
  std::string events_;              // not yet framed
  std::string bytes_;
  bool head_sent_ = false;
  bool stream_ended_ = false;
};

// Returns false when the client is gone.
asio::awaitable<bool> RunSession(ClientStream* stream,
                                 const ApiService* service,
                                 GenerationSession* session, Answer* answer) {
  for (;;) {
    absl::StatusOr<std::vector<ChoiceDelta>> deltas = session->Advance();
    bool is_over = session->done();
    if (deltas.ok()) {
      answer->Add(*std::move(deltas));
      if (is_over) answer->End();
    } else {
      answer->EndWithError(
          service->Report(deltas.status(), answer->request_id()));
      is_over = true;
    }
    std::string bytes = answer->TakeBytes();
    if (!bytes.empty()) {
      const bool is_taken = co_await stream->Write(std::move(bytes));
      if (!is_taken) co_return false;
    }
    if (is_over) co_return true;
    co_await stream->WaitForWake(answer->patience());
    if (stream->is_gone()) co_return false;
  }
}

}  // namespace

asio::awaitable<bool> ServeGeneration(std::shared_ptr<ClientStream> stream,
                                      const ApiService* service,
                                      PreparedGeneration generation,
                                      ResponseFraming framing) {
  const Silence silence(&service->clock(), service->limits().longest_silence);
  // The session tells the stream, from the scheduler's thread, as long as it
  // lives; it dies before the stream's last owner, this coroutine.
  absl::StatusOr<std::unique_ptr<GenerationSession>> session =
      service->StartGeneration(std::move(generation), framing.request_id,
                               [raw = stream.get()] { raw->Wake(); });
  if (!session.ok()) {
    const ApiError error =
        service->Report(session.status(), framing.request_id);
    co_return co_await stream->Write(
        FormatResponse(ErrorResponse(error), framing)) &&
        framing.keep_alive;
  }
  const std::unique_ptr<ResponseWriter> writer =
      service->MakeWriter(**session, framing.request_id);
  Answer answer(**session, *writer, framing, silence);
  stream->StartWatching();
  const bool is_answered =
      co_await RunSession(stream.get(), service, session->get(), &answer);
  // At once: what is left of the generation is cancelled here.
  session->reset();
  co_await stream->StopWatching();
  co_return is_answered&& answer.keep_alive();
}

}  // namespace caravan::coordinator
