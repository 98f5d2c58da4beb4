# ThreadSanitizer does not see how Debian's gRPC and Open MPI synchronize, and
# reports races where none are: what goes through them is not tested with it.
set(CARAVAN_TEST_GRPC ON)
set(CARAVAN_TEST_MPI ${CARAVAN_ENABLE_MPI})
# That of tests/support/slowdown.h, for tests that are not C++.
set(CARAVAN_TEST_SLOWDOWN 1)
if("thread" IN_LIST CARAVAN_SANITIZE)
  set(CARAVAN_TEST_GRPC OFF)
  set(CARAVAN_TEST_MPI OFF)
  set(CARAVAN_TEST_SLOWDOWN 20)
endif()

# The headers that most tests include are compiled once for all targets with the
# same flags: tests/support/precompiled.h. Only tests use them, so that the
# libraries' sources keep proving that their headers compile alone.
# caravan_precompiled_target(t) makes the object library t, which compiles them with
# the flags that the caller gives it.
function(caravan_precompiled_target target)
  add_library(${target} OBJECT ${PROJECT_SOURCE_DIR}/tests/support/precompiled.cc)
  target_link_libraries(${target} PRIVATE
    GTest::gmock absl::statusor absl::str_format)
  target_precompile_headers(${target} PRIVATE
    ${PROJECT_SOURCE_DIR}/tests/support/precompiled.h)
endfunction()

caravan_precompiled_target(caravan_test_headers)
target_link_libraries(caravan_test_headers PRIVATE caravan::build_flags)
# Tests spend their time in the libraries; optimizing them buys only slower
# builds. Some libraries' users are compiled with -pthread, so all are.
set(CARAVAN_TEST_OPTIONS -O1 -pthread)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Where std::string was precompiled, GCC 12 warns of overflows within it.
  list(APPEND CARAVAN_TEST_OPTIONS -Wno-array-bounds -Wno-stringop-overflow)
endif()
target_compile_options(caravan_test_headers PRIVATE ${CARAVAN_TEST_OPTIONS})

# caravan_test_time(VARIABLE SECONDS) sets how long a test may take: with a
# sanitizer five times as long.
function(caravan_test_time variable seconds)
  if(CARAVAN_SANITIZE)
    math(EXPR seconds "${seconds} * 5")
  endif()
  set(${variable} ${seconds} PARENT_SCOPE)
endfunction()

# caravan_test(NAME n SRCS ... DEPS ... LABELS l TIMEOUT s ENVIRONMENT A=b [GRPC]
# [SERIAL])
# makes a GoogleTest binary and registers each of its tests with CTest, so that
# no test is built but not run. One label and one variable: CMake's discovery of
# tests takes lists for further properties. GRPC: threads meet in gRPC. SERIAL: must not
# share the machine.
function(caravan_test)
  cmake_parse_arguments(
    ARG "GRPC;SERIAL" "NAME;TIMEOUT;ENVIRONMENT;LABELS" "SRCS;DEPS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${ARG_NAME}: what is ${ARG_UNPARSED_ARGUMENTS}?")
  endif()
  if(ARG_GRPC AND NOT CARAVAN_TEST_GRPC)
    return()
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  caravan_test_time(ARG_TIMEOUT ${ARG_TIMEOUT})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE
    caravan::build_flags caravan::test_support ${ARG_DEPS}
    GTest::gmock GTest::gtest_main)
  target_compile_options(${ARG_NAME} PRIVATE ${CARAVAN_TEST_OPTIONS})
  target_precompile_headers(${ARG_NAME} REUSE_FROM caravan_test_headers)
  set_target_properties(${ARG_NAME} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  set(properties LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
  if(ARG_SERIAL)
    list(APPEND properties RUN_SERIAL ON)
  endif()
  if(ARG_ENVIRONMENT)
    list(APPEND properties ENVIRONMENT ${ARG_ENVIRONMENT})
  endif()
  gtest_discover_tests(${ARG_NAME}
    TEST_PREFIX "${ARG_NAME}."
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    DISCOVERY_TIMEOUT 60
    PROPERTIES ${properties})
endfunction()
