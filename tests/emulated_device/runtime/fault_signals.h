// Bad accesses of kernels become their faults; those of the host are named.
#ifndef CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_FAULT_SIGNALS_H_
#define CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_FAULT_SIGNALS_H_

namespace caravan::emulated {

// For the calling thread, once; handlers run on a stack of their own, since the
// fault may be that a kernel's stack is full. Nothing under a sanitizer, which
// has handlers of its own.
void InstallFaultSignals();

}  // namespace caravan::emulated

#endif  // CARAVAN_TESTS_EMULATED_DEVICE_RUNTIME_FAULT_SIGNALS_H_
