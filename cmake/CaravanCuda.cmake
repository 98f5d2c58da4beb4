# CUDA: the toolkit, if there is one, and NVIDIA's headers, which also come
# without it. Kernels are compiled by nvcc where it is found, and always by the
# host compiler for the emulated device of the tests, where the headers are.
set(CARAVAN_ENABLE_CUDA AUTO CACHE STRING
    "Compile kernels with nvcc: ON, OFF or AUTO, which is where it is found")
set(CARAVAN_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real 120 CACHE STRING
    "The compute capabilities that nvcc compiles for")
set(CARAVAN_CUDA_INCLUDE_DIRS "" CACHE STRING
    "Folders of NVIDIA's headers (CUDA, NCCL, cuBLASLt); empty: the toolkit's")

find_program(CARAVAN_NVCC nvcc
  HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)

set(CARAVAN_CUDA ${CARAVAN_ENABLE_CUDA})
if(CARAVAN_ENABLE_CUDA STREQUAL "AUTO")
  # nvcc wants a compiler that it knows, and no sanitizer.
  if(CARAVAN_NVCC AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU"
     AND NOT CARAVAN_SANITIZE)
    set(CARAVAN_CUDA ON)
  else()
    set(CARAVAN_CUDA OFF)
  endif()
endif()
# caravan::cuda_headers: NVIDIA's headers without its libraries.
cmake_path(GET CARAVAN_NVCC PARENT_PATH toolkit)
cmake_path(GET toolkit PARENT_PATH toolkit)
foreach(header IN ITEMS cuda_runtime.h nv/target nccl.h cublasLt.h)
  string(MAKE_C_IDENTIFIER "CARAVAN_DIR_OF_${header}" variable)
  find_path(${variable} ${header}
    HINTS ${CARAVAN_CUDA_INCLUDE_DIRS} ${toolkit}/include)
endforeach()
if(CARAVAN_DIR_OF_cuda_runtime_h AND CARAVAN_DIR_OF_nv_target
   AND CARAVAN_DIR_OF_cublasLt_h)
  set(CARAVAN_CUDA_HEADERS ON)
  add_library(caravan_cuda_headers INTERFACE)
  add_library(caravan::cuda_headers ALIAS caravan_cuda_headers)
  set(directories ${CARAVAN_CUDA_INCLUDE_DIRS} ${CARAVAN_DIR_OF_cuda_runtime_h})
  foreach(directory IN ITEMS ${CARAVAN_DIR_OF_nv_target}
      ${CARAVAN_DIR_OF_nccl_h} ${CARAVAN_DIR_OF_cublasLt_h})
    if(directory)
      list(APPEND directories ${directory})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES directories)
  target_include_directories(caravan_cuda_headers SYSTEM INTERFACE
    ${directories})
endif()

# NVIDIA's cuBLASLt, for products of many rows; it is part of every toolkit.
if(CARAVAN_CUDA)
  find_library(CARAVAN_CUBLASLT cublasLt
    HINTS ${CARAVAN_DIR_OF_cublasLt_h}/../lib ${toolkit}/lib64)
  if(NOT CARAVAN_CUDA_HEADERS OR NOT CARAVAN_CUBLASLT)
    if(NOT CARAVAN_ENABLE_CUDA STREQUAL "AUTO")
      message(FATAL_ERROR "CARAVAN_ENABLE_CUDA: cuBLASLt was not found")
    endif()
    message(STATUS "No kernel is compiled by nvcc: cuBLASLt was not found")
    set(CARAVAN_CUDA OFF)
  endif()
endif()
if(CARAVAN_CUDA)
  set(CMAKE_CUDA_COMPILER ${CARAVAN_NVCC})
  set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
  set(CMAKE_CUDA_ARCHITECTURES ${CARAVAN_CUDA_ARCHITECTURES})
  if(CARAVAN_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CARAVAN_CCACHE})
  endif()
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # unknown to Debian 12's CMake
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
endif()

# NVIDIA's NCCL, with which GPU ranks talk.
set(CARAVAN_NCCL OFF)
if(CARAVAN_CUDA AND CARAVAN_DIR_OF_nccl_h)
  find_library(CARAVAN_NCCL_LIBRARY nccl
    HINTS ${CARAVAN_DIR_OF_nccl_h}/../lib ${toolkit}/lib64)
  if(CARAVAN_NCCL_LIBRARY)
    set(CARAVAN_NCCL ${CARAVAN_NCCL_LIBRARY})
  endif()
endif()

# Flags of kernels that nvcc compiles, which keep to the limits that stand beside
# them.
function(caravan_kernel_options target)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE
    -Xcompiler=-Wall,-Wextra --Werror=all-warnings
    # What is fused is written down.
    -fmad=false
    -Xptxas=-v)
  set(launcher
    ${PROJECT_SOURCE_DIR}/cmake/record_kernel_resources.sh
    ${CMAKE_CUDA_COMPILER_LAUNCHER})
  set_target_properties(${target} PROPERTIES
    CUDA_COMPILER_LAUNCHER "${launcher}")
endfunction()
