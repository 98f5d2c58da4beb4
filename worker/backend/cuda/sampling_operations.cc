#include "worker/backend/cuda/sampling_operations.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "worker/backend/candidate_order.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/backend/cuda/linear_operations.h"
#include "worker/backend/cuda/shard_candidates.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kCandidateBytes = sizeof(DeviceCandidate);
constexpr float kInfinity = std::numeric_limits<float>::infinity();

int64_t PerPiece(const CandidateRequest& request) {
  return std::clamp(request.num_top, 0, kPieceLogits);
}

// Where the candidates of a request begin, and how many pieces give how many.
CandidatePlaces Place(absl::Span<const CandidateRequest> requests,
                      int64_t num_pieces) {
  CandidatePlaces places;
  for (const CandidateRequest& request : requests) {
    places.requests.push_back({.row = request.row,
                               .seed = request.seed,
                               .position = request.position,
                               .temperature = request.temperature,
                               .num_top = std::max(request.num_top, 0),
                               .noise = request.noise ? 1 : 0,
                               .slot = 0,
                               .first_candidate = places.num_candidates});
    places.num_candidates += num_pieces * PerPiece(request);
  }
  return places;
}

int64_t NumPieces(int64_t vocabulary_size) {
  return CandidateArguments{.cols = vocabulary_size}.num_pieces();
}

// The largest logit of each piece, and its winner if there is noise.
std::vector<DeviceCandidateRequest> PlaceChoices(
    absl::Span<const CandidateRequest> choices, int64_t num_pieces,
    int64_t first_slot) {
  std::vector<CandidateRequest> largest(choices.begin(), choices.end());
  for (CandidateRequest& request : largest) request.num_top = 1;
  CandidatePlaces places = Place(largest, num_pieces);
  int64_t slot = first_slot;
  for (DeviceCandidateRequest& request : places.requests) {
    request.slot = static_cast<int32_t>(slot++);
  }
  return std::move(places.requests);
}

void CheckRows(const Tensor& logits,
               absl::Span<const CandidateRequest> requests) {
  CheckFloats(logits, logits.rows, logits.cols);
  for (const CandidateRequest& request : requests) {
    CARAVAN_CHECK(request.row >= 0 && request.row < logits.rows);
  }
}

// What the kernel wrote for piece `piece` of a request.
ShardCandidates ReadPiece(const CandidateRequest& request, int64_t piece,
                          int64_t cols, const DeviceCandidate* top) {
  ShardCandidates result;
  const int64_t left = cols - piece * kPieceLogits;
  const int64_t count = std::min(PerPiece(request), left);
  for (int64_t i = 0; i < count; ++i) {
    result.top.push_back({top[i].id, top[i].value});
  }
  return result;
}

DeviceMassRequest ToDevice(const MassRequest& request) {
  // exp(-27.8) is less than 2^-40: below this logit the mass is 0.
  const double no_mass =
      static_cast<double>(request.reference) - 27.8 * request.temperature;
  const float bound = std::nextafter(static_cast<float>(no_mass), -kInfinity);
  return {.row = request.row,
          .reference = request.reference,
          .temperature = request.temperature,
          .least = request.least,
          // No token has a mass where nothing is finite.
          .threshold =
              std::isfinite(request.reference)
                  ? std::max(bound, std::nextafter(request.least, -kInfinity))
                  : kInfinity};
}

}  // namespace

absl::Status SamplingOperations::Reserve(int64_t vocabulary_size) {
  if (vocabulary_size == 0) return absl::OkStatus();
  CARAVAN_RETURN_IF_ERROR(requests_.Reserve(
      kMostRequests *
      static_cast<int64_t>(std::max(sizeof(DeviceCandidateRequest),
                                    sizeof(DeviceMassRequest)))));
  // The winner and all logits of each piece, so that there is room for two of
  // each choice as well.
  static_assert(2 * kMostRequests <= kPieceLogits + 1);
  const int64_t whole_vocabulary = CeilDivide(vocabulary_size, kPieceLogits) *
                                   (kPieceLogits + 1) * kCandidateBytes;
  const int64_t bytes = std::max(kResultBytes, whole_vocabulary);
  if (bytes <= results_.bytes()) return absl::OkStatus();
  CARAVAN_RETURN_IF_ERROR(context_.Wait());
  CARAVAN_ASSIGN_OR_RETURN(host_, StagingBuffer::Create(context_, bytes));
  CARAVAN_ASSIGN_OR_RETURN(results_, DeviceMemory::Create(bytes));
  return absl::OkStatus();
}

