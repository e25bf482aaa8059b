# cmake --install: programs, libraries, headers, pkg-config and CMake package files, documents.
# Included when all folders are known, at the end of the top-level CMakeLists.txt.
include(CMakePackageConfigHelpers)

# On, the install tree also gets what Debian wants of every package: copyright, changelog, man pages
# compressed.
option(SQLITE_S3_PACKAGES "install what Debian packages need" OFF)

# Programs are what their folders call sqlite-s3-*.
foreach(folder restore agent/daemon server)
  if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${folder}/CMakeLists.txt)
    continue()
  endif()
  get_property(targets DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    get_target_property(output_name ${target} OUTPUT_NAME)
    if(type STREQUAL EXECUTABLE AND "${target} ${output_name}" MATCHES "sqlite-s3-")
      string(REPLACE sqlite-s3- "" component ${target})  # agent, restore, server
      install(TARGETS ${target} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
        COMPONENT ${component})
    endif()
  endforeach()
endforeach()

# The extension lies beside the library: load_extension('LIBDIR/sqlite_s3_hook').
install(TARGETS sqlite_s3_hook sqlite_s3_hook_extension
  EXPORT SqliteS3HookTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT hook NAMELINK_COMPONENT dev)
install(FILES agent/hook/sqlite_s3.h agent/hook/sqlite_s3.hpp
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)

set(cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/SqliteS3Hook)
install(EXPORT SqliteS3HookTargets NAMESPACE SqliteS3:: DESTINATION ${cmake_folder} COMPONENT dev)
configure_package_config_file(
  cmake/SqliteS3HookConfig.cmake.in ${PROJECT_BINARY_DIR}/SqliteS3HookConfig.cmake
  INSTALL_DESTINATION ${cmake_folder}
  NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0 a minor version may break the C ABI; the soname says so too.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/SqliteS3HookConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/SqliteS3HookConfig.cmake
  ${PROJECT_BINARY_DIR}/SqliteS3HookConfigVersion.cmake
  DESTINATION ${cmake_folder} COMPONENT dev)

# Relative to the file itself, so that a tree can be moved or staged.
file(RELATIVE_PATH SQLITE_S3_PC_PREFIX
  /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/sqlite_s3_hook.pc.in ${PROJECT_BINARY_DIR}/sqlite_s3_hook.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/sqlite_s3_hook.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

foreach(program agent restore server)
  install(FILES docs/man/sqlite-s3-${program}.1
    DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT ${program})
  # One file by the three names that bash looks for.
  install(FILES completions/sqlite-s3 RENAME sqlite-s3-${program}
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT ${program})
  # Where Debian's zsh looks, and fish anywhere.
  install(FILES completions/sqlite-s3.zsh RENAME _sqlite-s3-${program}
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT ${program})
  install(FILES completions/sqlite-s3.fish RENAME sqlite-s3-${program}.fish
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT ${program})
endforeach()

# Units name the programs and the configuration where they come to lie, which is known when they are
# installed: under /usr the configuration is /etc, elsewhere it stays below the prefix.
install(CODE "
  set(SOURCE_DIR \"${PROJECT_SOURCE_DIR}\")
  set(WORK_DIR \"${PROJECT_BINARY_DIR}/install-service\")
  set(INSTALL_BINDIR \"${CMAKE_INSTALL_BINDIR}\")
  set(INSTALL_DOCDIR \"${CMAKE_INSTALL_DOCDIR}\")
  include(\"${PROJECT_SOURCE_DIR}/cmake/InstallService.cmake\")"
  COMPONENT agent)

install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT doc)
if(NOT SQLITE_S3_PACKAGES)  # these have it as their copyright
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT doc)
endif()
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs COMPONENT doc
  FILES_MATCHING PATTERN "*.md" PATTERN man EXCLUDE)
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples COMPONENT dev
  PATTERN "__pycache__" EXCLUDE)
include(cmake/Packages.cmake)
