#!/usr/bin/env python3
"""What watches the agent: the heartbeat, systemd, Prometheus, logs.

    sidecar_watch_test.py SQLITE_S3_AGENT SQLITE_S3_RESTORE SQLITE_S3_SERVER
"""
import contextlib
import ctypes
import errno
import http.server
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

from ops_fixture import KEYS, Ops, S3
from sidecar import PATIENCE
from sidecar_fixture import AGENT


class Beats(http.server.BaseHTTPRequestHandler):

    def do_GET(self):
        self.server.seen.put(self.path)
        self.send_response(self.server.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class HeartbeatTest(Ops):

    def setUp(self):
        super().setUp()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Beats)
        self.server.seen = queue.Queue()
        self.server.answer = 200
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}/canary-path?canary-query"

    def start_with_heartbeat(self, replica=None):
        return self.start("-o", "interval=10ms,alarm_after=100ms", "--heartbeat-interval", "100ms",
                          arguments=[self.path, replica or self.replica],
                          environment={**KEYS, "SQLITE_S3_AGENT_HEARTBEAT_URL": self.url})

    def test_comes_while_all_is_well_and_stops_with_the_alarm(self):
        application = self.make()
        store = S3(self)
        agent = self.start_with_heartbeat(store.url)
        for _ in range(2):
            self.assertEqual(self.server.seen.get(timeout=PATIENCE), "/canary-path?canary-query")
        self.sync_and_be_quiet()
        store.go()
        application.run("INSERT INTO t VALUES(1, 2)")
        self.wait_for(self.alarm)
        before = self.server.seen.qsize()
        for _ in range(20):  # as long as several intervals
            self.ask("status", "--check", code=7)
        # One may have been on its way.
        self.assertLessEqual(self.server.seen.qsize(), before + 1)
        store.come()
        self.server.seen.get(timeout=PATIENCE)
        self.assertNotIn("canary", "".join(agent.said))

    def test_another_url_is_taken_at_a_reload(self):
        self.make()
        config = self.path + ".toml"

        def write(url):
            with open(config, "w", encoding="utf-8") as file:
                file.write(f'heartbeat_url = "{url}"\nheartbeat_interval = "100ms"\n'
                           f'[[database]]\npath = "{self.path}"\nreplica = "{self.replica}"\n')

        write(self.url)
        self.start(arguments=["--config", config])
        self.assertEqual(self.server.seen.get(timeout=PATIENCE), "/canary-path?canary-query")
        write(self.url.replace("canary-path", "other-path"))
        self.ask("reload")
        self.wait_for(lambda: self.server.seen.get(timeout=PATIENCE) == "/other-path?canary-query")

    def test_trouble_with_it_is_said_once_and_never_its_path(self):
        self.make()
        self.server.answer = 404
        agent = self.start_with_heartbeat()
        self.wait_until_said(agent, "HTTP status 404")
        for _ in range(3):
            self.server.seen.get(timeout=PATIENCE)
        self.assertEqual(sum("HTTP status 404" in line for line in agent.said), 1)
        self.server.answer = 200
        self.wait_until_said(agent, "answered")
        self.assertNotIn("canary", "".join(agent.said))

    def test_a_server_that_is_away_is_named_without_the_path(self):
        self.make()
        self.server.socket.close()
        agent = self.start_with_heartbeat()
        line = self.wait_until_said(agent, "heartbeat to 127.0.0.1")
        self.assertNotIn("canary", line)

    def test_what_is_no_url_or_interval_is_refused(self):
        for options in (["--heartbeat-url", "ftp://x/canary"],
                        ["--heartbeat-url", self.url, "--heartbeat-interval", "soon"]):
            agent = self.start(*options)
            self.assertEqual(agent.wait(PATIENCE), 2)
            self.wait_until_said(agent, "option 'heartbeat")


