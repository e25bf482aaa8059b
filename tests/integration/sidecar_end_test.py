#!/usr/bin/env python3
"""sqlite-s3-agent ends while an upload is on its way, told to or killed, and an agent that stands
by goes on: every commit gets there, and a request that its sender did not live to see answered hurts
nobody when the store carries it out later.

    sidecar_end_test.py SQLITE_S3_SERVER SQLITE_S3_AGENT SQLITE_S3_RESTORE [TEST...]
"""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import s3_server  # noqa: E402  pylint: disable=wrong-import-position
import sidecar  # noqa: E402
from sidecar import make_database  # noqa: E402

s3_server.PROGRAM, AGENT, RESTORE = (os.path.abspath(path) for path in sys.argv[1:4])
KEYS = {"AWS_ACCESS_KEY_ID": s3_server.ACCESS, "AWS_SECRET_ACCESS_KEY": s3_server.SECRET}
HOUR_MS = 3_600_000  # longer than any test: what is held so long goes on when it is let go


class End(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="end-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(self.folder, "app.db")
        self.restored = os.path.join(self.folder, "restored.db")
        self.server = s3_server.Server(self.folder, "--bucket", "bucket", "--enable-faults",
                                       "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
        self.addCleanup(self.server.stop)
        self.addCleanup(self.let_go)
        self.replica = f"s3://bucket/app?endpoint=http://{self.server.address}"

    def start(self, *options, name="agent", **process):
        agent = sidecar.Agent(
            AGENT, os.path.join(self.folder, name), self.path, self.replica, "-o",
            ",".join(("interval=10ms", "image_log_percent=0", "request_timeout=1h", *options)),
            env=KEYS, **process)
        self.addCleanup(agent.close)
        return agent

    def check(self, agent):
        agent.sync(self.path)
        sidecar.restore(RESTORE, self.replica, self.restored, env=KEYS)
        sidecar.compare(self.path, self.restored)

    # --- a store that holds a request

    def rules(self, method, body=None):
        status, answer = self.server.ask("faults", method, "/rules", json.dumps(body))
        self.assertEqual(status // 100, 2, answer)
        return json.loads(answer) if answer else None

    def hold(self, key="*/log/*"):
        """The next upload of such a key is read, and carried out when it is let go."""
        self.rules("POST", {"op": "PutObject", "key": key, "fault": "delay", "delay_ms": HOUR_MS,
                            "count": 1})

    def let_go(self):
        self.rules("DELETE")

    def answered(self):
        """How many uploads of objects the server has carried out or refused."""
        status, metrics = self.server.ask("metrics", "GET", "/metrics")
        self.assertEqual(status, 200)
        return sum(float(line.split()[1]) for line in metrics.splitlines()
                   if line.startswith('sqlite_s3_server_requests_total{operation="PutObject"'))

    def let_go_and_wait(self):
        """What was held is carried out, its sender gone. Nobody else uploads."""
        before = self.answered()
        self.let_go()
        deadline = time.monotonic() + sidecar.PATIENCE
        while self.answered() == before:
            self.assertLess(time.monotonic(), deadline)

    def wait_until_held(self, agent):
        agent.wait_for("an upload on its way",
                       lambda: any(rule["hits"] for rule in self.rules("GET")))

    def hold_an_upload(self, *options, key="*/log/*", **process):
        """An agent with one, and its application."""
        application = make_database(self.path)
        agent = self.start(*options, **process)
        agent.sync(self.path)
        self.hold(key)
        application.run("INSERT INTO t VALUES('held', randomblob(3000))")
        self.wait_until_held(agent)
        return agent, application

    def check_next(self, application, lands_first=False):
        """The next start sends what is there; the old request is carried out before or after."""
        application.run("INSERT INTO t VALUES('away', randomblob(3000))")
        if lands_first:
            self.let_go_and_wait()
        agent = self.start(name="next")
        self.check(agent)
        if not lands_first:
            self.let_go_and_wait()
        application.run("INSERT INTO t VALUES('after', randomblob(3000))")
        self.check(agent)
        status = agent.status(self.path)
        self.assertEqual((status["state"], status["timeline"], status["resyncs"]),
                         ("shipping", 1, 0))
        application.close()
        self.check(agent)
        agent.stop()
        agent.close()


class Told(End):

    def test_waits_for_an_upload_that_is_answered_within_close_timeout(self):
        agent, application = self.hold_an_upload("close_timeout=1h")
        agent.process.terminate()
        agent.wait_for("its end to begin", lambda: "stopping" in agent.said())
        self.let_go()
        self.assertEqual(agent.process.wait(sidecar.PATIENCE), 0, agent.said())
        sidecar.restore(RESTORE, self.replica, self.restored, env=KEYS)
        sidecar.compare(self.path, self.restored)
        application.close()

    def test_ends_unanswered_after_close_timeout_and_sends_it_at_the_next_start(self):
        agent, application = self.hold_an_upload("close_timeout=100ms")
        agent.process.terminate()
        self.assertEqual(agent.process.wait(sidecar.PATIENCE), 7, agent.said())
        self.check_next(application)

    def test_a_first_image_on_its_way_is_sent_again_at_the_next_start(self):
        application = make_database(self.path, "INSERT INTO t VALUES(1, randomblob(90000))")
        self.hold("*/image/*")
        agent = self.start("close_timeout=100ms")
        self.wait_until_held(agent)
        agent.process.terminate()
        self.assertEqual(agent.process.wait(sidecar.PATIENCE), 7, agent.said())
        self.check_next(application)

    def test_ends_with_7_when_the_store_was_never_there_or_its_first_answer_is_on_its_way(self):
        application = make_database(self.path)
        self.rules("POST", {"op": "GetObject", "fault": "delay", "delay_ms": HOUR_MS})
        for away in (False, True):
            with self.subTest(away=away):
                if away:  # a port that is taken, and nobody listens
                    taken = socket.socket()
                    self.addCleanup(taken.close)
                    taken.bind(("127.0.0.1", 0))
                    self.replica = ("s3://bucket/app?endpoint=http://127.0.0.1:"
                                    f"{taken.getsockname()[1]}")
                agent = self.start("close_timeout=100ms", name=str(away))
                if away:
                    agent.wait_for_field(self.path, "state", "waiting")
                else:
                    self.wait_until_held(agent)
                agent.process.terminate()
                self.assertEqual(agent.process.wait(sidecar.PATIENCE), 7, agent.said())
                agent.close()
        application.close()

    def test_a_second_signal_ends_it_at_once(self):
        for second in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(second=second):
                agent, application = self.hold_an_upload("close_timeout=1h", name=str(second))
                agent.process.terminate()
                agent.wait_for("its end to begin", lambda a=agent: "stopping" in a.said())
                agent.process.send_signal(second)
                self.assertEqual(agent.process.wait(sidecar.PATIENCE), -second, agent.said())
                agent.close()
                self.check_next(application)


class Killed(End):

    def test_in_the_middle_of_an_upload_it_is_sent_again_after_or_before_the_old_one_lands(self):
        for lands_first in (False, True):
            with self.subTest(lands_first=lands_first):
                agent, application = self.hold_an_upload(name=f"agent-{lands_first}")
                agent.kill()
                self.check_next(application, lands_first)


class Two(End):
    """Agents of the same database."""

    def test_the_second_stands_by_and_goes_on_when_the_first_ends(self):
        application = make_database(self.path)
        first = self.start(name="0")
        first.wait_for_state(self.path, "shipping")
        for i, end in enumerate((sidecar.Agent.stop, sidecar.Agent.kill) * 2):
            second = self.start(name=str(i + 1))
            second.wait_for_state(self.path, "standby")
            application.run(f"INSERT INTO t VALUES({i}, randomblob(3000))")
            self.check(second)  # by the first
            end(first)
            application.run(f"INSERT INTO t VALUES({i}, randomblob(3000))")
            second.wait_for_state(self.path, "shipping")
            self.check(second)
            first.close()
            first = second
        self.assertEqual(first.status(self.path)["timeline"], 1)
        application.close()
        self.check(first)

    def test_the_second_sends_what_the_first_was_killed_over(self):
        first, application = self.hold_an_upload()
        second = self.start(name="second")
        second.wait_for_state(self.path, "standby")
        first.kill()
        application.run("INSERT INTO t VALUES('alone', randomblob(3000))")
        self.check(second)
        self.let_go_and_wait()
        application.run("INSERT INTO t VALUES('after', randomblob(3000))")
        self.check(second)
        status = second.status(self.path)
        self.assertEqual((status["state"], status["timeline"], status["resyncs"]),
                         ("shipping", 1, 0))
        application.close()

    def test_with_a_state_directory_each_they_are_two_writers_and_one_is_fenced(self):
        application = make_database(self.path)
        agents = []
        for name in ("a", "b"):
            state = f"state_dir={self.folder}/state-{name}"
            agents.append((self.start(state, name=name), state))
            agents[-1][0].wait_for_state(self.path, "shipping")
            agents[-1][0].sync(self.path)
        application.run("INSERT INTO t VALUES(1, randomblob(3000))")

        def fenced():
            return [agent for agent, _ in agents
                    if agent.status(self.path)["state"] == "fenced"]

        agents[0][0].wait_for("one of them fenced", fenced)
        if agents[0][0] not in fenced():
            agents.reverse()
        (loser, state), (winner, _) = agents
        application.run("INSERT INTO t VALUES(2, randomblob(3000))")
        self.check(winner)
        loser.process.terminate()
        self.assertEqual(loser.process.wait(sidecar.PATIENCE), 4, loser.said())
        loser.close()
        # Also when the other one is away, until it is told.
        winner.stop()
        loser = self.start(state, name="again")
        loser.wait_for_field(self.path, "waiting_for", "is fenced")
        self.assertEqual(loser.status(self.path)["state"], "fenced")
        check = subprocess.run([AGENT, "status", "--check", "--control", loser.control],
                               capture_output=True)
        self.assertEqual(check.returncode, 7, check.stdout)
        application.run("INSERT INTO t VALUES(3, randomblob(3000))")
        loser.kill()
        loser.close()
        loser = self.start(state, "on_conflict=take-over", name="told")
        self.check(loser)
        application.close()
        self.check(loser)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
