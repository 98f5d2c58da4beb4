// Captured work: forks and joins, replays, and what a capture forbids.
#include <thread>
#include <vector>

#include "tests/emulated_device/tests/device_test_base.h"

namespace caravan::emulated {
namespace {

__global__ void Scale(float* values, float factor) {
  values[threadIdx.x] *= factor;
}
__global__ void Add(float* values, const float* terms) {
  values[threadIdx.x] += terms[threadIdx.x];
}

class GraphTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    for (cudaStream_t* stream : {&a_, &b_}) {
      ASSERT_EQ(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking),
                cudaSuccess);
    }
    for (cudaEvent_t* event : {&fork_, &join_}) {
      ASSERT_EQ(cudaEventCreateWithFlags(event, cudaEventDisableTiming),
                cudaSuccess);
    }
  }
  void TearDown() override {
    cudaGetLastError();
    for (const cudaEvent_t event : {fork_, join_}) cudaEventDestroy(event);
    for (const cudaStream_t stream : {a_, b_}) cudaStreamDestroy(stream);
    DeviceTest::TearDown();
  }
  void Begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    ASSERT_EQ(cudaStreamBeginCapture(a_, mode), cudaSuccess);
  }
  cudaError_t End() {
    cudaGraph_t graph = nullptr;
    const cudaError_t error = cudaStreamEndCapture(a_, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    return error;
  }
  cudaError_t Double(cudaStream_t stream) {
    return Launch(Scale, {dim3(1), dim3(32)}, stream, x_.data(), 2.0f);
  }

  const DeviceVector<float> x_{std::vector<float>(32, 1.0f)};
  const DeviceVector<float> y_{std::vector<float>(32, 10.0f)};
  cudaStream_t a_ = nullptr, b_ = nullptr;
  cudaEvent_t fork_ = nullptr, join_ = nullptr;
};

TEST_F(GraphTest, ReplaysForkedWork) {
  Begin();
  ASSERT_EQ(Double(a_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(fork_, a_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(b_, fork_, 0), cudaSuccess);
  ASSERT_EQ(Launch(Scale, {dim3(1), dim3(32)}, b_, y_.data(), 3.0f),
            cudaSuccess);
  ASSERT_EQ(cudaEventRecord(join_, b_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(a_, join_, 0), cudaSuccess);
  ASSERT_EQ(Launch(Add, {dim3(1), dim3(32)}, a_, x_.data(), y_.data()),
            cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(a_, &graph), cudaSuccess);
  size_t nodes = 0;
  ASSERT_EQ(cudaGraphGetNodes(graph, nullptr, &nodes), cudaSuccess);
  EXPECT_EQ(nodes, 3u);
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(x_.Get()[0], 1.0f);  // captured, not run
  ASSERT_EQ(cudaGraphLaunch(exec, a_), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(exec, b_), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(x_.Get()[0], (1 * 2 + 30) * 2 + 90);
  ASSERT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
}

TEST_F(GraphTest, CountsCallsAndNotWhatIsInGraphs) {
  const EnqueueCalls before = EnqueueCallsMade(0);
  const EnqueueCalls elsewhere = EnqueueCallsMade(1);
  Begin();
  ASSERT_EQ(Double(a_), cudaSuccess);
  ASSERT_EQ(Double(a_), cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(a_, &graph), cudaSuccess);
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(EnqueueCallsMade(0).operations, before.operations);
  ASSERT_EQ(cudaGraphLaunch(exec, a_), cudaSuccess);
  ASSERT_EQ(Double(a_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(join_, a_), cudaSuccess);
  EXPECT_EQ(EnqueueCallsMade(0).operations, before.operations + 1);
  EXPECT_EQ(EnqueueCallsMade(0).graphs, before.graphs + 1);
  EXPECT_EQ(EnqueueCallsMade(0).events, before.events + 1);
  EXPECT_EQ(EnqueueCallsMade(1).operations, elsewhere.operations);
  ASSERT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);  // it still runs
  ASSERT_EQ(cudaStreamSynchronize(a_), cudaSuccess);
  EXPECT_EQ(x_.Get()[0], 8);
}

TEST_F(GraphTest, InstantiationFailsWhereItIsToldTo) {
  InjectGraphError(0, cudaErrorMemoryAllocation);
  Begin();
  ASSERT_EQ(Double(a_), cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(a_, &graph), cudaSuccess);
  cudaGraphExec_t exec = nullptr;
  EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaErrorMemoryAllocation);
  InjectGraphError(0, cudaSuccess);
  EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

TEST_F(GraphTest, StreamsTellThatTheyCapture) {
  cudaStreamCaptureStatus status;
  ASSERT_EQ(cudaStreamIsCapturing(a_, &status), cudaSuccess);
  EXPECT_EQ(status, cudaStreamCaptureStatusNone);
  Begin();
  ASSERT_EQ(cudaStreamIsCapturing(a_, &status), cudaSuccess);
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  EXPECT_EQ(End(), cudaSuccess);
}

TEST_F(GraphTest, UnjoinedForkIsRefused) {
  Begin();
  ASSERT_EQ(cudaEventRecord(fork_, a_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(b_, fork_, 0), cudaSuccess);
  ASSERT_EQ(Double(b_), cudaSuccess);
  EXPECT_EQ(End(), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(Double(b_), cudaSuccess);  // no longer capturing
}

TEST_F(GraphTest, UnsafeCallsEndTheCapture) {
  void* memory = nullptr;
  Begin();
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(End(), cudaErrorStreamCaptureInvalidated);
  Begin();
  EXPECT_EQ(cudaStreamSynchronize(a_), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(End(), cudaErrorStreamCaptureInvalidated);
  Begin();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(End(), cudaErrorStreamCaptureInvalidated);
  Begin();
  EXPECT_EQ(Double(nullptr), cudaErrorStreamCaptureImplicit);
  EXPECT_EQ(End(), cudaErrorStreamCaptureInvalidated);
  Begin(cudaStreamCaptureModeRelaxed);
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(End(), cudaSuccess);
}

TEST_F(GraphTest, GlobalCaptureForbidsOtherThreads) {
  cudaError_t error = cudaSuccess;
  const auto query = [&] {
    std::thread([&] { error = cudaEventQuery(join_); }).join();
  };
  Begin();
  query();
  EXPECT_EQ(error, cudaSuccess);
  EXPECT_EQ(End(), cudaSuccess);
  Begin(cudaStreamCaptureModeGlobal);
  query();
  EXPECT_EQ(error, cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(End(), cudaErrorStreamCaptureInvalidated);
}

TEST_F(GraphTest, EventsDoNotCrossTheBorderOfACapture) {
  ASSERT_EQ(Double(b_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(fork_, b_), cudaSuccess);
  Begin();
  EXPECT_EQ(cudaStreamWaitEvent(a_, fork_, 0), cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(End(), cudaErrorStreamCaptureInvalidated);
  Begin();
  ASSERT_EQ(cudaEventRecord(join_, a_), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(join_), cudaErrorCapturedEvent);
  EXPECT_EQ(End(), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(b_), cudaSuccess);
}

TEST_F(GraphTest, PageableCopiesAreNotCaptured) {
  std::vector<float> host(32);
  Begin();
  EXPECT_EQ(cudaMemcpyAsync(x_.data(), host.data(), 32 * sizeof(float),
                            cudaMemcpyHostToDevice, a_),
            cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(End(), cudaSuccess);
}

}  // namespace
}  // namespace caravan::emulated
