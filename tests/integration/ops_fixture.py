"""An agent as an operator runs it: its log, its control socket, a store that can go away."""
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from sidecar import PATIENCE, Application
from sidecar_fixture import AGENT

SERVER = os.path.abspath(sys.argv[3])
KEYS = {"AWS_ACCESS_KEY_ID": "ops", "AWS_SECRET_ACCESS_KEY": "canary-secret"}


class S3:
    """A store that can go away and come back."""

    def __init__(self, test):
        self.folder = os.path.join(test.folder, "buckets")
        self.port_file = os.path.join(test.folder, "port")
        os.mkdir(self.folder)
        self.process = None
        self.port = 0
        self.come()
        test.addCleanup(self.go)
        self.url = f"s3://bucket/app?endpoint=http://127.0.0.1:{self.port}"

    def come(self):
        self.process = subprocess.Popen(
            [SERVER, self.folder, "--listen", f"127.0.0.1:{self.port}", "--bucket", "bucket",
             "--port-file", self.port_file], stdout=subprocess.PIPE,
            env={**os.environ, "SQLITE_S3_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
                 "SQLITE_S3_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]})
        if not self.process.stdout.readline():  # "serving ..."
            raise AssertionError("the S3 server did not start")
        with open(self.port_file, encoding="ascii") as file:
            self.port = int(file.readline().split()[1])

    def go(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Ops(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(folder.name, "app.db")
        self.replica = os.path.join(folder.name, "replica")
        self.control = os.path.join(folder.name, "control")

    def make(self, path=None):
        application = Application(path or self.path)
        self.addCleanup(application.kill)
        return application.run("PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)")

    def start(self, *options, environment=(), arguments=None):
        """The agent, and its log as a queue of lines."""
        if arguments is None:
            arguments = [self.path, "file://" + self.replica]
        agent = subprocess.Popen(
            [AGENT, "run", *arguments, "--control", self.control, *options], text=True,
            stderr=subprocess.PIPE, env={**os.environ, **dict(environment)})
        agent.said = []
        lines = queue.Queue()

        def read():
            for line in agent.stderr:
                agent.said.append(line)
                lines.put(line)
            lines.put(None)

        reader = threading.Thread(target=read)
        reader.start()
        agent.lines = lines

        def end():
            if agent.poll() is None:
                agent.kill()
            agent.wait()
            reader.join()
            agent.stderr.close()

        self.addCleanup(end)
        return agent

    def wait_until_said(self, agent, text):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = agent.lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                line = None
            if line is None:
                self.fail(f"the agent did not say '{text}': {agent.said}")
            if text in line:
                return line

    def ask(self, *arguments, code=0):
        done = subprocess.run([AGENT, arguments[0], "--json", "--control", self.control,
                               *arguments[1:]], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, code, done.stdout)
        return json.loads(done.stdout)

    def alarm(self):
        return self.ask("status")["databases"][0]["alarm"]

    def sync_and_be_quiet(self):
        """All is shipped, and an alarm that a slow machine may have raised on the way is over: the
        next one is of what happens next."""
        self.ask("sync")
        self.wait_for(lambda: not self.alarm())

    def wait_for(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            self.assertLess(time.monotonic(), deadline, condition)
        return found
