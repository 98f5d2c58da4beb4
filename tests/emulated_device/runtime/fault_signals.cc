#include "tests/emulated_device/runtime/fault_signals.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "tests/emulated_device/engine/grid_run.h"
#include "tests/emulated_device/engine/sanitizer.h"
#include "tests/emulated_device/runtime/device_memory.h"

namespace caravan::emulated {
namespace {

void Handle(int signal, siginfo_t* info, void*) {
  // Does not return while a kernel runs on this thread.
  FaultFromSignal(
      signal == SIGFPE ? "division by zero" : "access to an illegal address",
      info->si_addr);
  char text[160];
  const int length = std::snprintf(
      text, sizeof(text), "emulated device: host code touched %p%s\n",
      info->si_addr,
      IsProtectedMemory(info->si_addr) ? ", which is device memory" : "");
  const ssize_t ignored =
      write(STDERR_FILENO, text, static_cast<size_t>(length));
  static_cast<void>(ignored);
  // Again, this time to the end.
  std::signal(signal, SIG_DFL);
}

// An alternate signal stack for as long as the thread lives.
class SignalStack final {
 public:
  SignalStack() {
    stack_t stack = {};
    stack.ss_sp = memory_;
    stack.ss_size = sizeof(memory_);
    sigaltstack(&stack, &previous_);
    struct sigaction action = {};
    action.sa_sigaction = Handle;
    // The handler leaves by switching to another stack, not by returning.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE}) {
      sigaction(signal, &action, nullptr);
    }
  }
  ~SignalStack() { sigaltstack(&previous_, nullptr); }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  stack_t previous_ = {};
  char memory_[64 * 1024];
};

}  // namespace

void InstallFaultSignals() {
  if (HasAddressSanitizer() || HasThreadSanitizer()) return;
  static thread_local SignalStack stack;
  static_cast<void>(stack);
}

}  // namespace caravan::emulated