absl::StatusOr<size_t> SamplingOperations::SizeOfGroup(
    absl::Span<const CandidateRequest> requests, int64_t num_pieces) const {
  int64_t bytes = 0;
  size_t count = 0;
  for (const CandidateRequest& request : requests) {
    bytes += num_pieces * (1 + PerPiece(request)) * kCandidateBytes;
    if (bytes > results_.bytes() || count == kMostRequests) break;
    ++count;
  }
  if (count == 0) CARAVAN_RETURN_IF_ERROR(CheckRoom(bytes));
  return count;
}

absl::Status SamplingOperations::CheckRoom(int64_t bytes) const {
  if (bytes <= results_.bytes()) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "a larger vocabulary than was reserved: bytes of candidates=", bytes,
      " reserved=", results_.bytes()));
}

absl::Status SamplingOperations::Candidates(
    const Tensor& logits, int64_t first_id,
    absl::Span<const CandidateRequest> requests,
    absl::Span<ShardCandidates> results) {
  CARAVAN_CHECK(requests.size() == results.size());
  CheckRows(logits, requests);
  const int64_t num_pieces = NumPieces(logits.cols);
  for (size_t first = 0; first < requests.size();) {
    CARAVAN_ASSIGN_OR_RETURN(const size_t count,
                             SizeOfGroup(requests.subspan(first), num_pieces));
    CARAVAN_RETURN_IF_ERROR(CandidatesOfGroup(logits, first_id,
                                              requests.subspan(first, count),
                                              results.subspan(first, count)));
    first += count;
  }
  return absl::OkStatus();
}

absl::StatusOr<CandidateArguments> SamplingOperations::EnqueueSearch(
    const Tensor& logits, int64_t first_id,
    absl::Span<const DeviceCandidateRequest> uploaded) {
  CandidateArguments arguments = {
      .logits = logits.floats(),
      .cols = logits.cols,
      .first_id = first_id,
      .requests = uploaded.data(),
      .num_requests = static_cast<int>(uploaded.size())};
  arguments.winners = results_.As<DeviceCandidate>();
  arguments.top = arguments.winners +
                  arguments.num_requests * int64_t{arguments.num_pieces()};
  CARAVAN_RETURN_IF_ERROR(CudaStatus(
      FindCandidates(arguments, context_.stream()), "FindCandidates"));
  return arguments;
}

absl::Status SamplingOperations::CandidatesOfGroup(
    const Tensor& logits, int64_t first_id,
    absl::Span<const CandidateRequest> requests,
    absl::Span<ShardCandidates> results) {
  const int64_t num_pieces = NumPieces(logits.cols);
  const CandidatePlaces places = Place(requests, num_pieces);
  CARAVAN_ASSIGN_OR_RETURN(
      const DeviceCandidateRequest* const uploaded,
      requests_.UploadArray(absl::MakeConstSpan(places.requests)));
  CARAVAN_RETURN_IF_ERROR(
      EnqueueSearch(logits, first_id, {uploaded, places.requests.size()})
          .status());
  const int64_t num_winners =
      static_cast<int64_t>(requests.size()) * num_pieces;
  const int64_t bytes = (num_winners + places.num_candidates) * kCandidateBytes;
  CARAVAN_RETURN_IF_ERROR(host_->CopyFrom(results_.data(), bytes));
  CARAVAN_ASSIGN_OR_RETURN(const std::byte* const read, host_->Free());
  const auto* winners = reinterpret_cast<const DeviceCandidate*>(read);
  for (size_t i = 0; i < requests.size(); ++i) {
    const DeviceCandidate* top =
        winners + num_winners + places.requests[i].first_candidate;
    std::vector<ShardCandidates> pieces;
    for (int64_t piece = 0; piece < num_pieces; ++piece) {
      pieces.push_back(ReadPiece(requests[i], piece, logits.cols,
                                 top + piece * PerPiece(requests[i])));
      if (requests[i].noise) {
        const DeviceCandidate& winner = winners[i * num_pieces + piece];
        pieces.back().winner = {winner.id, winner.value};
      }
    }
    results[i] = MergeCandidates(pieces, requests[i]);
  }
  return absl::OkStatus();
}

