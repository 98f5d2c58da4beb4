#include "worker/engine/staged_world.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::worker {
namespace {

class StagedCommunicator final : public Communicator {
 public:
  struct Parts {
    std::unique_ptr<Communicator> host;  // of all members
    // Of those of this kind; null: there is no other.
    std::unique_ptr<Communicator> direct;
    std::vector<int> direct_ranks;  // of each member; -1: it is not in there
    int64_t most_values = 0;        // of one tensor
  };
  StagedCommunicator(Parts parts, Backend& backend)
      : parts_(std::move(parts)), backend_(backend) {
    memory_.reserve(static_cast<size_t>(parts_.most_values) * sizeof(float));
  }

  int rank() const override { return parts_.host->rank(); }
  int size() const override { return parts_.host->size(); }
  void Abort(const absl::Status& reason) override {
    parts_.host->Abort(reason);
    if (parts_.direct != nullptr) parts_.direct->Abort(reason);
  }
  bool waits_for_peers() const override {
    return parts_.host->waits_for_peers();
  }

 private:
  absl::Status DoAllReduceSum(absl::Span<float> inout) override {
    const Tensor tensor = {inout.data(), DType::kFloat32, 1,
                           static_cast<int64_t>(inout.size())};
    CARAVAN_ASSIGN_OR_RETURN(const Tensor staged, CopyOut(tensor));
    CARAVAN_RETURN_IF_ERROR(parts_.host->AllReduceSum(staged));
    return CopyIn(tensor);
  }
  absl::Status DoAllGather(absl::Span<const std::byte> mine,
                           absl::Span<std::byte> all) override {
    return parts_.host->AllGather(mine, all);
  }
  absl::Status DoSend(absl::Span<const std::byte> data, int peer) override {
    return parts_.host->Send(data, peer);
  }
  absl::Status DoRecv(absl::Span<std::byte> out, int peer) override {
    return parts_.host->Recv(out, peer);
  }
  absl::Status DoSendTensor(const Tensor& tensor, int peer) override {
    if (const int direct = DirectRank(peer); direct >= 0) {
      return parts_.direct->SendTensor(tensor, direct);
    }
    CARAVAN_ASSIGN_OR_RETURN(const Tensor staged, CopyOut(tensor));
    return parts_.host->SendTensor(staged, peer);
  }
  absl::Status DoRecvTensor(const Tensor& tensor, int peer) override {
    if (const int direct = DirectRank(peer); direct >= 0) {
      return parts_.direct->RecvTensor(tensor, direct);
    }
    CARAVAN_RETURN_IF_ERROR(parts_.host->RecvTensor(StagedAs(tensor), peer));
    return CopyIn(tensor);
  }
  absl::Status DoAllGatherTensor(const Tensor& parts) override {
    CARAVAN_ASSIGN_OR_RETURN(const Tensor staged, CopyOut(parts));
    CARAVAN_RETURN_IF_ERROR(parts_.host->AllGatherTensor(staged));
    return CopyIn(parts);
  }

  int DirectRank(int peer) const {
    return parts_.direct == nullptr ? -1 : parts_.direct_ranks[peer];
  }

  Tensor StagedAs(const Tensor& tensor) {
    memory_.resize(static_cast<size_t>(tensor.bytes()));
    Tensor staged = tensor;
    staged.data = memory_.data();
    return staged;
  }
  absl::StatusOr<Tensor> CopyOut(const Tensor& tensor) {
    const Tensor staged = StagedAs(tensor);
    CARAVAN_RETURN_IF_ERROR(backend_.CopyOut(tensor, absl::MakeSpan(memory_)));
    return staged;
  }
  absl::Status CopyIn(const Tensor& tensor) {
    return backend_.CopyIn(absl::MakeConstSpan(memory_), tensor);
  }

  const Parts parts_;
  Backend& backend_;
  std::vector<std::byte> memory_;
};

class StagedWorld final : public World {
 public:
  explicit StagedWorld(StagedWorldOptions options)
      : options_(std::move(options)) {}

  int rank() const override { return options_.device_world->rank(); }
  int size() const override { return options_.device_world->size(); }

  absl::StatusOr<std::unique_ptr<Communicator>> CreateGroup(
      const GroupOptions& group) override {
    const bool is_uniform =
        std::all_of(group.world_ranks.begin(), group.world_ranks.end(),
                    [this](int rank) { return IsOfMyKind(rank); });
    if (is_uniform) return options_.device_world->CreateGroup(group);
    StagedCommunicator::Parts parts;
    CARAVAN_ASSIGN_OR_RETURN(parts.host,
                             options_.host_world->CreateGroup(group));
    parts.most_values = std::max(group.most_values, group.most_sent_values);
    GroupOptions direct = group;
    direct.name = absl::StrCat(group.name, ".direct");
    direct.world_ranks.clear();
    for (const int member : group.world_ranks) {
      const int place = static_cast<int>(direct.world_ranks.size());
      parts.direct_ranks.push_back(IsOfMyKind(member) ? place : -1);
      if (IsOfMyKind(member)) direct.world_ranks.push_back(member);
    }
    if (direct.world_ranks.size() > 1) {
      CARAVAN_ASSIGN_OR_RETURN(parts.direct,
                               options_.device_world->CreateGroup(direct));
    }
    return std::make_unique<StagedCommunicator>(std::move(parts),
                                                *options_.backend);
  }

 private:
  // What is no rank at all is the group's own error.
  bool IsOfMyKind(int rank) const {
    return rank < 0 || rank >= size() || options_.same_kind[rank];
  }

  const StagedWorldOptions options_;
};

}  // namespace

std::unique_ptr<World> MakeStagedWorld(StagedWorldOptions options) {
  return std::make_unique<StagedWorld>(std::move(options));
}

}  // namespace caravan::worker
