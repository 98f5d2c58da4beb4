// What a test can tell the emulated cuBLASLt.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_CUBLASLT_CONTROL_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_CUBLASLT_CONTROL_H_

namespace caravan::emulated {

// From now on the heuristic has an algorithm for nothing, or again for all.
void RefuseMatmuls(bool all);

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_CUBLASLT_CONTROL_H_
