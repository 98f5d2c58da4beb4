# The kernels, one file per family: compiled by nvcc here and by the host compiler
# for the emulated device of the tests.
set(CARAVAN_CUDA_KERNELS rms_norm)
list(TRANSFORM CARAVAN_CUDA_KERNELS
  REPLACE "(.+)" "${CMAKE_CURRENT_LIST_DIR}/\\1.cu")
