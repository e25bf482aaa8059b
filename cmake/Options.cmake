# Warnings and sanitizers as one INTERFACE target, so that nothing is global and users of the
# installed library inherit none of it. -Werror comes from the presets only.
option(SQLITE_S3_WERROR "warnings are errors" OFF)
set(SQLITE_S3_SANITIZE "" CACHE STRING "comma-separated list for -fsanitize=")
option(SQLITE_S3_COVERAGE "instrument for gcov" OFF)
option(SQLITE_S3_FUZZ "libFuzzer entries instead of tests over mutated seeds; needs clang" OFF)

# A compiler cache when there is one; -DCMAKE_CXX_COMPILER_LAUNCHER= switches it off.
find_program(SQLITE_S3_CCACHE ccache)
mark_as_advanced(SQLITE_S3_CCACHE)
if(SQLITE_S3_CCACHE)
  foreach(language C CXX)
    if(NOT DEFINED CMAKE_${language}_COMPILER_LAUNCHER)
      set(CMAKE_${language}_COMPILER_LAUNCHER ${SQLITE_S3_CCACHE})
    endif()
  endforeach()
endif()

add_library(project_options INTERFACE)
target_include_directories(project_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(project_options INTERFACE
  -Wall -Wextra -Wpedantic
  -Wshadow                # a shadowed status is a lost error
  -Wconversion            # sizes from hostile input must not be cut silently
  -Wsign-conversion
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>  # g++ 12 sees it in std::variant's moves; the sanitizers look for real ones
  -fvisibility=hidden     # the library lives in somebody else's process
  $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast -Wnon-virtual-dtor -fvisibility-inlines-hidden>
  $<$<BOOL:${SQLITE_S3_WERROR}>:-Werror>)
if(SQLITE_S3_SANITIZE)
  # Without no-recover UBSan prints and goes on, and the test passes.
  target_compile_options(project_options INTERFACE
    -fsanitize=${SQLITE_S3_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(project_options INTERFACE -fsanitize=${SQLITE_S3_SANITIZE})
endif()
if(SQLITE_S3_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "SQLITE_S3_FUZZ needs clang")
  endif()
  target_compile_options(project_options INTERFACE
    -g1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  target_link_options(project_options INTERFACE -fsanitize=address,undefined)
endif()
if(SQLITE_S3_COVERAGE)
  target_compile_options(project_options INTERFACE --coverage)
  target_link_options(project_options INTERFACE --coverage)
endif()
