#!/usr/bin/env python3
"""A pre-fork server: four workers write one database through the extension, and the one that ships is
killed. What was acknowledged before and after is in the replica, and the replica is the database.

    hook_prefork_test.py EXTENSION SQLITE_S3_RESTORE
"""
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest

EXTENSION, RESTORE = (os.path.abspath(path) for path in sys.argv[1:3])
WORKERS = 4
ROUNDS_BEFORE = 5  # of the shipper's death
ROUNDS_AFTER = 10
ROWS_PER_ROUND = 20


class Worker:
    """A child process that does one round of work for every byte it is sent, and answers each with
    its state, once the replica has the round."""

    pipes_of_parent = []  # which a child must not keep open: their ends are how workers end

    def __init__(self, number, path, url):
        self.number = number
        self.rounds = 0
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.alarm(120)
            code = 1
            try:
                for pipe in self.pipes_of_parent + [self.commands, self.answers]:
                    os.close(pipe)
                self.work(path, url, commands, answers)
                code = 0
            except Exception as error:  # pylint: disable=broad-except
                print(f"worker {number}: {error}", file=sys.stderr)
            finally:
                os._exit(code)
        os.close(commands)
        os.close(answers)
        self.pipes_of_parent += [self.commands, self.answers]

    def work(self, path, url, commands, answers):
        database = sqlite3.connect(path, isolation_level=None, timeout=60)
        database.enable_load_extension(True)
        database.load_extension(EXTENSION)
        database.execute("SELECT s3_start(?, 'interval=20ms')", (url,))
        while os.read(commands, 1):
            for row in range(ROWS_PER_ROUND):
                database.execute("INSERT INTO row VALUES(?, ?, ?, zeroblob(500))",
                                 (self.number, self.rounds, row))
            self.rounds += 1
            database.execute("SELECT s3_sync(60)")
            state = json.loads(database.execute("SELECT s3_status()").fetchone()[0])["state"]
            os.write(answers, state.encode() + b"\n")
        database.close()

    def send(self):
        os.write(self.commands, b"x")

    def answer(self):
        line = b""
        while not line.endswith(b"\n"):
            read = os.read(self.answers, 1)
            if not read:
                raise AssertionError(f"worker {self.number} died")
            line += read
        self.rounds += 1
        return line.decode().strip()

    def finish(self):
        for pipe in (self.commands, self.answers):
            os.close(pipe)
            self.pipes_of_parent.remove(pipe)
        return os.waitpid(self.pid, 0)[1]


class Prefork(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "app.db")
        self.replica = os.path.join(self.folder.name, "replica")
        database = sqlite3.connect(self.path)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE row(worker, round, number, padding)")
        database.close()

    def rows(self, path):
        database = sqlite3.connect(path)
        self.assertEqual(database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        rows = set(database.execute("SELECT worker, round, number FROM row"))
        database.close()
        return rows

    def round(self, workers):
        for worker in workers:
            worker.send()
        return {worker: worker.answer() for worker in workers}

    def test_the_shipper_is_killed(self):
        workers = [Worker(n, self.path, "file://" + self.replica) for n in range(WORKERS)]
        for _ in range(ROUNDS_BEFORE):
            states = self.round(workers)
        shippers = [worker for worker in workers if states[worker] != "standby"]
        self.assertEqual(len(shippers), 1, states.values())
        dead = shippers[0]
        left = [worker for worker in workers if worker is not dead]
        for worker in left:
            worker.send()  # so that they are writing and waiting when it happens
        os.kill(dead.pid, signal.SIGKILL)
        self.assertEqual(dead.finish(), signal.SIGKILL)
        for worker in left:
            worker.answer()
        for _ in range(ROUNDS_AFTER):
            states = self.round(left)
        self.assertEqual(sum(state != "standby" for state in states.values()), 1, states.values())
        for worker in left:
            self.assertEqual(worker.finish(), 0)

        restored = os.path.join(self.folder.name, "restored.db")
        subprocess.run([RESTORE, "file://" + self.replica, "-o", restored], check=True,
                       stdout=subprocess.DEVNULL)
        rows = self.rows(restored)
        for worker in workers:
            for number in range(worker.rounds * ROWS_PER_ROUND):
                self.assertIn((worker.number, *divmod(number, ROWS_PER_ROUND)), rows)
        self.assertEqual(rows, self.rows(self.path))
        with open(restored, "rb") as a, open(self.path, "rb") as b:
            self.assertEqual(a.read(), b.read(), "the replica is not the database")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
