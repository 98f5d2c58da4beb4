// Logarithms and exponentials are the device's, in double precision: they may
// differ from the host's in the last place, and so rarely the last bit of a
// winner's value and the last unit of a token's mass. Every token is looked at
// by one rank alone, and all ranks go on with what that rank found: a mixed
// cluster stays consistent.
#include "worker/backend/cuda/device.cuh"
#include "worker/backend/cuda/shard_candidates.h"
#include "worker/backend/sampling.h"

namespace caravan::worker::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kDigits = 256;  // one per thread
constexpr int kIndexBits = 13;
static_assert(1 << kIndexBits == kPieceLogits);

// A piece of one request's row.
struct Piece {
  const float* logits;
  int count;
  int32_t first_id;
};

template <typename Arguments>
__device__ Piece PieceOf(const Arguments& a, int64_t row, int64_t first_id) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kPieceLogits;
  const int64_t left = a.cols - first;
  return {a.logits + row * a.cols + first,
          static_cast<int>(left < kPieceLogits ? left : kPieceLogits),
          static_cast<int32_t>(first_id + first)};
}

// The larger, the earlier; -0 is no less than 0.
__device__ uint32_t OrderedBits(float value) {
  if (!(value == value)) value = -INFINITY;
  if (value == 0) value = 0;
  const uint32_t bits = __float_as_uint(value);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// Among equal values the lower index is the larger key: keys are unlike.
__device__ uint64_t KeyOf(const uint32_t* ordered, int index) {
  return uint64_t{ordered[index]} << kIndexBits |
         static_cast<uint64_t>(kPieceLogits - 1 - index);
}

// Of the histogram, in place: counts of a digit and all larger ones.
__device__ void CountFromAbove(int* counts) {
  const int digit = threadIdx.x;
  for (int offset = 1; offset < kDigits; offset *= 2) {
    const int more = digit + offset < kDigits ? counts[digit + offset] : 0;
    __syncthreads();
    counts[digit] += more;
    __syncthreads();
  }
}

// What a pass of the search has found out: the wanted keys are those whose
// upper bits exceed `prefix`, and the `missing` largest of those that equal it.
struct Selection {
  uint64_t prefix;
  int shift;  // of the prefix
  int missing;
  int equal;
};

// Finds the digit of `width` bits at `shift` where the missing keys end.
__device__ void SelectDigit(const uint32_t* ordered, int count, int width,
                            int* counts, Selection* selection) {
  const Selection before = *selection;
  const int shift = before.shift - width;
  counts[threadIdx.x] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += kThreads) {
    const uint64_t key = KeyOf(ordered, i);
    if (key >> before.shift != before.prefix) continue;
    atomicAdd(&counts[static_cast<int>(key >> shift) & ((1 << width) - 1)], 1);
  }
  __syncthreads();
  CountFromAbove(counts);
  const int digit = threadIdx.x;
  const int above = digit + 1 < kDigits ? counts[digit + 1] : 0;
  if (counts[digit] >= before.missing && above < before.missing) {
    *selection = {before.prefix << width | static_cast<uint64_t>(digit), shift,
                  before.missing - above, counts[digit] - above};
  }
  __syncthreads();
}

// The least of the `wanted` largest keys of the piece, fewer than all: from the
// upper bits down, until all that are left are wanted.
__device__ uint64_t LeastWanted(const uint32_t* ordered, int count,
                                int wanted) {
  CARAVAN_SHARED(int, counts, [kDigits]);
  CARAVAN_SHARED(Selection, selection);
  if (threadIdx.x == 0) {
    selection = {0, 32 + kIndexBits, wanted, count};
  }
  __syncthreads();
  while (selection.shift > 0 && selection.equal > selection.missing) {
    SelectDigit(ordered, count, selection.shift < 8 ? selection.shift : 8,
                counts, &selection);
  }
  return selection.prefix << selection.shift;
}

__device__ void WriteTop(const Piece& piece, int wanted, DeviceCandidate* out) {
  CARAVAN_SHARED(uint32_t, ordered, [kPieceLogits]);
  CARAVAN_SHARED(int, written);
  for (int i = threadIdx.x; i < piece.count; i += kThreads) {
    ordered[i] = OrderedBits(piece.logits[i]);
  }
  if (threadIdx.x == 0) written = 0;
  __syncthreads();
  const uint64_t least =
      wanted < piece.count ? LeastWanted(ordered, piece.count, wanted) : 0;
  for (int i = threadIdx.x; i < piece.count; i += kThreads) {
    if (KeyOf(ordered, i) < least) continue;
    out[atomicAdd(&written, 1)] = {piece.first_id + i, piece.logits[i]};
  }
}

// The largest logit, the first among equals.
__device__ DeviceCandidate Largest(const Piece& piece) {
  Indexed best = {-INFINITY, 0x7fffffff};
  for (int i = threadIdx.x; i < piece.count; i += kThreads) {
    const float logit = piece.logits[i];
    const float value = logit == logit ? logit : -INFINITY;
    if (value > best.value || best.index > piece.count) best = {value, i};
  }
  best = BlockMax<kThreads>(best);
  return {piece.first_id + best.index, piece.logits[best.index]};
}

