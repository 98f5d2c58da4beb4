# The kernels, one file per family: compiled by nvcc here and by the host compiler
# for the emulated device of the tests.
set(CARAVAN_CUDA_KERNELS
  attention choose_tokens embed float_product half_product prepare_rows product
  prompt_attention quantized_matrix_product quantized_product repack rotate
  shard_candidates silu_multiply)
list(TRANSFORM CARAVAN_CUDA_KERNELS
  REPLACE "(.+)" "${CMAKE_CURRENT_LIST_DIR}/\\1.cu")

# What starts them, compiled by the host compiler alone.
set(CARAVAN_CUDA_HOST
  attention_operations batch_table cuda_backend cuda_kv_cache cuda_status
  cuda_weight device_context device_list device_memory library_product
  linear_operations padded_step recorded_graph sampling_operations staging
  step_graphs token_sets)
list(TRANSFORM CARAVAN_CUDA_HOST
  REPLACE "(.+)" "${CMAKE_CURRENT_LIST_DIR}/\\1.cc")
