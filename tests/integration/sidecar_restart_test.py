#!/usr/bin/env python3
"""sqlite-s3-agent ends at any moment and comes back: killed at its system calls, away while the WAL
was started anew once or many times.

    sidecar_restart_test.py SQLITE_S3_AGENT SQLITE_S3_RESTORE KILL_AT_LIBRARY [--all] [TEST...]

--all kills it at each of its calls, and not at some of them.
"""
import os
import random
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar  # noqa: E402  pylint: disable=wrong-import-position
from sidecar import Application, make_database  # noqa: E402

AGENT, RESTORE, KILL_AT = (os.path.abspath(path) for path in sys.argv[1:4])
ALL = "--all" in sys.argv[4:]
SOME = (1, 7, 20, 54, 144, 233)


class World:
    """A database, its replica, and agents that come and go."""

    def __init__(self, folder):
        self.folder = folder
        os.mkdir(folder)
        self.path = os.path.join(folder, "app.db")
        self.replica = "file://" + os.path.join(folder, "replica")
        self.restored = os.path.join(folder, "restored.db")
        self.agent = None

    def start(self):
        self.agent = sidecar.Agent(AGENT, os.path.join(self.folder, "control"), self.path,
                                   self.replica, "-o", "interval=10ms")
        return self.agent

    def check(self):
        self.agent.sync(self.path)
        sidecar.restore(RESTORE, self.replica, self.restored)
        sidecar.compare(self.path, self.restored)

    def close(self):
        if self.agent:
            self.agent.close()


class Restart(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="restart-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def world(self, name="world"):
        world = World(os.path.join(self.folder, name))
        self.addCleanup(world.close)
        return world

    # --- killed at its calls

    def run_until_killed(self, world, application, **settings):
        """An agent that is to end at a call. Whether it did, before the application had enough."""
        preload = ":".join(filter(None, (os.environ.get("LD_PRELOAD"), KILL_AT)))
        agent = subprocess.Popen(
            [AGENT, "run", world.path, world.replica, "-o", "interval=10ms,checkpoint=50"],
            stderr=subprocess.DEVNULL, env={
                **os.environ, "LD_PRELOAD": preload, **settings,
                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"})
        for i in range(400):
            if agent.poll() is not None:
                break
            application.run(f"INSERT INTO t VALUES({i}, randomblob({i * 31 % 3000}))")
            if i % 40 == 20:
                application.run("PRAGMA wal_checkpoint(PASSIVE)", "DELETE FROM t WHERE a % 3 = 0")
        killed = agent.poll() is not None
        if killed:
            self.assertEqual(agent.returncode, -signal.SIGKILL)
        agent.kill()
        agent.wait()
        return killed

    def kill_at_calls(self, **settings):
        k = 0
        while True:
            if not ALL and k == len(SOME):
                return
            at = k + 1 if ALL else SOME[k]
            k += 1
            with self.subTest(call=at, **settings):
                world = self.world(f"call-{at}")
                application = make_database(world.path, "INSERT INTO t VALUES(1, 1)")
                killed = self.run_until_killed(world, application, KILL_AT=str(at), **settings)
                # Commits that nobody saw, in a WAL that is started anew.
                application.run("INSERT INTO t VALUES('away', randomblob(5000))",
                                "PRAGMA wal_checkpoint(TRUNCATE)", "UPDATE t SET b = 1 WHERE a < 9")
                world.start()
                world.check()
                application.close()
                world.check()
                world.agent.stop()
            if not killed:
                return

    def test_killed_at_any_call_it_goes_on_where_it_was(self):
        self.kill_at_calls()

    def test_killed_in_the_middle_of_any_write_it_goes_on_where_it_was(self):
        self.kill_at_calls(KILL_AT_TORN="1", KILL_AT_OPS="write,pwrite")

    # --- away

    def test_what_differs_is_shipped_and_no_more_after_the_wal_was_reset_many_times(self):
        world = self.world()
        application = make_database(
            world.path, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE "
            "i < 5000) INSERT INTO t SELECT i, randomblob(3500) FROM n")
        world.start()
        world.check()
        world.agent.kill()
        world.agent.close()
        for i in range(50):
            application.run(f"UPDATE t SET b = randomblob(3500) WHERE a = {i % 5 + 1}",
                            "PRAGMA wal_checkpoint(TRUNCATE)")
        world.start()
        world.check()
        status = world.agent.status(world.path)
        size = os.path.getsize(world.path)
        self.assertEqual((status["resyncs"], status["images"]), (1, 0))
        self.assertGreater(size, 15_000_000)
        self.assertLess(status["bytes"], size / 100)
        application.close()
        world.check()

    def test_the_old_tail_behind_a_wal_that_was_started_anew_once(self):
        pick = random.Random(7)
        for round_ in range(5):
            with self.subTest(round=round_):
                world = self.world(f"wrap-{round_}")
                application = make_database(world.path, "PRAGMA wal_autocheckpoint=0")
                world.start()
                for i in range(pick.randrange(5, 40)):
                    application.run(f"INSERT INTO t VALUES({i}, randomblob(2000))")
                world.agent.sync(world.path)
                world.agent.kill()
                world.agent.close()
                for i in range(pick.randrange(1, 30)):  # the tail
                    application.run(f"INSERT INTO t VALUES('tail', randomblob({i * 200}))")
                application.run("PRAGMA wal_checkpoint(PASSIVE)")
                for i in range(pick.randrange(1, 20)):  # over the WAL's beginning
                    application.run(f"UPDATE t SET b = randomblob(500) WHERE a = {i}")
                world.start()
                world.check()
                application.close()
                world.check()
                world.agent.stop()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + [a for a in sys.argv[4:] if a != "--all"])
