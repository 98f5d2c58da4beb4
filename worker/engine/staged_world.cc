#include "worker/engine/staged_world.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/status_macros.h"

namespace caravan::worker {
namespace {

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> host, Backend& backend,
                     int64_t most_values)
      : host_(std::move(host)), backend_(backend) {
    memory_.reserve(static_cast<size_t>(most_values) * sizeof(float));
  }

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  void Abort(const absl::Status& reason) override { host_->Abort(reason); }
  bool waits_for_peers() const override { return host_->waits_for_peers(); }

 private:
  absl::Status DoAllReduceSum(absl::Span<float> inout) override {
    const Tensor tensor = {inout.data(), DType::kFloat32, 1,
                           static_cast<int64_t>(inout.size())};
    CARAVAN_ASSIGN_OR_RETURN(const Tensor staged, CopyOut(tensor));
    CARAVAN_RETURN_IF_ERROR(host_->AllReduceSum(staged));
    return CopyIn(tensor);
  }
  absl::Status DoAllGather(absl::Span<const std::byte> mine,
                           absl::Span<std::byte> all) override {
    return host_->AllGather(mine, all);
  }
  absl::Status DoSend(absl::Span<const std::byte> data, int peer) override {
    return host_->Send(data, peer);
  }
  absl::Status DoRecv(absl::Span<std::byte> out, int peer) override {
    return host_->Recv(out, peer);
  }
  absl::Status DoSendTensor(const Tensor& tensor, int peer) override {
    CARAVAN_ASSIGN_OR_RETURN(const Tensor staged, CopyOut(tensor));
    return host_->SendTensor(staged, peer);
  }
  absl::Status DoRecvTensor(const Tensor& tensor, int peer) override {
    CARAVAN_RETURN_IF_ERROR(host_->RecvTensor(StagedAs(tensor), peer));
    return CopyIn(tensor);
  }
  absl::Status DoAllGatherTensor(const Tensor& parts) override {
    CARAVAN_ASSIGN_OR_RETURN(const Tensor staged, CopyOut(parts));
    CARAVAN_RETURN_IF_ERROR(host_->AllGatherTensor(staged));
    return CopyIn(parts);
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

  const std::unique_ptr<Communicator> host_;
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
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> host,
                             options_.host_world->CreateGroup(group));
    return std::make_unique<StagedCommunicator>(
        std::move(host), *options_.backend,
        std::max(group.most_values, group.most_sent_values));
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
