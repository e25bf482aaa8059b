# CPack: a Debian package for each component of cmake/Install.cmake. scripts/package configures for it.
set(SQLITE_S3_MAINTAINER "sqlite-s3-agent maintainers <maintainers@sqlite-s3-agent.invalid>" CACHE
  STRING "for the packages' control files")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME sqlite-s3-agent)
set(CPACK_PACKAGE_CONTACT "${SQLITE_S3_MAINTAINER}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_COMPONENTS_ALL agent restore server hook dev doc)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

# A component's description begins with the line that lists show.
set(about "Every commit is shipped to a bucket as it happens, from inside the
application or from a service beside it, and any commit can be restored.")
set(CPACK_DEBIAN_AGENT_PACKAGE_NAME sqlite-s3-agent)
set(CPACK_COMPONENT_AGENT_DESCRIPTION "continuous backup of SQLite databases to object storage
${about}
This is the service that ships databases of other programs.")
set(CPACK_DEBIAN_AGENT_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_AGENT_PACKAGE_RECOMMENDS "sqlite-s3-restore, ca-certificates")
set(CPACK_DEBIAN_AGENT_PACKAGE_SUGGESTS sqlite-s3-doc)  # the unit names its OPERATIONS.md
set(CPACK_DEBIAN_AGENT_PACKAGE_CONTROL_EXTRA
  "${PROJECT_SOURCE_DIR}/packaging/agent/conffiles;${PROJECT_SOURCE_DIR}/packaging/agent/postinst"
  "${PROJECT_SOURCE_DIR}/packaging/agent/prerm;${PROJECT_SOURCE_DIR}/packaging/agent/postrm")

set(CPACK_DEBIAN_RESTORE_PACKAGE_NAME sqlite-s3-restore)
set(CPACK_COMPONENT_RESTORE_DESCRIPTION "restores SQLite databases from object storage
${about}
This is the program that restores, lists and verifies.")
set(CPACK_DEBIAN_RESTORE_PACKAGE_RECOMMENDS ca-certificates)

set(CPACK_DEBIAN_SERVER_PACKAGE_NAME sqlite-s3-server)
set(CPACK_COMPONENT_SERVER_DESCRIPTION "S3 server whose buckets are SQLite files
${about}
This is a small S3 server for trying, testing and edges.")

set(CPACK_DEBIAN_HOOK_PACKAGE_NAME libsqlite-s3-hook0)
set(CPACK_DEBIAN_HOOK_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_HOOK_DESCRIPTION "continuous backup of SQLite databases, library and extension
${about}
This is the library for applications and the extension that SQLite loads.")
set(CPACK_DEBIAN_HOOK_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_HOOK_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/packaging/hook/triggers)

set(CPACK_DEBIAN_DEV_PACKAGE_NAME libsqlite-s3-hook-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_DEV_DESCRIPTION "continuous backup of SQLite databases, development files
${about}
These are the headers, pkg-config and CMake files of the library, and examples.")
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
  "libsqlite-s3-hook0 (= ${PROJECT_VERSION}), libsqlite3-dev")

set(CPACK_DEBIAN_DOC_PACKAGE_NAME sqlite-s3-doc)
set(CPACK_DEBIAN_DOC_PACKAGE_SECTION doc)
set(CPACK_DEBIAN_DOC_PACKAGE_ARCHITECTURE all)
set(CPACK_COMPONENT_DOC_DESCRIPTION "continuous backup of SQLite databases, documentation
${about}
These are the manual, the formats and the decisions behind them.")

if(SQLITE_S3_PACKAGES)
  foreach(component ${CPACK_COMPONENTS_ALL})
    string(TOUPPER ${component} upper)
    install(CODE "
      set(SOURCE_DIR \"${PROJECT_SOURCE_DIR}\")
      set(WORK_DIR \"${PROJECT_BINARY_DIR}/install-debian\")
      set(COMPONENT ${component})
      set(PACKAGE ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
      set(VERSION ${PROJECT_VERSION})
      set(MAINTAINER \"${SQLITE_S3_MAINTAINER}\")
      include(\"${PROJECT_SOURCE_DIR}/cmake/InstallDebian.cmake\")"
      COMPONENT ${component})
  endforeach()
endif()
include(CPack)
