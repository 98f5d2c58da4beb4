// The table of the kernels of one instruction set, for its translation unit.
#ifndef CARAVAN_WORKER_BACKEND_CPU_KERNEL_TABLE_H_
#define CARAVAN_WORKER_BACKEND_CPU_KERNEL_TABLE_H_

#include "worker/backend/cpu/attention_kernels.h"
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/multiply_kernels.h"
#include "worker/backend/cpu/quantize_kernel.h"
#include "worker/backend/cpu/quantized_kernels.h"
#include "worker/backend/cpu/vector_kernels.h"

namespace caravan::worker::cpu {
namespace {

constexpr Kernels kKernels = {
    .tile_rows = kTileRows,
    .multiply = {&Multiply<Float32Panel>, &Multiply<Float16Panel>,
                 &Multiply<BFloat16Panel>},
    .quantize = &Quantize,
    .multiply_quantized = {&MultiplyQuantized<Q8Panel>,
                           &MultiplyQuantized<Q4Panel>,
                           &MultiplyQuantized<Q4MinimumPanel>},
    .attend = {&Attend<Float32Cache>, &Attend<Float16Cache>,
               &Attend<BFloat16Cache>},
    .rms_norm = &RmsNorm,
    .gated_silu = &GatedSilu,
    .rotate = &Rotate,
    .find_above = &FindAbove,
};

}  // namespace
}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_KERNEL_TABLE_H_
