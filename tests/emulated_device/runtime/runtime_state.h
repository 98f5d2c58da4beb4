// What the runtime calls share: devices, streams, events, graphs, and the work
// that is not done. Everything here is guarded by RuntimeMutex.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_RUNTIME_STATE_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_RUNTIME_STATE_H_

#include <driver_types.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulated_device/control.h"
#include "tests/emulated_device/runtime/operation.h"
#include "tests/emulated_device/runtime/work.h"
#include "tests/emulated_device/settings.h"

// The types behind CUDA's handles.
struct CUgraph_st {
  struct Node {
    int device;
    caravan::emulated::WorkFactory make;
    std::vector<size_t> after;
  };
  std::vector<Node> nodes;
};

struct CUgraphExec_st {
  CUgraph_st graph;
  caravan::emulated::OperationPtr last;  // launches of one graph are in order
};

namespace caravan::emulated {

// One cudaStreamBeginCapture and all streams that events drew into it.
struct Capture {
  CUgraph_st graph;
  cudaStream_t origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  bool valid = true;
};

}  // namespace caravan::emulated

struct CUstream_st {
  int device = 0;
  bool blocking = true;  // with respect to the device's legacy stream
  int priority = 0;
  caravan::emulated::OperationPtr last;
  std::shared_ptr<caravan::emulated::Capture> capture;
  std::vector<size_t> capture_last;  // nodes that the next one comes after
};

struct CUevent_st {
  int device = 0;
  bool timing = true;
  // What it was last recorded after: an operation, or nodes of a capture.
  caravan::emulated::OperationPtr operation;
  std::shared_ptr<double> seconds;  // when that was reached
  std::weak_ptr<caravan::emulated::Capture> capture;
  bool captured = false;
  std::vector<size_t> capture_nodes;
};

namespace caravan::emulated {

struct Device {
  cudaError_t error = cudaSuccess;  // sticky
  std::string fault;
  cudaStream_t legacy_stream = nullptr;
  std::set<int> peers;  // whose memory it may use
  size_t allocated_bytes = 0;
  EnqueueCalls enqueued;
  cudaError_t graph_error = cudaSuccess;  // of every cudaGraphInstantiate
};

struct RuntimeState {
  Device devices[kMaxDevices];
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<std::shared_ptr<Capture>> captures;
};

std::mutex& RuntimeMutex();
RuntimeState& Runtime();

// Remembers an error of the calling thread for cudaGetLastError.
cudaError_t Remember(cudaError_t error);
// The current device's sticky error, remembered.
cudaError_t DeviceError();

// The stream that a handle means: the default one of the current device too;
// null if it is none.
cudaStream_t ResolveStream(cudaStream_t handle);
// All that the next work in the stream comes after.
std::vector<OperationPtr> Predecessors(cudaStream_t stream);
// Makes the operation the stream's last.
OperationPtr Append(cudaStream_t stream, WorkFactory make);
size_t AppendNode(cudaStream_t stream, WorkFactory make);

// For calls that would disturb a capture in progress: an error if there is one
// that forbids it, which is then no longer valid.
cudaError_t CheckNoCapture();
// The same for work in the legacy stream.
cudaError_t CheckNoImplicitDependency(cudaStream_t stream);

void SetCurrentDevice(int device);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_RUNTIME_STATE_H_