class Notifications(Ops):

    def start_under_systemd(self, *options, watchdog_us=None, arguments=None):
        address = os.path.join(self.folder, "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notify.close)
        self.notify.bind(address)
        self.notify.settimeout(PATIENCE)
        environment = {"NOTIFY_SOCKET": address}
        if watchdog_us:
            environment["WATCHDOG_USEC"] = str(watchdog_us)
        return self.start(*options, environment=environment, arguments=arguments)

    def next(self):
        return self.notify.recv(4096).decode()

    def wait_until_notified(self, text):
        while text not in (told := self.next()):
            pass
        return told

    def test_ready_comes_when_the_databases_were_looked_at(self):
        agent = self.start_under_systemd(
            "-o", "alarm_after=400ms,close_timeout=50s")  # it looks as often as that
        told = []
        while "READY=1" not in told:
            told.append(self.next())
        self.wait_until_said(agent, "does not exist yet")
        application = self.make()
        self.wait_until_notified("STATUS=1 of 1 database shipping")
        application.close()
        agent.terminate()
        self.wait_until_notified("STOPPING=1")
        self.assertEqual(agent.wait(PATIENCE), 0)

    def test_a_reload_is_announced_and_its_end_too(self):
        config = self.path + ".toml"
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'[[database]]\npath="{self.path}"\nreplica="{self.replica}"\n')
        agent = self.start_under_systemd(arguments=["--config", config])
        self.wait_until_notified("READY=1")
        agent.send_signal(signal.SIGHUP)
        self.assertRegex(self.wait_until_notified("RELOADING=1"), r"\nMONOTONIC_USEC=\d+$")
        self.wait_until_notified("READY=1")

    def test_status_says_when_the_alarm_is_on(self):
        self.make()
        with open(self.replica, "w", encoding="utf-8"):
            pass
        self.start_under_systemd("-o", "alarm_after=100ms")
        self.wait_until_notified("ALARM: " + self.path)

    def test_signs_of_life_end_while_a_worker_hangs(self):
        self.make()
        agent = self.start_under_systemd(watchdog_us=1_000_000)
        self.wait_until_notified("STATUS=1 of 1 database shipping")
        for _ in range(10):  # longer than a loop may stand still: at rest is not dead
            self.wait_until_notified("WATCHDOG=1")
        with contextlib.ExitStack() as frozen:
            workers, seen, databases = set(), 0, 1
            told = ["WATCHDOG=1"]
            # Again when there was one after all: a thread of the pool may be new, or without its name
            # yet, and one that the machine held was taken for one that hangs.
            while "WATCHDOG=1" in told:
                while self.count_said(agent, "its loop stands still") <= seen:
                    for worker in set(self.threads_named(agent, "s3-ship")) - workers:
                        frozen.enter_context(Frozen(self, worker))
                        workers.add(worker)
                seen = self.count_said(agent, "its loop stands still")
                self.forget_what_was_notified()
                # What comes next is the news of another database, and no sign of life before it.
                databases += 1
                other = f"{self.path}{databases}"
                self.ask("add", other, f"file://{self.replica}{databases}")
                told = [self.next()]
                while f"of {databases} databases" not in told[-1]:
                    told.append(self.next())
        self.wait_until_notified("WATCHDOG=1")

    @staticmethod
    def count_said(agent, text):
        return sum(text in line for line in agent.said)

    def forget_what_was_notified(self):
        self.notify.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.next()
        self.notify.settimeout(PATIENCE)

    def threads_named(self, agent, name):
        def find():
            found = []
            for thread in os.listdir(f"/proc/{agent.pid}/task"):
                try:
                    with open(f"/proc/{agent.pid}/task/{thread}/comm", encoding="utf-8") as file:
                        if file.read().strip() == name:
                            found.append(int(thread))
                except FileNotFoundError:
                    pass  # it had nothing to do any more
            return found
        return self.wait_for(find)


class Frozen:
    """One thread of another process stands still, as a debugger would stop it."""
    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
    WALL = 0x40000000

    def __init__(self, test, thread):
        self.thread = thread
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self.seized = self.libc.ptrace(self.SEIZE, thread, None, None) == 0
        if not self.seized and ctypes.get_errno() != errno.ESRCH:
            test.skipTest("ptrace is not allowed here")

    def __enter__(self):
        # It may end, or have ended: it had nothing to do any more.
        if self.seized:
            self.libc.ptrace(self.INTERRUPT, self.thread, None, None)
            os.waitpid(self.thread, self.WALL)

    def __exit__(self, *_):
        self.libc.ptrace(self.DETACH, self.thread, None, None)


