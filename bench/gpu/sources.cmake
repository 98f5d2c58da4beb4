# A model on one GPU, without backend and CUDA's libraries under it.
set(CARAVAN_GPU_BENCH
  busy_meter.cc gpu_bench.cc gpu_probe.cc repeating_source.cc step_maker.cc)
list(TRANSFORM CARAVAN_GPU_BENCH PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
set(CARAVAN_GPU_BENCH_KERNELS ${CMAKE_CURRENT_LIST_DIR}/read_all.cu)
set(CARAVAN_GPU_BENCH_DEPS
  caravan::cluster_state caravan::comm_local caravan::engine CLI11::CLI11
  absl::str_format)
