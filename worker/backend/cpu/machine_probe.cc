#include "worker/backend/cpu/machine_probe.h"

#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "worker/backend/cpu/instruction_set.h"

namespace caravan::worker {
namespace {

constexpr int64_t kBytes = int64_t{256} << 20;
// As a kernel's share of a weight.
constexpr int64_t kPieceBytes = int64_t{4} << 20;
constexpr int64_t kFmaRounds = 1 << 20;
constexpr int64_t kLineBytes = 64;
constexpr int64_t kAheadBytes = 2048;
constexpr int kFmaVectors = 12;

#if defined(__x86_64__)
#define CARAVAN_TARGET_AVX2 __attribute__((target("avx2,fma"), noinline))
#define CARAVAN_TARGET_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"), noinline))
#endif

// Sums 32-bit words of a piece.
template <typename Vector>
inline __attribute__((always_inline)) float ReadPiece(const char* from) {
  constexpr int kVectors = kLineBytes / sizeof(Vector);
  constexpr int kLinesAtOnce = 4;
  Vector sum[kLinesAtOnce][kVectors] = {};
  for (int64_t at = 0; at < kPieceBytes; at += kLinesAtOnce * kLineBytes) {
#pragma GCC unroll 8
    for (int line = 0; line < kLinesAtOnce; ++line) {
      const char* start = from + at + line * kLineBytes;
      __builtin_prefetch(start + kAheadBytes, 0, 3);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        Vector value;
        __builtin_memcpy(&value, start + v * sizeof(Vector), sizeof(value));
        sum[line][v] += value;
      }
    }
  }
  Vector all{};
  for (const auto& line : sum) {
    for (const Vector& part : line) all += part;
  }
  return static_cast<float>(all[0]);
}

template <typename Vector>
inline __attribute__((always_inline)) float MultiplyAndAdd() {
  Vector sum[kFmaVectors];
  Vector factor;
  for (size_t i = 0; i < sizeof(Vector) / sizeof(float); ++i) {
    factor[i] = 0.999f;
  }
  for (Vector& part : sum) {
    part = factor;
    // The compiler must not see that all sums are the same.
    asm volatile("" : "+m"(part));
  }
  for (int64_t round = 0; round < kFmaRounds; ++round) {
#pragma GCC unroll 16
    for (int v = 0; v < kFmaVectors; ++v) sum[v] = sum[v] * factor + factor;
  }
  Vector all{};
  for (const Vector& part : sum) all += part;
  return all[0];
}

typedef float Floats4 __attribute__((vector_size(16)));
typedef uint32_t Words4 __attribute__((vector_size(16)));
float Read4(const char* from) { return ReadPiece<Words4>(from); }
float Fma4() { return MultiplyAndAdd<Floats4>(); }

#if defined(__x86_64__)
typedef float Floats8 __attribute__((vector_size(32)));
typedef uint32_t Words8 __attribute__((vector_size(32)));
typedef float Floats16 __attribute__((vector_size(64)));
typedef uint32_t Words16 __attribute__((vector_size(64)));
CARAVAN_TARGET_AVX2 float Read8(const char* from) {
  return ReadPiece<Words8>(from);
}
CARAVAN_TARGET_AVX2 float Fma8() { return MultiplyAndAdd<Floats8>(); }
CARAVAN_TARGET_AVX512 float Read16(const char* from) {
  return ReadPiece<Words16>(from);
}
CARAVAN_TARGET_AVX512 float Fma16() { return MultiplyAndAdd<Floats16>(); }
#endif

struct Functions {
  float (*read)(const char* from);
  float (*fma)();
  int lanes;
};

Functions FunctionsOf(InstructionSet set) {
  switch (set) {
#if defined(__x86_64__)
    case InstructionSet::kAvx2:
      return {&Read8, &Fma8, 8};
    case InstructionSet::kAvx512:
      return {&Read16, &Fma16, 16};
#else
    case InstructionSet::kAvx2:
    case InstructionSet::kAvx512:
#endif
    case InstructionSet::kPortable:
      return {&Read4, &Fma4, 4};
  }
  return {&Read4, &Fma4, 4};
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

}  // namespace

MachineProbe::MachineProbe(ThreadPool& pool, HugeMemory memory)
    : pool_(pool), memory_(std::move(memory)) {}

absl::StatusOr<std::unique_ptr<MachineProbe>> MachineProbe::Create(
    ThreadPool& pool) {
  CARAVAN_ASSIGN_OR_RETURN(HugeMemory memory,
                           HugeMemory::Create(kBytes, Commit::kNow));
  std::unique_ptr<MachineProbe> probe(
      new MachineProbe(pool, std::move(memory)));
  // Pages that were never written may all be one page of zeros.
  std::memset(probe->memory_.data(), 1, kBytes);
  return probe;
}

double MachineProbe::ReadBandwidth() {
  const Functions functions = FunctionsOf(BestInstructionSet());
  const char* from = static_cast<const char*>(memory_.data());
  std::vector<float> sums(kBytes / kPieceBytes);
  const auto start = std::chrono::steady_clock::now();
  pool_.Run(kBytes / kPieceBytes, [&](int64_t index, int) {
    sums[index] = functions.read(from + index * kPieceBytes);
  });
  const double seconds = SecondsSince(start);
  for (float sum : sums) sink_ = sum;
  return static_cast<double>(kBytes) / seconds;
}

double MachineProbe::FmaPeak() {
  const Functions functions = FunctionsOf(BestInstructionSet());
  const int num_tasks = pool_.num_threads() * 8;
  std::vector<float> sums(num_tasks);
  const auto start = std::chrono::steady_clock::now();
  pool_.Run(num_tasks,
            [&](int64_t index, int) { sums[index] = functions.fma(); });
  const double seconds = SecondsSince(start);
  for (float sum : sums) sink_ = sum;
  return 2.0 * kFmaRounds * kFmaVectors * functions.lanes * num_tasks / seconds;
}

}  // namespace caravan::worker
