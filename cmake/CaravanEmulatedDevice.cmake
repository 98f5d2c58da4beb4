# Tests of CUDA code on the emulated device (tests/emulated_device). What runs a
# kernel is built in several variants, so that an ordinary build runs all modes:
#   plain   seeds and protected memory are chosen when it runs
#   asan    with AddressSanitizer; but for the tests themselves, which would take
#           twice as long to build, with UndefinedBehaviorSanitizer too
#   tsan    with ThreadSanitizer, which knows the fibers
# A build with a sanitizer has one variant, under the plain name. The emulation
# itself is built once, without any.
set(CARAVAN_EMULATED_DEVICE OFF)
if(NOT CARAVAN_CUDA_HEADERS)
  set(CARAVAN_EMULATED_SKIPPED "NVIDIA's headers were not found: install the \
CUDA toolkit, or run ./deploy/test.sh --gpu")
elseif(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(CARAVAN_EMULATED_SKIPPED "its fibers are written for x86-64")
else()
  set(CARAVAN_EMULATED_DEVICE ON)
endif()

set(CARAVAN_EMULATED_VARIANTS plain)
if(NOT CARAVAN_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND CARAVAN_EMULATED_VARIANTS asan tsan)
endif()
set(CARAVAN_EMULATED_SEEDS 1 2 3 4 5 6 7)
if(CARAVAN_SANITIZE)  # a run of the kernels' tests takes minutes then
  set(CARAVAN_EMULATED_SEEDS 1)
endif()

# The sanitizers' flags of a variant.
function(caravan_emulated_flags result variant)
  set(flags "")
  if(variant STREQUAL "asan")
    set(flags -fsanitize=address,undefined -fno-sanitize-recover=all)
  elseif(variant STREQUAL "tsan")
    set(flags -fsanitize=thread)
  endif()
  set(${result} ${flags} PARENT_SCOPE)
endfunction()

# Flags of a variant.
function(caravan_emulated_options target variant)
  # Unknown pragmas: `unroll` is nvcc's.
  target_compile_options(${target} PRIVATE -O1 -g1 -Wno-unknown-pragmas)
  target_include_directories(${target} BEFORE PRIVATE
    ${PROJECT_SOURCE_DIR}/tests/emulated_device/include)
  target_link_libraries(${target} PUBLIC caravan::emulated_device)
  if(variant STREQUAL "plain")
    target_link_libraries(${target} PUBLIC caravan::build_flags)
  endif()
  caravan_emulated_flags(flags ${variant})
  target_compile_options(${target} PRIVATE ${flags})
  target_link_options(${target} PUBLIC ${flags})
endfunction()

# Flags of tests and of the headers that are precompiled for them.
function(caravan_emulated_test_options target variant)
  caravan_emulated_options(${target} ${variant})
  if(variant STREQUAL "asan")
    target_compile_options(${target} PRIVATE -fno-sanitize=undefined)
  endif()
endfunction()

# caravan_emulated_library(NAME n SRCS ...) makes caravan_n, caravan_n_asan and
# caravan_n_tsan; .cu files are compiled as C++ with device.cuh's twin.
function(caravan_emulated_library)
  cmake_parse_arguments(ARG "" "NAME" "SRCS" ${ARGN})
  caravan_compile_as_cxx(${ARG_SRCS})
  foreach(variant IN LISTS CARAVAN_EMULATED_VARIANTS)
    caravan_emulated_name(target caravan_${ARG_NAME} ${variant})
    add_library(${target} STATIC ${ARG_SRCS})
    caravan_emulated_options(${target} ${variant})
  endforeach()
endfunction()

function(caravan_emulated_name result base variant)
  if(NOT variant STREQUAL "plain")
    string(APPEND base _${variant})
  endif()
  set(${result} ${base} PARENT_SCOPE)
endfunction()

# .cu files among the sources belong to the host compiler, in this directory.
function(caravan_compile_as_cxx)
  foreach(source IN LISTS ARGN)
    if(source MATCHES "\\.cu$")
      set_source_files_properties(${source} PROPERTIES
        LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
    endif()
  endforeach()
endfunction()

# caravan_emulated_test(NAME n SRCS ... DEPS ... LIBRARIES ... TSAN_FILTER f) makes
# a test binary per variant; DEPS are libraries made by the function above,
# LIBRARIES others, which have no variants. The plain one's tests are registered
# one by one, and the whole binary again for protected memory and for each seed;
# the others' as one test, of which tsan runs what the filter selects.
function(caravan_emulated_test)
  cmake_parse_arguments(ARG "" "NAME;TSAN_FILTER" "SRCS;DEPS;LIBRARIES" ${ARGN})
  set(filter_asan "*")
  set(filter_tsan "*")
  if(ARG_TSAN_FILTER)
    set(filter_tsan "${ARG_TSAN_FILTER}")
  endif()
  caravan_compile_as_cxx(${ARG_SRCS})
  foreach(variant IN LISTS CARAVAN_EMULATED_VARIANTS)
    caravan_emulated_name(target ${ARG_NAME} ${variant})
    add_executable(${target} ${ARG_SRCS})
    caravan_emulated_test_options(${target} ${variant})
    target_precompile_headers(${target}
      REUSE_FROM caravan_emulated_headers_${variant})
    foreach(dependency IN LISTS ARG_DEPS)
      caravan_emulated_name(library caravan_${dependency} ${variant})
      target_link_libraries(${target} PRIVATE ${library})
    endforeach()
    target_link_libraries(${target} PRIVATE
      ${ARG_LIBRARIES} GTest::gmock GTest::gtest_main)
    set_target_properties(${target} PROPERTIES
      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    if(NOT variant STREQUAL "plain")
      caravan_emulated_run(${ARG_NAME}.${variant} ${target} ""
        "--gtest_filter=${filter_${variant}}")
    endif()
  endforeach()
  caravan_test_time(timeout 60)
  gtest_discover_tests(${ARG_NAME}
    TEST_PREFIX "${ARG_NAME}."
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS unit TIMEOUT ${timeout})
  if(NOT CARAVAN_SANITIZE)
    caravan_emulated_run(${ARG_NAME}.protected ${ARG_NAME}
      CARAVAN_EMULATED_PROTECT=1)
  endif()
  foreach(seed IN LISTS CARAVAN_EMULATED_SEEDS)
    caravan_emulated_run(${ARG_NAME}.seed_${seed} ${ARG_NAME}
      CARAVAN_EMULATED_SEED=${seed})
  endforeach()
endfunction()

# One run of a whole test binary; further arguments are its own.
function(caravan_emulated_run name target environment)
  add_test(NAME ${name} COMMAND ${target} --gtest_brief=1 ${ARGN}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  caravan_test_time(timeout 600)
  set_tests_properties(${name} PROPERTIES
    LABELS "unit;emulated" TIMEOUT ${timeout}
    ENVIRONMENT "${environment};TSAN_OPTIONS=halt_on_error=1")
endfunction()
