// absl::Status to grpc::Status and back: same code, same message.
#ifndef CARAVAN_BASE_GRPC_STATUS_H_
#define CARAVAN_BASE_GRPC_STATUS_H_

#include "absl/status/status.h"

namespace grpc {
class Status;
}  // namespace grpc

namespace caravan {

grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace caravan

#endif  // CARAVAN_BASE_GRPC_STATUS_H_
