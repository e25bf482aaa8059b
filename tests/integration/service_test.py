#!/usr/bin/env python3
"""The service: its units as systemd reads them, its configuration, and what the agent tells systemd.

    service_test.py BUILD_DIRECTORY SQLITE_S3_AGENT
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD, AGENT = (os.path.abspath(path) for path in sys.argv[1:3])


def setUpModule():
    global FOLDER, PREFIX, UNITS
    FOLDER = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(FOLDER.cleanup)
    PREFIX = os.path.join(FOLDER.name, "prefix")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", PREFIX, "--component", "agent"],
                   check=True, stdout=subprocess.DEVNULL)
    UNITS = os.path.join(PREFIX, "lib/systemd/system")


class Units(unittest.TestCase):

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_systemd_finds_nothing_wrong_with_them(self):
        template = os.path.join(UNITS, "sqlite-s3-agent@.service")
        instance = os.path.join(UNITS, "sqlite-s3-agent@one.service")
        shutil.copy(template, instance)
        self.addCleanup(os.remove, instance)
        for unit in (os.path.join(UNITS, "sqlite-s3-agent.service"), instance):
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            # Other units of the machine may have faults of their own.
            ours = [line for line in done.stdout.splitlines() if "sqlite-s3" in line]
            self.assertEqual(ours, [])

    def test_name_files_that_were_installed(self):
        with open(os.path.join(UNITS, "sqlite-s3-agent.service"), encoding="utf-8") as file:
            unit = file.read()
        program, config = re.search(r"^ExecStart=(\S+) run --config (\S+)$", unit, re.M).groups()
        self.assertTrue(os.access(program, os.X_OK), program)
        self.assertTrue(os.path.exists(config), config)
        self.assertNotRegex(unit, "@[A-Z]")
        user = re.search(r"^User=(\S+)$", unit, re.M).group(1)
        with open(os.path.join(PREFIX, "lib/sysusers.d/sqlite-s3-agent.conf"),
                  encoding="utf-8") as file:
            self.assertIn(f"\nu {user} ", file.read())

    def test_installing_again_leaves_the_configuration_alone(self):
        config = os.path.join(PREFIX, "etc/sqlite-s3-agent/config.toml")
        with open(config, encoding="utf-8") as file:
            before = file.read()
        with open(config, "a", encoding="utf-8") as file:
            file.write("# mine\n")
        subprocess.run(["cmake", "--install", BUILD, "--prefix", PREFIX, "--component", "agent"],
                       check=True, stdout=subprocess.DEVNULL)
        with open(config, encoding="utf-8") as file:
            self.assertEqual(file.read(), before + "# mine\n")


class Configuration(unittest.TestCase):

    def check(self, text):
        path = os.path.join(FOLDER.name, "config.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return subprocess.run([AGENT, "check-config", path], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)

    def test_is_valid_as_it_comes_and_with_every_example_in_it(self):
        with open(os.path.join(PREFIX, "etc/sqlite-s3-agent/config.toml"), encoding="utf-8") as file:
            text = file.read()
        as_it_comes = self.check(text)
        self.assertEqual(as_it_comes.returncode, 0, as_it_comes.stdout)
        examples = self.check(re.sub(r"^#(?=[a-z\[])", "", text, flags=re.M))
        self.assertEqual(examples.returncode, 0, examples.stdout)
        self.assertIn("/var/lib/app/app.db -> s3://bucket/app", examples.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
