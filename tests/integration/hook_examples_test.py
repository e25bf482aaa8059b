#!/usr/bin/env python3
"""The examples work as they say.

    hook_examples_test.py NOTES EVENTS TASKS_PY EXTENSION

The first two are programs. Also used by hook_install_test.py, for the installed ones.
"""
import glob
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import unittest


class ExamplesTest(unittest.TestCase):
    notes = events = tasks = extension = None
    environment = {}

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "app.db")
        self.replica = os.path.join(self.folder.name, "replica")

    def run_example(self, command, *arguments, expect=0):
        done = subprocess.run(command + [self.path, "file://" + self.replica, *arguments], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              env={**os.environ, **self.environment})
        self.assertEqual(done.returncode, expect, done.stderr)
        return done.stdout if expect == 0 else done.stderr

    def restore_point(self, output):
        found = re.search("restore point ([0-9a-f]{16})", output)
        self.assertTrue(found, output)
        return int(found.group(1), 16)

    def assert_one_file(self):
        self.assertFalse(os.path.exists(self.path + "-wal"))
        self.assertTrue(glob.glob(self.replica + "/*/log/*.seg"))

    def test_notes(self):
        first = self.restore_point(self.run_example(self.notes, "add", "buy milk"))
        second = self.restore_point(self.run_example(self.notes, "add", "it's late"))
        self.assertEqual(second, first + 1)
        self.assertRegex(self.run_example(self.notes, "list"), "buy milk\n.*it's late\n")
        self.assertIn('"state":', self.run_example(self.notes, "status"))
        self.assertIn("no such command", self.run_example(self.notes, "dance", expect=1))
        self.assert_one_file()

    def test_notes_says_why_not(self):
        os.mkdir(self.path)
        self.assertIn("notes: ", self.run_example(self.notes, "list", expect=1))

    def test_events(self):
        output = self.run_example(self.events, "4", "25")
        self.assertIn("100 events", output)
        self.restore_point(output)
        self.assert_one_file()
        database = sqlite3.connect(self.path)
        self.assertEqual(database.execute("SELECT count(*) FROM event").fetchone()[0], 100)
        database.close()
        self.assertEqual(os.listdir(self.replica + "/marks"), ["recorded.json"])

    def test_tasks(self):
        tasks = ["/usr/bin/python3", self.tasks]
        self.environment = {"SQLITE_S3_EXTENSION": self.extension}
        self.restore_point(self.run_example(tasks, "add", "water", "the", "plants"))
        self.assertEqual(self.run_example(tasks, "list"), "1 water the plants\n")
        self.assertIn("--until mark:before-clear-", self.run_example(tasks, "clear"))
        self.assertEqual(self.run_example(tasks, "list"), "")
        self.assert_one_file()

    def test_tasks_says_why_not(self):
        self.environment = {"SQLITE_S3_EXTENSION": "/nowhere/sqlite_s3_hook"}
        self.assertIn("tasks: /nowhere",
                      self.run_example(["/usr/bin/python3", self.tasks], "list", expect=1))


if __name__ == "__main__":
    ExamplesTest.notes = [sys.argv[1]]
    ExamplesTest.events = [sys.argv[2]]
    ExamplesTest.tasks, ExamplesTest.extension = sys.argv[3:5]
    unittest.main(argv=sys.argv[:1] + sys.argv[5:])
