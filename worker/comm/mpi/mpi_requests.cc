#include "worker/comm/mpi/mpi_requests.h"

#include <mpi.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace caravan::worker {
namespace {

void Complete(TransferBatch& batch, Transfer& transfer, absl::Status status) {
  const bool failed = !status.ok();
  transfer.status = std::move(status);
  transfer.done.store(true);
  if (failed) batch.failed.store(true);  // last: it sends readers to the others
  const bool last = batch.remaining.fetch_sub(1) == 1;
  const bool awaited = batch.direction == TransferBatch::Direction::kReceive;
  if (failed || (last && awaited)) batch.waiter->Notify();
}

}  // namespace

absl::Status MpiStatus(const char* call, int code) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  return absl::UnavailableError(absl::StrCat(call, " failed: code=", code, " ",
                                             absl::string_view(text, length)));
}

// Parallel arrays, as MPI_Testsome wants the requests in one.
struct MpiRequests::Active {
  std::vector<MPI_Request> requests;
  std::vector<Owner> owners;
  std::vector<int> indices;          // MPI_Testsome's answer
  std::vector<MPI_Status> statuses;  // with it

  void Add(MPI_Request request, const Owner& owner) {
    requests.push_back(request);
    owners.push_back(owner);
  }
};

MpiRequests::MpiRequests(BufferPool& pool)
    : pool_(pool), active_(std::make_unique<Active>()) {}

MpiRequests::~MpiRequests() = default;

bool MpiRequests::empty() const {
  return awaited_.empty() && active_->requests.empty();
}

void MpiRequests::Begin(const SharedBatch& batch) {
  for (Transfer& transfer : batch->transfers) {
    if (batch->direction == TransferBatch::Direction::kSend) {
      BeginSend({batch, &transfer});
    } else {
      awaited_.push_back({batch, &transfer});
    }
  }
}

void MpiRequests::BeginSend(const Owner& owner) {
  const Transfer& transfer = *owner.transfer;
  MPI_Request request = MPI_REQUEST_NULL;
  const int code = MPI_Isend(
      transfer.buffer->data(), static_cast<int>(transfer.buffer->bytes()),
      MPI_BYTE, transfer.world_peer, transfer.tag, MPI_COMM_WORLD, &request);
  if (code != MPI_SUCCESS) {
    Complete(*owner.batch, *owner.transfer, MpiStatus("MPI_Isend", code));
    return;
  }
  active_->Add(request, owner);
}

bool MpiRequests::Poll() {
  const bool matched = PollAwaited();
  const bool completed = PollActive();
  return matched || completed;
}

bool MpiRequests::PollAwaited() {
  bool matched = false;
  for (size_t i = 0; i < awaited_.size();) {
    if (!Match(awaited_[i])) {
      ++i;
      continue;
    }
    matched = true;
    awaited_.erase(awaited_.begin() + i);
  }
  return matched;
}

bool MpiRequests::Match(const Owner& owner) {
  Transfer& transfer = *owner.transfer;
  int found = 0;
  MPI_Message message = MPI_MESSAGE_NULL;
  MPI_Status status;
  absl::Status result = MpiStatus(
      "MPI_Improbe", MPI_Improbe(transfer.world_peer, transfer.tag,
                                 MPI_COMM_WORLD, &found, &message, &status));
  if (result.ok() && !found) return false;
  int bytes = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  if (result.ok()) {
    result =
        MpiStatus("MPI_Get_count", MPI_Get_count(&status, MPI_BYTE, &bytes));
  }
  if (result.ok()) {
    transfer.buffer = pool_.Acquire(bytes);
    result =
        transfer.buffer == nullptr
            ? owner.batch->waiter->OutOfMemory(bytes)
            : MpiStatus("MPI_Imrecv", MPI_Imrecv(transfer.buffer->data(), bytes,
                                                 MPI_BYTE, &message, &request));
  }
  if (result.ok()) {
    active_->Add(request, owner);
  } else {
    Complete(*owner.batch, transfer, std::move(result));
  }
  return true;
}

bool MpiRequests::PollActive() {
  Active& active = *active_;
  if (active.requests.empty()) return false;
  const int count = static_cast<int>(active.requests.size());
  active.indices.resize(count);
  active.statuses.resize(count);
  int done = MPI_UNDEFINED;
  const int code = MPI_Testsome(count, active.requests.data(), &done,
                                active.indices.data(), active.statuses.data());
  // Open MPI returns the first failed request's error instead of
  // MPI_ERR_IN_STATUS, so `code` only says where to look.
  if (done == MPI_UNDEFINED || done == 0) {
    if (code != MPI_SUCCESS) FailAll(MpiStatus("MPI_Testsome", code));
    return code != MPI_SUCCESS;
  }
  for (int i = 0; i < done; ++i) {
    const int index = active.indices[i];
    const int error =
        code == MPI_SUCCESS ? MPI_SUCCESS : active.statuses[i].MPI_ERROR;
    // In case that a failed request is kept.
    if (active.requests[index] != MPI_REQUEST_NULL) {
      MPI_Request_free(&active.requests[index]);
    }
    Owner& owner = active.owners[index];
    Complete(*owner.batch, *owner.transfer, MpiStatus("MPI transfer", error));
    owner.transfer = nullptr;
  }
  DropCompleted();
  return true;
}

void MpiRequests::FailAll(const absl::Status& status) {
  for (Owner& owner : active_->owners) {
    kept_.push_back(owner.batch);
    Complete(*owner.batch, *owner.transfer, status);
    owner.transfer = nullptr;
  }
  DropCompleted();
}

void MpiRequests::DropCompleted() {
  Active& active = *active_;
  size_t kept = 0;
  for (size_t i = 0; i < active.requests.size(); ++i) {
    if (active.owners[i].transfer == nullptr) continue;
    if (kept != i) {
      active.requests[kept] = active.requests[i];
      active.owners[kept] = std::move(active.owners[i]);
    }
    ++kept;
  }
  active.requests.resize(kept);
  active.owners.resize(kept);
}

void MpiRequests::Abandon(const SharedBatch& batch) {
  std::erase_if(awaited_,
                [&](const Owner& owner) { return owner.batch == batch; });
  for (size_t i = 0; i < active_->requests.size(); ++i) {
    if (active_->owners[i].batch != batch) continue;
    kept_.push_back(batch);
    MPI_Request_free(&active_->requests[i]);
    active_->owners[i].transfer = nullptr;
  }
  DropCompleted();
}

}  // namespace caravan::worker