// Not less than GumbelNoise of the same bits, without a logarithm: noise is
// -log(-log(u)) <= -log(1 - u), and the leading ones of u's 53 bits tell
// between which powers of two 1 - u lies.
__device__ float NoiseBound(uint64_t random_bits) {
  constexpr float kLogTwoAndMore = 0.69316f;
  const auto upper = static_cast<uint32_t>(~random_bits >> 32);
  const int leading = upper != 0 ? __clz(static_cast<int>(upper)) : 53;
  return kLogTwoAndMore * static_cast<float>(leading + 1);
}

// The largest of logit / temperature + noise. Tokens that cannot win cost no
// logarithm: rounding keeps the order of sums.
__device__ DeviceCandidate Winner(const Piece& piece,
                                  const DeviceCandidateRequest& request) {
  const float largest_noise = NoiseBound(~uint64_t{0});
  Indexed best = {-INFINITY, 0x7fffffff};
  for (int i = threadIdx.x; i < piece.count; i += kThreads) {
    const float scaled = piece.logits[i] / request.temperature;
    if (!(scaled + largest_noise > best.value)) continue;
    const int32_t id = piece.first_id + i;
    const uint64_t bits = RandomBits(request.seed, request.position, id);
    if (!(scaled + NoiseBound(bits) > best.value)) continue;
    const float value =
        scaled + GumbelNoise(request.seed, request.position, id);
    if (value > best.value) best = {value, i};
  }
  best = BlockMax<kThreads>(best);
  if (best.index < piece.count) {
    return {piece.first_id + best.index, best.value};
  }
  return {piece.first_id, piece.logits[0]};  // no number is there
}

// grid: (pieces, requests)
// Limits: 64 registers, 34 KiB of static shared memory.
__global__ void __launch_bounds__(kThreads)
    CandidatesKernel(CandidateArguments a) {
  const DeviceCandidateRequest request = a.requests[blockIdx.y];
  const Piece piece = PieceOf(a, request.row, a.first_id);
  if (request.num_top > 0) {
    const int stride = min(request.num_top, kPieceLogits);
    const int wanted = min(request.num_top, piece.count);
    DeviceCandidate* out =
        a.top + request.first_candidate + int64_t{blockIdx.x} * stride;
    if (wanted > 1) {
      WriteTop(piece, wanted, out);
    } else {
      const DeviceCandidate largest = Largest(piece);
      if (threadIdx.x == 0) *out = largest;
    }
  }
  if (request.noise != 0) {
    const DeviceCandidate winner =
        request.temperature > 0 ? Winner(piece, request) : Largest(piece);
    if (threadIdx.x == 0) {
      a.winners[int64_t{blockIdx.y} * gridDim.x + blockIdx.x] = winner;
    }
  }
}

// grid: (pieces, requests)
// Limits: 64 registers, 1 KiB of static shared memory.
__global__ void __launch_bounds__(kThreads) MassesKernel(MassArguments a) {
  CARAVAN_SHARED(unsigned long long, block_sum);
  if (threadIdx.x == 0) block_sum = 0;
  __syncthreads();
  const DeviceMassRequest request = a.requests[blockIdx.y];
  const Piece piece = PieceOf(a, request.row, 0);
  unsigned long long sum = 0;
  for (int i = threadIdx.x; i < piece.count; i += kThreads) {
    const float logit = piece.logits[i];
    if (!(logit > request.threshold) || logit < request.least) continue;
    // No logit exceeds the reference, but a sum must not depend on the caller.
    sum += ProbabilityMass(fminf(logit, request.reference), request.reference,
                           request.temperature);
  }
  if (sum != 0) atomicAdd(&block_sum, sum);
  __syncthreads();
  if (threadIdx.x == 0 && block_sum != 0) {
    atomicAdd(a.masses + blockIdx.y, block_sum);
  }
}

template <typename Arguments>
cudaError_t CheckGrid(const Arguments& a) {
  constexpr int kMaxRequests = 65535;
  const bool possible =
      a.cols >= 1 && a.num_requests >= 0 && a.num_requests <= kMaxRequests;
  return possible ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace

cudaError_t FindCandidates(const CandidateArguments& a, cudaStream_t stream) {
  const cudaError_t error = CheckGrid(a);
  if (error != cudaSuccess || a.num_requests == 0) return error;
  return Launch(CandidatesKernel,
                {dim3(a.num_pieces(), a.num_requests), dim3(kThreads)}, stream,
                a);
}

cudaError_t SumMasses(const MassArguments& a, cudaStream_t stream) {
  const cudaError_t error = CheckGrid(a);
  if (error != cudaSuccess || a.num_requests == 0) return error;
  return Launch(MassesKernel,
                {dim3(a.num_pieces(), a.num_requests), dim3(kThreads)}, stream,
                a);
}

}  // namespace caravan::worker::cuda
