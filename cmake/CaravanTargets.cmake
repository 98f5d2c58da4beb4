# caravan_library and caravan_binary: one target per folder or idea, with its
# files and dependencies listed, so that the dependency graph can be read.

# What all code is compiled with; build_flags adds the sanitizers.
add_library(caravan_common_flags INTERFACE)
add_library(caravan::common_flags ALIAS caravan_common_flags)
target_include_directories(caravan_common_flags INTERFACE
  ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/proto)
target_compile_options(caravan_common_flags INTERFACE
  -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
  -fno-omit-frame-pointer)
if(CARAVAN_WERROR)
  target_compile_options(caravan_common_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(caravan_common_flags INTERFACE -Wthread-safety)
endif()
target_link_libraries(caravan_common_flags INTERFACE Threads::Threads)

add_library(caravan_build_flags INTERFACE)
add_library(caravan::build_flags ALIAS caravan_build_flags)
target_link_libraries(caravan_build_flags INTERFACE caravan::common_flags)
if(CARAVAN_SANITIZE)
  list(JOIN CARAVAN_SANITIZE "," sanitizers)
  target_compile_options(caravan_build_flags INTERFACE
    -fsanitize=${sanitizers} -fno-sanitize-recover=all)
  target_link_options(caravan_build_flags INTERFACE -fsanitize=${sanitizers})
endif()

# caravan_library(NAME n HDRS ... SRCS ... DEPS ... PRIVATE_DEPS ...)
# makes the static library caravan_n with the alias caravan::n. Each header must
# compile alone: where x.cc is among the sources, it proves that by including x.h
# first (tests/structure); the others form a header set that CMake verifies.
function(caravan_library)
  cmake_parse_arguments(ARG "" "NAME" "HDRS;SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  set(target caravan_${ARG_NAME})
  if(ARG_SRCS)
    add_library(${target} STATIC ${ARG_SRCS})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE ${ARG_PRIVATE_DEPS})
    set_target_properties(${target} PROPERTIES
      CXX_CLANG_TIDY "${CARAVAN_CLANG_TIDY}")
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(caravan::${ARG_NAME} ALIAS ${target})
  set(alone ${ARG_HDRS})
  foreach(source IN LISTS ARG_SRCS)
    string(REGEX REPLACE "\\.cc$" ".h" header ${source})
    list(REMOVE_ITEM alone ${header})
  endforeach()
  set(included_first ${ARG_HDRS})
  list(REMOVE_ITEM included_first ${alone})
  target_sources(${target} ${scope}
    FILE_SET included_first TYPE HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}
      FILES ${included_first}
    FILE_SET alone TYPE HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}
      FILES ${alone})
  set_target_properties(${target} PROPERTIES
    INTERFACE_HEADER_SETS_TO_VERIFY alone)
  target_link_libraries(${target} ${scope} caravan::build_flags ${ARG_DEPS})
endfunction()

# caravan_binary(NAME n SRCS ... DEPS ...) makes build/<preset>/bin/n.
function(caravan_binary)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE caravan::build_flags ${ARG_DEPS})
  set_target_properties(${ARG_NAME} PROPERTIES
    CXX_CLANG_TIDY "${CARAVAN_CLANG_TIDY}")
endfunction()
