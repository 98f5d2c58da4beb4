# The kernels, compiled by nvcc here and by the host compiler for the emulated
# device of the tests, and what starts them.
set(CARAVAN_NCCL_KERNELS ${CMAKE_CURRENT_LIST_DIR}/device_sum.cu)
set(CARAVAN_NCCL_HOST
  nccl_all_reduce nccl_communicator nccl_connection nccl_status nccl_world
  operation_log)
list(TRANSFORM CARAVAN_NCCL_HOST
  REPLACE "(.+)" "${CMAKE_CURRENT_LIST_DIR}/\\1.cc")