absl::StatusOr<const DeviceCandidateRequest*> SamplingOperations::BringChoices(
    int64_t vocabulary_size, const Choices& choices) {
  CARAVAN_CHECK(std::ssize(choices.requests) <= kMostRequests);
  return requests_.UploadArray(absl::MakeConstSpan(PlaceChoices(
      choices.requests, NumPieces(vocabulary_size), choices.first_slot)));
}

absl::StatusOr<ChooseArguments> SamplingOperations::FindChoices(
    const Tensor& logits, int64_t first_id, const Choices& choices) {
  CheckRows(logits, choices.requests);
  const int64_t num_candidates =
      2 * std::ssize(choices.requests) * NumPieces(logits.cols);
  CARAVAN_RETURN_IF_ERROR(CheckRoom(num_candidates * kCandidateBytes));
  CARAVAN_ASSIGN_OR_RETURN(const DeviceCandidateRequest* const uploaded,
                           BringChoices(logits.cols, choices));
  CARAVAN_ASSIGN_OR_RETURN(
      const CandidateArguments found,
      EnqueueSearch(logits, first_id, {uploaded, choices.requests.size()}));
  return ChooseArguments{.requests = found.requests,
                         .num_requests = found.num_requests,
                         .num_pieces = found.num_pieces(),
                         .top = found.top,
                         .winners = found.winners};
}

absl::Status SamplingOperations::Masses(const Tensor& logits,
                                        absl::Span<const MassRequest> requests,
                                        absl::Span<uint64_t> masses) {
  CARAVAN_CHECK(requests.size() == masses.size());
  CheckFloats(logits, logits.rows, logits.cols);
  for (const MassRequest& request : requests) {
    CARAVAN_CHECK(request.row >= 0 && request.row < logits.rows);
    CARAVAN_CHECK(request.temperature > 0);
  }
  for (size_t first = 0; first < requests.size(); first += kMostRequests) {
    CARAVAN_RETURN_IF_ERROR(
        MassesOfGroup(logits, requests.subspan(first, kMostRequests),
                      masses.subspan(first, kMostRequests)));
  }
  return absl::OkStatus();
}

absl::Status SamplingOperations::MassesOfGroup(
    const Tensor& logits, absl::Span<const MassRequest> requests,
    absl::Span<uint64_t> masses) {
  static_assert(kMostRequests * sizeof(uint64_t) <= kResultBytes);
  std::vector<DeviceMassRequest> device_requests;
  for (const MassRequest& request : requests) {
    device_requests.push_back(ToDevice(request));
  }
  const int64_t bytes = static_cast<int64_t>(masses.size() * sizeof(uint64_t));
  CARAVAN_ASSIGN_OR_RETURN(
      const DeviceMassRequest* const uploaded,
      requests_.UploadArray(absl::MakeConstSpan(device_requests)));
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(cudaMemsetAsync(results_.data(), 0, bytes, context_.stream()),
                 "cudaMemsetAsync"));
  CARAVAN_RETURN_IF_ERROR(
      CudaStatus(SumMasses({.logits = logits.floats(),
                            .cols = logits.cols,
                            .requests = uploaded,
                            .num_requests = static_cast<int>(requests.size()),
                            .masses = results_.As<unsigned long long>()},
                           context_.stream()),
                 "SumMasses"));
  CARAVAN_RETURN_IF_ERROR(host_->CopyFrom(results_.data(), bytes));
  CARAVAN_ASSIGN_OR_RETURN(const std::byte* const read, host_->Free());
  std::memcpy(masses.data(), read, bytes);
  return absl::OkStatus();
}

}  // namespace caravan::worker::cuda
