// ldmatrix and mma.sync, with the layouts that device.cuh describes.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "tests/emulated_device/engine/grid_state.h"
#include "tests/emulated_device/engine/sanitizer.h"
#include "tests/emulated_device/engine/warp_meeting.h"

namespace caravan::emulated {
namespace {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kRows = 16;
constexpr int kColumns = 8;

float Convert(MatrixType type, uint32_t bits) {
  if (type == MatrixType::kHalf) {
    return __half2float(__ushort_as_half(static_cast<uint16_t>(bits)));
  }
  return __bfloat162float(__ushort_as_bfloat16(static_cast<uint16_t>(bits)));
}

// What a lane brings: four registers of A, two of B.
struct Operands {
  uint32_t a[4];
  uint32_t b[2];
};
static_assert(sizeof(Operands) <= kSlotBytes);

// Gathers the matrices of the warp from what its lanes brought, multiplies them
// and leaves each lane its four products.
template <typename Element, int kDepth, int kNeighbours, typename Decode>
void Multiply(Meeting& meeting, int buffer, Decode decode) {
  constexpr int kBits = 32 / kNeighbours;
  Element a[kRows][kDepth];
  Element b[kDepth][kColumns];
  for (int lane = 0; lane < kWarpSize; ++lane) {
    Operands operands;
    __builtin_memcpy(&operands, meeting.slots[buffer][lane], sizeof(operands));
    const int g = lane / 4;
    for (int part = 0; part < kNeighbours; ++part) {
      const int k = lane % 4 * kNeighbours + part;
      for (int i = 0; i < 4; ++i) {
        a[g + 8 * (i % 2)][i / 2 * (kDepth / 2) + k] =
            decode(operands.a[i] >> (kBits * part));
      }
      for (int i = 0; i < 2; ++i) {
        b[i * (kDepth / 2) + k][g] = decode(operands.b[i] >> (kBits * part));
      }
    }
  }
  Element product[kRows][kColumns] = {};
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      for (int column = 0; column < kColumns; ++column) {
        product[row][column] += a[row][k] * b[k][column];
      }
    }
  }
  for (int lane = 0; lane < kWarpSize; ++lane) {
    for (int i = 0; i < 4; ++i) {
      __builtin_memcpy(meeting.slots[buffer][lane] + i * sizeof(Element),
                       &product[lane / 4 + 8 * (i / 2)][lane % 4 * 2 + i % 2],
                       sizeof(Element));
    }
  }
}

void CompleteProduct(Meeting& meeting, int buffer, int argument) {
  const auto type = static_cast<MatrixType>(argument);
  if (type == MatrixType::kInt8) {
    Multiply<int32_t, 32, 4>(meeting, buffer, [](uint32_t bits) {
      return int32_t{static_cast<int8_t>(bits)};
    });
  } else {
    Multiply<float, 16, 2>(
        meeting, buffer, [type](uint32_t bits) { return Convert(type, bits); });
  }
}

template <typename Element>
void AddProducts(const Met& met, void* d) {
  Element products[4];
  __builtin_memcpy(products, met.slot(Self()->lane), sizeof(products));
  for (int i = 0; i < 4; ++i) static_cast<Element*>(d)[i] += products[i];
}

}  // namespace

void LoadMatrices(uint32_t* registers, int count, bool transposed,
                  const void* row, Site site) {
  Fiber* self = Self();
  CheckAlignment(row, 16, "ldmatrix's row is", site);
  if (self->lane < count * 8) NoteRead(row, 16);
  EngineScope scope;
  const Met met = Meet({kAllLanes, "ldmatrix", site}, &row, sizeof(row));
  const int g = self->lane / 4;
  const int t = self->lane % 4;
  for (int i = 0; i < count; ++i) {
    uint32_t value = 0;
    for (int j = 0; j < 2; ++j) {
      const int matrix_row = transposed ? 2 * t + j : g;
      const int column = transposed ? g : 2 * t + j;
      const uint16_t* source;
      __builtin_memcpy(&source, met.slot(i * 8 + matrix_row), sizeof(source));
      value |= static_cast<uint32_t>(source[column]) << (16 * j);
    }
    registers[i] = value;
  }
}

void MultiplyMatrices(MatrixType type, void* d, const uint32_t (&a)[4],
                      const uint32_t (&b)[2], Site site) {
  EngineScope scope;
  Operands operands = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const Met met =
      Meet({kAllLanes, "mma.sync", site}, &operands, sizeof(operands),
           CompleteProduct, static_cast<int>(type));
  if (type == MatrixType::kInt8) {
    AddProducts<int32_t>(met, d);
  } else {
    AddProducts<float>(met, d);
  }
}

}  // namespace caravan::emulated
