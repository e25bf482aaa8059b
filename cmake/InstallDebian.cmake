# Runs when a component is packaged: /usr/share/doc/PACKAGE, and its man pages compressed.
set(root "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
set(work ${WORK_DIR}/${PACKAGE})
file(MAKE_DIRECTORY ${work})

file(WRITE ${work}/copyright
"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: sqlite-s3-agent

Files: *
Copyright: 2026 the sqlite-s3-agent authors
License: Apache-2.0
 On Debian systems the text of this license is in /usr/share/common-licenses/Apache-2.0.
")
file(INSTALL ${work}/copyright DESTINATION ${CMAKE_INSTALL_PREFIX}/share/doc/${PACKAGE})

file(TIMESTAMP ${SOURCE_DIR}/CMakeLists.txt date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${work}/changelog
  "sqlite-s3-agent (${VERSION}) unstable; urgency=medium\n\n  * Built from source.\n\n"
  " -- ${MAINTAINER}  ${date}\n")
execute_process(COMMAND gzip -9nf ${work}/changelog COMMAND_ERROR_IS_FATAL ANY)
file(INSTALL ${work}/changelog.gz DESTINATION ${CMAKE_INSTALL_PREFIX}/share/doc/${PACKAGE})

# What lintian says and is not so, with the reason.
set(overrides ${SOURCE_DIR}/packaging/${COMPONENT}/lintian-overrides)
if(EXISTS ${overrides})
  file(INSTALL ${overrides} DESTINATION ${CMAKE_INSTALL_PREFIX}/share/lintian/overrides
    RENAME ${PACKAGE})
endif()

file(GLOB pages ${root}/share/man/man*/*.[1-9])
foreach(page ${pages})
  execute_process(COMMAND gzip -9nf ${page} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
