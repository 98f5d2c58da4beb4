#include "tests/worker/comm/nccl/on_device_world.h"

#include <cuda_runtime_api.h>

#include <functional>
#include <utility>

#include "base/status_macros.h"
#include "worker/backend/cuda/cuda_status.h"
#include "worker/backend/cuda/device_memory.h"

namespace caravan::worker {
namespace {

using cuda::CudaStatus;

class OnDeviceCommunicator final : public Communicator {
 public:
  OnDeviceCommunicator(std::shared_ptr<cuda::DeviceContext> context,
                       std::unique_ptr<Communicator> group)
      : context_(std::move(context)), group_(std::move(group)) {}

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  void Abort(const absl::Status& reason) override { group_->Abort(reason); }
  bool waits_for_peers() const override { return group_->size() > 1; }

 private:
  absl::Status DoAllReduceSum(absl::Span<float> inout) override {
    const Tensor tensor = {inout.data(), DType::kFloat32, 1,
                           static_cast<int64_t>(inout.size())};
    return OnDevice(tensor, [this](const Tensor& device) {
      return group_->AllReduceSum(device);
    });
  }
  absl::Status DoAllGather(absl::Span<const std::byte> mine,
                           absl::Span<std::byte> all) override {
    return group_->AllGather(mine, all);
  }
  absl::Status DoSend(absl::Span<const std::byte> data, int peer) override {
    return group_->Send(data, peer);
  }
  absl::Status DoRecv(absl::Span<std::byte> out, int peer) override {
    return group_->Recv(out, peer);
  }
  absl::Status DoSendTensor(const Tensor& tensor, int peer) override {
    return OnDevice(tensor, [&](const Tensor& device) {
      return group_->SendTensor(device, peer);
    });
  }
  absl::Status DoRecvTensor(const Tensor& tensor, int peer) override {
    return OnDevice(tensor, [&](const Tensor& device) {
      return group_->RecvTensor(device, peer);
    });
  }
  absl::Status DoAllGatherTensor(const Tensor& parts) override {
    return OnDevice(parts, [this](const Tensor& device) {
      return group_->AllGatherTensor(device);
    });
  }

  absl::Status OnDevice(const Tensor& tensor,
                        const std::function<absl::Status(Tensor)>& call) {
    CARAVAN_ASSIGN_OR_RETURN(cuda::DeviceMemory memory,
                             cuda::DeviceMemory::Create(tensor.bytes()));
    const auto copy = [&](void* to, const void* from, cudaMemcpyKind kind) {
      return CudaStatus(
          cudaMemcpyAsync(to, from, tensor.bytes(), kind, context_->stream()),
          "cudaMemcpyAsync");
    };
    Tensor device = tensor;
    device.data = memory.data();
    if (tensor.bytes() > 0) {
      CARAVAN_RETURN_IF_ERROR(
          copy(device.data, tensor.data, cudaMemcpyHostToDevice));
    }
    CARAVAN_RETURN_IF_ERROR(call(device));
    CARAVAN_RETURN_IF_ERROR(context_->Wait());
    if (tensor.bytes() == 0) return absl::OkStatus();
    CARAVAN_RETURN_IF_ERROR(
        copy(tensor.data, device.data, cudaMemcpyDeviceToHost));
    return context_->Wait();
  }

  const std::shared_ptr<cuda::DeviceContext> context_;
  const std::unique_ptr<Communicator> group_;
};

class OnDeviceWorld final : public World {
 public:
  OnDeviceWorld(std::shared_ptr<cuda::DeviceContext> context, World& world)
      : context_(std::move(context)), world_(world) {}

  int rank() const override { return world_.rank(); }
  int size() const override { return world_.size(); }
  absl::StatusOr<std::unique_ptr<Communicator>> CreateGroup(
      const GroupOptions& options) override {
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> group,
                             world_.CreateGroup(options));
    return std::make_unique<OnDeviceCommunicator>(context_, std::move(group));
  }

 private:
  const std::shared_ptr<cuda::DeviceContext> context_;
  World& world_;
};

}  // namespace

std::unique_ptr<World> MakeOnDeviceWorld(
    std::shared_ptr<cuda::DeviceContext> context, World& world) {
  return std::make_unique<OnDeviceWorld>(std::move(context), world);
}

}  // namespace caravan::worker