class Metrics(Ops):

    def get(self, path, code=200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
                self.assertEqual(answer.status, code)
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                self.assertEqual(error.code, code)
                return error.read().decode()

    def start_with_metrics(self, *options, **more):
        agent = self.start("--metrics", "127.0.0.1:0", *options, **more)
        self.port = self.wait_until_said(agent, "metrics at port").split()[-1]
        return agent

    def values(self):
        """Of all series, by their whole name."""
        return {name: float(value) for name, value in
                re.findall(r"^([^#].*) (\S+)$", self.get("/metrics"), re.M)}

    def of(self, name, **labels):
        labels = ",".join(f'{label}="{value}"' for label, value in
                          {"database": self.path, **labels}.items())
        return self.values()[f"sqlite_s3_agent_{name}{{{labels}}}"]

    def test_every_metric_is_in_the_document_and_the_other_way_round(self):
        self.make()
        self.start_with_metrics()
        told = set(re.findall(r"^# TYPE (\S+)", self.get("/metrics"), re.M))
        document = os.path.join(os.path.dirname(__file__), "../../docs/OPERATIONS.md")
        with open(document, encoding="utf-8") as file:
            table = re.search("<!-- metrics: begin -->(.*)<!-- metrics: end -->", file.read(),
                              re.S).group(1)
        self.assertEqual(told, set(re.findall(r"^\| `(\w+)` \|", table, re.M)))

    def test_tell_how_far_each_database_is(self):
        application = self.make()
        agent = self.start_with_metrics("-o", "interval=10ms")
        self.wait_until_said(agent, "shipping")
        application.run("INSERT INTO t VALUES(1, 2)")
        txid = int(self.ask("sync")["txid"], 16)
        self.assertEqual(self.of("shipped_txid"), txid)
        self.assertEqual(self.of("lag_commits"), 0)
        self.assertEqual(self.of("state", state="shipping"), 1)
        self.assertEqual(self.of("state", state="waiting"), 0)
        self.assertGreater(self.of("requests_total", operation="put"), 0)
        self.assertGreater(self.of("sent_bytes_total"), 0)
        self.assertGreater(self.of("wal_bytes"), 0)
        self.assertAlmostEqual(self.of("last_success_timestamp_seconds"), time.time(), delta=3600)
        self.assertEqual(self.get("/healthz"), "1 of 1 database shipping\n")
        before = len(self.values())
        self.ask("add", self.path + "2", "file://" + self.replica + "2")
        series = [name for name in self.values() if self.path + '2"' in name]
        self.assertLess(len(series), 60)
        self.assertEqual(len(self.values()), before + len(series))

    def test_health_and_errors_are_those_of_the_store(self):
        application = self.make()
        store = S3(self)
        agent = self.start_with_metrics("-o", "interval=10ms,alarm_after=100ms", environment=KEYS,
                                        arguments=[self.path, store.url])
        self.wait_until_said(agent, "shipping")
        self.sync_and_be_quiet()
        self.assertEqual(self.of("errors_total", code="unavailable"), 0)
        store.go()
        application.run("INSERT INTO t VALUES(1, 2)")
        self.wait_for(self.alarm)
        self.assertIn("ALARM", self.get("/healthz", 503))
        self.assertEqual(self.of("alarm"), 1)
        self.assertEqual(self.of("lag_commits"), 1)
        self.wait_for(lambda: self.of("errors_total", code="unavailable") > 0)
        store.come()
        self.wait_for(lambda: not self.alarm())
        self.get("/healthz")

    def test_nothing_else_is_answered(self):
        self.make()
        self.start_with_metrics()
        self.get("/", 404)
        self.get("/metrics/../etc", 404)
        with socket.create_connection(("127.0.0.1", int(self.port))) as connection:
            connection.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345")
            self.assertIn(b" 405 ", connection.recv(4096))

    def test_what_is_no_address_is_refused(self):
        for address in ("9464", "localhost:9464", "127.0.0.1:", "127.0.0.1:http", "1.2.3:4:5"):
            agent = self.start("--metrics", address)
            self.assertEqual(agent.wait(PATIENCE), 2, address)
            self.wait_until_said(agent, "option 'metrics'")


class Logs(Ops):

    def test_json_has_the_database_the_txid_and_the_code_as_fields(self):
        application = self.make()
        store = S3(self)
        agent = self.start("--log-format", "json", "-o", "interval=10ms,alarm_after=100ms",
                           environment=KEYS, arguments=[self.path, store.url])
        self.wait_until_said(agent, '"shipping"')
        txid = self.ask("sync")["txid"]
        store.go()
        application.run("INSERT INTO t VALUES(1, 2)")
        # One without a TXID would be of the start, on a slow machine.
        while "txid" not in (alarm := json.loads(self.wait_until_said(agent, "alarm: "))):
            pass
        self.assertEqual((alarm["level"], alarm["database"], alarm["txid"], alarm["code"]),
                         ("error", self.path, txid, "unavailable"))
        agent.terminate()
        agent.wait(PATIENCE)
        for line in agent.said:
            self.assertIn("message", json.loads(line))

    def test_the_journal_gets_priorities_and_another_file_gets_the_time(self):
        self.make()
        for is_journal in (True, False):
            reading, writing = os.pipe()
            identity = os.fstat(writing)
            stream = f"{identity.st_dev}:{identity.st_ino + (0 if is_journal else 1)}"
            agent = subprocess.Popen([AGENT, "run", self.path, self.replica], stderr=writing,
                                     env={**os.environ, "JOURNAL_STREAM": stream})
            os.close(writing)
            with open(reading, encoding="utf-8") as log:
                line = log.readline()
                agent.terminate()
                log.read()
            agent.wait()
            self.assertRegex(line, f"^<6>{self.path}: " if is_journal else r"^20\d\d-\S+Z info ")

    def test_secrets_are_in_no_line_at_any_level(self):
        self.make()
        store = S3(self)
        for environment in (KEYS, {**KEYS, "AWS_SECRET_ACCESS_KEY": "canary-wrong"}):
            agent = self.start("--log-level", "debug", environment=environment,
                               arguments=[self.path, store.url])
            self.wait_until_said(agent, "ship")
            told = json.dumps(self.ask("status"))
            agent.terminate()
            agent.wait(PATIENCE)
            self.assertNotIn("canary", "".join(agent.said) + told)
            for folder, _, files in os.walk(self.path + "-s3"):
                for file in files:
                    with open(os.path.join(folder, file), "rb") as state:
                        self.assertNotIn(b"canary", state.read())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
