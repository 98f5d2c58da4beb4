# The GPU engine without backend, communicator and the libraries under them.
set(CARAVAN_ENGINE_CUDA
  ${CMAKE_CURRENT_LIST_DIR}/cuda_platform.cc
  ${CMAKE_CURRENT_LIST_DIR}/device_report.cc
  ${CMAKE_CURRENT_LIST_DIR}/main_cuda.cc)
set(CARAVAN_ENGINE_CUDA_DEPS
  caravan::engine_process caravan::comm_local caravan::staged_world
  nlohmann_json::nlohmann_json)
