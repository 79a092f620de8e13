# The one-way arrows of docs/architecture.md, enforced by the build.
#
# Each src/<name> is one static library. Its headers are reachable only through a directory that contains a link to
# that one folder, so `#include "shard/gate.h"` compiles only in a target that depends on the library `shard`, directly
# or through a library that does. Headers of RocksDB are shadowed for everybody who is not allowed to see them.

set(TERRANE_INCLUDE_ROOT ${CMAKE_BINARY_DIR}/include)
set(TERRANE_FORBIDDEN_ROOT ${CMAKE_BINARY_DIR}/forbidden)

# Shadows of rocksdb/*.h that refuse to compile.
file(GLOB TERRANE_ROCKSDB_HEADERS RELATIVE /usr/include /usr/include/rocksdb/*.h /usr/include/rocksdb/utilities/*.h)
foreach(header ${TERRANE_ROCKSDB_HEADERS})
  file(CONFIGURE OUTPUT ${TERRANE_FORBIDDEN_ROOT}/${header}
       CONTENT "#error \"only src/storage may include rocksdb/ (docs/architecture.md)\"\n")
endforeach()

# terrane_library(name DEPS targets... [ROCKSDB])
# Compiles src/<name>/*.cc into the library <name>, and links it alone once, so that a symbol of a library that it does
# not depend on fails the build.
function(terrane_library name)
  cmake_parse_arguments(ARG "ROCKSDB" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  if(NOT sources)
    add_library(${name} INTERFACE)
    return()
  endif()
  add_library(${name} STATIC ${sources})
  set_target_properties(${name} PROPERTIES OUTPUT_NAME terrane_${name})
  file(MAKE_DIRECTORY ${TERRANE_INCLUDE_ROOT}/${name})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${TERRANE_INCLUDE_ROOT}/${name}/${name} SYMBOLIC)
  target_include_directories(${name} PUBLIC ${TERRANE_INCLUDE_ROOT}/${name})
  if(NOT ARG_ROCKSDB)
    target_include_directories(${name} BEFORE PRIVATE ${TERRANE_FORBIDDEN_ROOT})
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_DEPS})
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/link_alone/main.cc CONTENT "int main() {}\n")
  add_executable(link_alone_${name} ${CMAKE_BINARY_DIR}/link_alone/main.cc)
  target_link_libraries(link_alone_${name} PRIVATE -Wl,--whole-archive ${name} -Wl,--no-whole-archive)
  set_target_properties(link_alone_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/link_alone)
endfunction()

# terrane_program(name SOURCES files... DEPS targets...)
# An executable in <build>/bin. The programs find each other there.
function(terrane_program name)
  cmake_parse_arguments(ARG "" "" "DEPS;SOURCES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} BEFORE PRIVATE ${TERRANE_FORBIDDEN_ROOT})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} version)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

# terrane_test(name DEPS targets... [ROCKSDB] [TIMEOUT seconds] [LABELS labels...])
# Compiles *.cc of the current directory into one GoogleTest binary and registers each of its tests.
function(terrane_test name)
  cmake_parse_arguments(ARG "ROCKSDB;SERIAL" "TIMEOUT" "DEPS;SOURCES;LABELS" ${ARGN})
  if(NOT ARG_SOURCES)
    file(GLOB ARG_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  endif()
  if(NOT ARG_SOURCES)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  if(NOT ARG_ROCKSDB)
    target_include_directories(${name} BEFORE PRIVATE ${TERRANE_FORBIDDEN_ROOT})
  endif()
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE TERRANE_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             TERRANE_BINARY_DIR="${CMAKE_BINARY_DIR}")
  include(GoogleTest)
  set(properties TIMEOUT ${ARG_TIMEOUT})
  if(ARG_LABELS)
    list(APPEND properties LABELS "${ARG_LABELS}")
  endif()
  if(ARG_SERIAL)
    list(APPEND properties RUN_SERIAL TRUE)
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX ${name}. PROPERTIES ${properties})
endfunction()
