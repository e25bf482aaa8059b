"""What the tests of sqlite-s3-agent beside applications that know nothing of it share.

Needs the programs as sys.argv[1:3]: SQLITE_S3_AGENT SQLITE_S3_RESTORE.
"""
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

from sidecar import PATIENCE, PATIENT, Application

AGENT, RESTORE = (os.path.abspath(path) for path in sys.argv[1:3])


class SidecarCase(unittest.TestCase):
    """A database, its replica in a directory and the agent, as real processes."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "app.db")
        self.replica = os.path.join(folder.name, "replica")
        self.control = os.path.join(folder.name, "control")
        self.restored = os.path.join(folder.name, "restored.db")

    def start(self, *options):
        agent = subprocess.Popen(
            [AGENT, "run", self.path, "file://" + self.replica, "-o", "interval=20ms", *options],
            stderr=subprocess.PIPE, env={**PATIENT, **os.environ})
        os.set_blocking(agent.stderr.fileno(), False)
        self.addCleanup(self.end, agent)
        agent.said = b""
        return agent

    @staticmethod
    def end(agent):
        if agent.poll() is None:
            agent.kill()
            agent.wait()
        agent.stderr.close()

    def wait_until_said(self, agent, text):
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in agent.said:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([agent.stderr], [], [], left)[0]:
                self.fail(f"the agent did not say '{text}': {agent.said.decode()}")
            more = agent.stderr.read()
            if not more:
                self.fail(f"the agent ended: {agent.said.decode()}")
            agent.said += more

    def stop(self, agent):
        agent.send_signal(signal.SIGTERM)
        self.assertEqual(agent.wait(PATIENCE), 0)

    def make(self, *statements):
        application = Application(self.path)
        return application.run("PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)", *statements)

    def once(self):
        return subprocess.run([AGENT, "run", "--once", self.path, "file://" + self.replica],
                              stderr=subprocess.PIPE, text=True, check=False)

    def check_restored(self):
        """The replica is the database, row by row and, where no WAL is left, byte by byte."""
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(self.restored + suffix):
                os.remove(self.restored + suffix)
        subprocess.run([RESTORE, "file://" + self.replica, "-o", self.restored], check=True,
                       stdout=subprocess.DEVNULL)
        rows = []
        for path in (self.path, self.restored):
            database = sqlite3.connect(path)
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
            rows.append(database.execute("SELECT * FROM t ORDER BY rowid").fetchall())
            database.close()
        self.assertEqual(rows[0], rows[1])
        with open(self.path, "rb") as a, open(self.restored, "rb") as b:
            self.assertEqual(a.read(), b.read(), "the replica is not the database")

    def ask(self, *arguments, code=0):
        done = subprocess.run([AGENT, arguments[0], "--json", "--control", self.control,
                               *arguments[1:]], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, code, done.stdout)
        return json.loads(done.stdout)

    def start_with_control(self):
        agent = self.start("--control", self.control)
        self.wait_until_said(agent, "shipping")
        return agent

    def wait_for_state(self, state):
        deadline = time.monotonic() + PATIENCE
        while self.ask("status")["databases"][0]["state"] != state:
            self.assertLess(time.monotonic(), deadline, state)
