#include "tests/emulated_device/engine/fiber_context.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/emulated_device/engine/sanitizer.h"

// caravan_emulated_switch(save, load): stores this execution's stack pointer in
// *save and continues the one whose stack pointer is `load`.
asm(R"(
.text
.globl caravan_emulated_switch
.type caravan_emulated_switch,@function
caravan_emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size caravan_emulated_switch,.-caravan_emulated_switch
)");
extern "C" void caravan_emulated_switch(void** save, void* load);

namespace caravan::emulated {
namespace {

constexpr size_t kStackBytes = 128 * 1024;
// Never touched: wide enough for the largest array of a kernel that overflows.
constexpr size_t kGuardBytes = size_t{1} << 20;
constexpr int kSavedRegisters = 6;

char* MapStack() {
  void* memory =
      mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
    std::perror("emulated device: no memory for a thread's stack");
    std::abort();
  }
  return static_cast<char*>(memory) + kGuardBytes;
}

}  // namespace

FiberContext::~FiberContext() {
  if (owns_stack_ && tsan_fiber_ != nullptr) __tsan_destroy_fiber(tsan_fiber_);
  Discard();
}

void FiberContext::Discard() {
  if (!owns_stack_) return;
  // Left as it is in an abandoned execution: ThreadSanitizer would not let it
  // end in the middle of something.
  tsan_fiber_ = nullptr;
  Unpoison(stack_, stack_bytes_);
  munmap(stack_ - kGuardBytes, kGuardBytes + kStackBytes);
  owns_stack_ = false;
}

void FiberContext::Prepare(void (*entry)()) {
  if (!owns_stack_) {
    owns_stack_ = true;
    stack_ = MapStack();
    stack_bytes_ = kStackBytes;
    if (HasThreadSanitizer()) tsan_fiber_ = __tsan_create_fiber(0);
  }
  Unpoison(stack_, stack_bytes_);
  fake_stack_ = nullptr;
  // The stack as the switch left it: registers, then where to return to; that
  // function must find the alignment it would have after a call.
  void** top = reinterpret_cast<void**>(stack_ + stack_bytes_ - 64);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  stack_pointer_ = top;
}

void FiberContext::BindToThread() {
  if (HasThreadSanitizer()) tsan_fiber_ = __tsan_get_current_fiber();
}

void FiberContext::SwitchTo(FiberContext& to, bool ended) {
  // A switch orders nothing: barriers do.
  constexpr unsigned kNoSynchronization = 1;
  if (HasAddressSanitizer()) {
    __sanitizer_start_switch_fiber(ended ? nullptr : &fake_stack_, to.stack_,
                                   to.stack_bytes_);
  }
  if (HasThreadSanitizer()) {
    __tsan_switch_to_fiber(to.tsan_fiber_, kNoSynchronization);
  }
  caravan_emulated_switch(&stack_pointer_, to.stack_pointer_);
  if (HasAddressSanitizer()) {
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
  }
}

void FiberContext::Enter(FiberContext& thread) {
  if (!HasAddressSanitizer()) return;
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  // The very first fiber comes from the thread's own stack.
  if (thread.stack_ == nullptr) {
    thread.stack_ = static_cast<char*>(const_cast<void*>(bottom));
    thread.stack_bytes_ = bytes;
  }
}

bool FiberContext::IsStackOverflow(const void* address) const {
  const char* position = static_cast<const char*>(address);
  return position >= stack_ - kGuardBytes && position < stack_;
}

}  // namespace caravan::emulated
