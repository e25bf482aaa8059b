#!/usr/bin/env python3
"""cmake --install gives what others can build against, wherever it is put.

    hook_install_test.py BUILD_DIRECTORY C_COMPILER CXX_COMPILER

Installs into a temporary prefix, moves it, and builds the installed examples there with pkg-config
and with find_package.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import hook_examples_test

BUILD, CC, CXX = sys.argv[1:4]


def run(*command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}:\n{done.stdout}")
    return done.stdout


def setUpModule():
    """Installs once, and moves what was installed: nothing may know where it was."""
    global FOLDER, PREFIX, LIBDIR, EXAMPLES
    FOLDER = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(FOLDER.cleanup)
    first = os.path.join(FOLDER.name, "first")
    run("cmake", "--install", BUILD, "--prefix", first)
    PREFIX = os.path.join(FOLDER.name, "moved")
    shutil.move(first, PREFIX)
    LIBDIR = os.path.dirname(find("libsqlite_s3_hook.so"))
    EXAMPLES = os.path.dirname(find("notes.c"))


def find(name):
    found = glob.glob(os.path.join(PREFIX, "**", name), recursive=True)
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


class InstalledFiles(unittest.TestCase):

    def test_are_there(self):
        for name in ("sqlite_s3.h", "sqlite_s3.hpp", "sqlite_s3_hook.so", "libsqlite_s3_hook.so.0",
                     "sqlite_s3_hook.pc", "SqliteS3HookConfig.cmake", "LICENSE", "README.md",
                     "OPERATIONS.md", "tasks.py", "bin/sqlite-s3-restore",
                     "bash-completion/completions/sqlite-s3-agent",
                     "vendor-completions/_sqlite-s3-agent", "sqlite-s3-agent.fish",
                     "sqlite-s3-server.1"):
            find(name)

    def test_name_neither_build_nor_prefix(self):
        for pattern in ("*.pc", "*.cmake", "*.h", "*.hpp"):
            for path in glob.glob(os.path.join(PREFIX, "**", pattern), recursive=True):
                with open(path, encoding="utf-8") as file:
                    content = file.read()
                self.assertNotIn(BUILD, content, path)
                self.assertNotIn(FOLDER.name, content, path)
        for name in ("libsqlite_s3_hook.so.0", "sqlite_s3_hook.so"):
            self.assertNotRegex(run("readelf", "-d", find(name)), "R(UN)?PATH")

    def test_libraries_export_their_interface_and_nothing_else(self):
        def exported(name):
            lines = run("nm", "-D", "--defined-only", find(name)).splitlines()
            return {line.split()[-1] for line in lines}

        with open(find("sqlite_s3.h"), encoding="utf-8") as file:
            declared = re.findall(r"^SQLITE_S3_API [^(]*?(sqlite_s3_\w+)\(", file.read(), re.M)
        self.assertEqual(exported("libsqlite_s3_hook.so.0"), set(declared))
        self.assertEqual(exported("sqlite_s3_hook.so"),
                         {"sqlite3_extension_init", "sqlite3_sqliteshook_init",
                          "sqlite3_sqlites3hook_init"})

    def test_the_extension_brings_no_second_sqlite(self):
        needed = run("readelf", "-d", find("sqlite_s3_hook.so"))
        self.assertNotIn("libsqlite3", needed)
        self.assertIn("NODELETE", needed)
        self.assertIn("[libsqlite3.so.0]", run("readelf", "-d", find("libsqlite_s3_hook.so.0")))

    def test_headers_are_clean_in_the_oldest_dialect(self):
        include = os.path.dirname(find("sqlite_s3.h"))
        for compiler, language, dialect, header in (
                (CC, "c", "c89", "sqlite_s3.h"), (CXX, "c++", "c++98", "sqlite_s3.h"),
                (CXX, "c++", "c++17", "sqlite_s3.hpp")):
            run(compiler, "-x", language, f"-std={dialect}", "-pedantic-errors", "-Wall", "-Wextra",
                "-Werror", "-fsyntax-only", f"-I{include}", "-",
                input=f"#include <{header}>\n#include <{header}>\n")


class BuiltWithCMake(hook_examples_test.ExamplesTest):

    @classmethod
    def setUpClass(cls):
        build = os.path.join(FOLDER.name, "with-cmake")
        run("cmake", "-S", EXAMPLES, "-B", build, f"-DCMAKE_PREFIX_PATH={PREFIX}",
            f"-DCMAKE_C_COMPILER={CC}", f"-DCMAKE_CXX_COMPILER={CXX}")
        run("cmake", "--build", build)
        cls.notes = [os.path.join(build, "examples", "example_notes")]
        cls.events = [os.path.join(build, "examples", "example_events")]
        cls.tasks = find("tasks.py")
        cls.extension = find("sqlite_s3_hook.so")


class BuiltWithPkgConfig(hook_examples_test.ExamplesTest):
    environment = {}

    @classmethod
    def setUpClass(cls):
        environment = {**os.environ, "PKG_CONFIG_PATH": os.path.join(LIBDIR, "pkgconfig")}

        def pkg_config(*options):
            return run("pkg-config", *options, env=environment).split()

        flags = pkg_config("--cflags", "--libs", "sqlite_s3_hook", "sqlite3")
        notes = os.path.join(FOLDER.name, "notes")
        events = os.path.join(FOLDER.name, "events")
        run(CC, "-o", notes, os.path.join(EXAMPLES, "notes.c"), *flags)
        run(CXX, "-std=c++17", "-pthread", "-o", events, os.path.join(EXAMPLES, "events.cc"), *flags)
        with_library = ["env", "LD_LIBRARY_PATH=" + LIBDIR]
        cls.notes = with_library + [notes]
        cls.events = with_library + [events]
        cls.tasks = find("tasks.py")
        cls.extension = os.path.realpath(
            pkg_config("--variable=extension", "sqlite_s3_hook")[0])


del hook_examples_test.ExamplesTest  # the base class is no test of its own here

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
