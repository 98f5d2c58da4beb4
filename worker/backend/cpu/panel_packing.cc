#include "worker/backend/cpu/panel_packing.h"

#include <algorithm>
#include <cstring>

#include "worker/backend/cpu/kernels.h"

namespace caravan::worker {
namespace {

constexpr int64_t kOutputs = cpu::kPanelOutputs;
// Inputs that are turned at once: their cache lines of source and destination
// stay near.
constexpr int64_t kTileInputs = 32;

struct Float32 {
  using Element = float;
  static float Widen(float element) { return element; }
  static float Narrow(float value) { return value; }
};
struct Float16 {
  using Element = uint16_t;
  static float Widen(uint16_t element) { return Float16ToFloat(element); }
  static uint16_t Narrow(float value) { return FloatToFloat16(value); }
};
struct BFloat16 {
  using Element = uint16_t;
  static float Widen(uint16_t element) { return BFloat16ToFloat(element); }
  static uint16_t Narrow(float value) { return FloatToBFloat16(value); }
};

template <typename From, typename To>
typename To::Element Convert(const std::byte* from) {
  typename From::Element element;
  std::memcpy(&element, from, sizeof(element));
  if constexpr (std::is_same_v<From, To>) {
    return element;
  } else {
    return To::Narrow(From::Widen(element));
  }
}

template <typename From, typename To>
void Pack(const std::byte* rows, int64_t num_rows, int64_t cols, DType hold_as,
          std::byte* panel) {
  using Element = typename To::Element;
  constexpr int64_t kFromBytes = sizeof(typename From::Element);
  Element* const out = reinterpret_cast<Element*>(panel);
  for (int64_t first = 0; first < cols; first += kTileInputs) {
    const int64_t end = std::min(first + kTileInputs, cols);
    for (int64_t output = 0; output < kOutputs; ++output) {
      Element* to = out + PlaceInPanel(hold_as, output);
      if (output >= num_rows) {
        for (int64_t k = first; k < end; ++k) to[k * kOutputs] = Element{};
        continue;
      }
      const std::byte* from = rows + output * cols * kFromBytes;
      for (int64_t k = first; k < end; ++k) {
        to[k * kOutputs] = Convert<From, To>(from + k * kFromBytes);
      }
    }
  }
}

template <typename From>
void PackFrom(const std::byte* rows, int64_t num_rows, int64_t cols,
              DType hold_as, std::byte* panel) {
  switch (hold_as) {
    case DType::kFloat32:
      return Pack<From, Float32>(rows, num_rows, cols, hold_as, panel);
    case DType::kFloat16:
      return Pack<From, Float16>(rows, num_rows, cols, hold_as, panel);
    case DType::kBFloat16:
      return Pack<From, BFloat16>(rows, num_rows, cols, hold_as, panel);
  }
}

}  // namespace

int64_t PlaceInPanel(DType held_as, int64_t output) {
  if (held_as != DType::kBFloat16) return output;
  return output < kOutputs / 2 ? 2 * output : 2 * output - (kOutputs - 1);
}

void CopyPanelRow(DType held_as, const std::byte* panel, int64_t output,
                  int64_t cols, float* out) {
  const int64_t place = PlaceInPanel(held_as, output);
  for (int64_t k = 0; k < cols; ++k) {
    const int64_t at = k * kOutputs + place;
    switch (held_as) {
      case DType::kFloat32:
        out[k] = reinterpret_cast<const float*>(panel)[at];
        break;
      case DType::kFloat16:
        out[k] = Float16ToFloat(reinterpret_cast<const uint16_t*>(panel)[at]);
        break;
      case DType::kBFloat16:
        out[k] = BFloat16ToFloat(reinterpret_cast<const uint16_t*>(panel)[at]);
        break;
    }
  }
}

void PackPanel(const std::byte* rows, DType dtype, int64_t num_rows,
               int64_t cols, DType hold_as, std::byte* panel) {
  switch (dtype) {
    case DType::kFloat32:
      return PackFrom<Float32>(rows, num_rows, cols, hold_as, panel);
    case DType::kFloat16:
      return PackFrom<Float16>(rows, num_rows, cols, hold_as, panel);
    case DType::kBFloat16:
      return PackFrom<BFloat16>(rows, num_rows, cols, hold_as, panel);
  }
}

}  // namespace caravan::worker
