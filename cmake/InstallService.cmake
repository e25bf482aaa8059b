# Runs when the project is installed: units, the agent's user, its configuration. An existing
# configuration is left as it is.
get_filename_component(prefix "${CMAKE_INSTALL_PREFIX}" ABSOLUTE)
set(BINDIR ${prefix}/${INSTALL_BINDIR})
set(DOCDIR ${prefix}/${INSTALL_DOCDIR})
set(SYSCONFDIR ${prefix}/etc)
if(prefix STREQUAL /usr)
  set(SYSCONFDIR /etc)
endif()
foreach(unit sqlite-s3-agent.service sqlite-s3-agent@.service)
  configure_file(${SOURCE_DIR}/systemd/${unit}.in ${WORK_DIR}/${unit} @ONLY)
  file(INSTALL ${WORK_DIR}/${unit} DESTINATION ${prefix}/lib/systemd/system)
endforeach()
file(INSTALL ${SOURCE_DIR}/systemd/sqlite-s3-agent.sysusers.conf
  DESTINATION ${prefix}/lib/sysusers.d RENAME sqlite-s3-agent.conf)
if(NOT EXISTS "$ENV{DESTDIR}${SYSCONFDIR}/sqlite-s3-agent/config.toml")
  file(INSTALL ${SOURCE_DIR}/systemd/config.toml DESTINATION ${SYSCONFDIR}/sqlite-s3-agent)
endif()
