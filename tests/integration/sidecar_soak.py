#!/usr/bin/env python3
"""sqlite-s3-agent for as long as one likes: writers of every kind, agent and writers killed at any
moment, a store that fails in every way, and again and again a restore that must be the database,
byte for byte, and another of how it was some rounds before.

    sidecar_soak.py SQLITE_S3_AGENT SQLITE_S3_RESTORE SQLITE_S3_SERVER
        [--minutes N | --rounds N] [--seed N] [--folder DIR]

A difference, an unsound database, or any error of a writer ends it, and the folder stays. The seed
repeats what is done, not when the kernel does it.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar  # noqa: E402  pylint: disable=wrong-import-position

sidecar.PATIENCE = 300  # a machine that is paused for a minute is no failure
KEYS = {"AWS_ACCESS_KEY_ID": "soak", "AWS_SECRET_ACCESS_KEY": "soak-secret"}

# Makes transactions while it is told to, each "go N" answered with "done N". Its connection stays
# open in between, or not. SQLITE_BUSY after a minute is an error, as every other one is.
WRITER = r"""
import random, sqlite3, sys, time
path, mode, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
pick = random.Random(seed)

def connect():
    db = sqlite3.connect(path, isolation_level=None, timeout=60)
    db.execute("PRAGMA synchronous=" + pick.choice(["OFF", "NORMAL", "FULL"]))
    db.execute("PRAGMA cache_size=" + pick.choice(["8", "100"]))  # 8: pages spill into the WAL
    db.execute("PRAGMA wal_autocheckpoint=" + {
        "auto": pick.choice(["1000", "100"]), "close": "1000"}.get(mode, "0"))
    return db

def transaction(db):
    db.execute("BEGIN IMMEDIATE")
    for _ in range(pick.choice([1, 1, 1, 5, 60])):
        kind = pick.randrange(10)
        if kind < 6:
            db.execute("INSERT INTO t(a, b) VALUES(?, randomblob(?))",
                       (pick.randrange(10**6), pick.choice([20, 300, 300, 9000])))
        elif kind < 8:
            db.execute("UPDATE t SET b = randomblob(?) WHERE id % 97 = ?",
                       (pick.randrange(500), pick.randrange(97)))
        else:
            at = pick.randrange(5000)
            db.execute("DELETE FROM t WHERE id % 5000 BETWEEN ? AND ?", (at, at + 300))
    if pick.randrange(8) == 0:
        db.execute("SAVEPOINT s")
        db.execute("INSERT INTO t(a, b) SELECT a, b FROM t LIMIT 50")
        db.execute("ROLLBACK TO s")
    db.execute("ROLLBACK" if pick.randrange(12) == 0 else "COMMIT")

db = connect()
for line in sys.stdin:
    count = int(line.split()[1])
    for i in range(count):
        transaction(db)
        if mode not in ("auto", "close") and pick.randrange(20) == 0:
            db.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        if mode == "close" and pick.randrange(15) == 0:
            db.close()
            db = connect()
        if pick.randrange(4000) == 0:
            db.execute("VACUUM")
        # SQLite's write lock goes to whoever asks first: one that never thinks starves all others.
        time.sleep(0.001)
    print("done", count, flush=True)
db.close()
"""

FAULTS = [
    {"fault": "refuse"}, {"fault": "reset-after-body"}, {"fault": "answer-lost"},
    {"fault": "reset-in-answer"}, {"fault": "truncate"}, {"fault": "error"},
    {"fault": "error", "execute": True}, {"fault": "error", "status": 503, "code": "SlowDown"},
    {"fault": "delay", "delay_ms": 300}, {"fault": "throttle", "bytes_per_second": 300_000},
]


class Writer:

    def __init__(self, path, mode, seed, folder):
        self.mode = mode
        self.log = open(os.path.join(folder, f"writer-{mode}.log"), "a+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, mode, str(seed)], text=True, stderr=self.log,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def go(self, count):
        self.process.stdin.write(f"go {count}\n")
        self.process.stdin.flush()

    def wait(self):
        if not self.process.stdout.readline():
            self.log.seek(0)
            raise AssertionError(f"writer {self.mode} failed: {self.log.read()}")

    def end(self, kill):
        if kill:
            self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        if self.process.wait(sidecar.PATIENCE) != 0 and not kill:
            self.log.seek(0)
            raise AssertionError(f"writer {self.mode} failed: {self.log.read()}")
        self.log.close()


class Soak:
    MODES = ("auto", "close", "PASSIVE", "FULL", "RESTART", "TRUNCATE")

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.pick = random.Random(options.seed)
        self.path = os.path.join(folder, "app.db")
        self.restored = os.path.join(folder, "restored.db")
        self.counts = dict.fromkeys(("rounds", "transactions", "agents_killed", "agents_stopped",
                                     "writers_killed", "writers_closed", "faults", "restores",
                                     "past_restores"), 0)
        self.seconds = dict.fromkeys(("writing", "sync", "restore", "past"), 0.0)
        self.server = None
        self.faults_at = None
        self.agent = None
        self.writers = []
        self.past = []  # (TXID, digest of the database then), of rounds before

    def start_server(self):
        buckets, ports = (os.path.join(self.folder, name) for name in ("buckets", "ports"))
        os.mkdir(buckets)
        self.server = subprocess.Popen(
            [self.options.server, buckets, "--listen", "127.0.0.1:0", "--bucket", "bucket",
             "--port-file", ports, "--enable-faults", "127.0.0.1:0"], stdout=subprocess.PIPE,
            env={**os.environ, "SQLITE_S3_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
                 "SQLITE_S3_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]})
        if not self.server.stdout.readline():
            raise AssertionError("the S3 server did not start")
        with open(ports, encoding="ascii") as file:
            port = dict(line.split() for line in file)
        self.faults_at = f"http://127.0.0.1:{port['faults']}/rules"
        self.url = f"s3://bucket/app?endpoint=http://127.0.0.1:{port['s3']}"

    def rules(self, method, body=None):
        request = urllib.request.Request(self.faults_at, method=method,
                                         data=json.dumps(body).encode() if body else None)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"{}")

    def start_agent(self):
        options = {"request_timeout": "2s", "connect_timeout": "1s", "close_timeout": "20s",
                   "interval": self.pick.choice(["0", "20ms", "500ms"]),
                   "checkpoint": self.pick.choice([100, 1000]),
                   "image_log_percent": self.pick.choice([50, 400]),
                   "write_lock": self.pick.choice(["auto", "auto", "never"]),
                   "memory": self.pick.choice(["1MiB", "24MiB"]),
                   "spool": self.pick.choice(["64KiB", "1GiB"]),
                   "when_full": self.pick.choice(["grow-wal", "resync"])}
        self.agent = sidecar.Agent(
            self.options.agent, os.path.join(self.folder, "control"), self.path, self.url, "-o",
            ",".join(f"{name}={value}" for name, value in options.items()), env=KEYS)

    def disturb(self):
        """While all writers write."""
        what = self.pick.randrange(10)
        if what < 3:
            self.agent.kill()
            self.counts["agents_killed"] += 1
        elif what == 3:
            self.agent.process.terminate()
            self.agent.process.wait(sidecar.PATIENCE)  # what is left is in its state directory
            self.counts["agents_stopped"] += 1
        elif what < 8:
            rule = {**self.pick.choice(FAULTS), "skip": self.pick.randrange(4),
                    "count": self.pick.choice([1, 3, 20])}
            rule["op"] = self.pick.choice(["PutObject", "PutObject", "*"])
            self.rules("POST", rule)
        if what < 4:
            self.agent.close()
            if self.pick.randrange(2) == 0:  # the WAL goes on without it for a while
                for writer in self.writers:
                    writer.wait()
                self.go()
            self.start_agent()

    def replace_writer(self):
        at = self.pick.randrange(len(self.writers))
        kill = self.pick.randrange(2) == 0
        if kill:  # in the middle of what it does
            self.writers[at].go(10_000)
            other = self.writers[at - 1]
            other.go(self.pick.choice([1, 20]))
            other.wait()
        self.writers[at].end(kill)
        self.counts["writers_killed" if kill else "writers_closed"] += 1
        self.writers[at] = self.new_writer()

    def new_writer(self):
        return Writer(self.path, self.pick.choice(self.MODES), self.pick.randrange(2**31),
                      self.folder)

    def go(self):
        for writer in self.writers:
            count = self.pick.choice([10, 50, 200])
            writer.go(count)
            self.counts["transactions"] += count

    def compare(self):
        self.counts["faults"] += sum(rule["hits"] for rule in self.rules("GET"))
        self.rules("DELETE")
        since = time.monotonic()
        txid = self.agent.sync(self.path)
        self.seconds["sync"] += time.monotonic() - since
        since = time.monotonic()
        sidecar.restore(self.options.restore, self.url, self.restored, env=KEYS)
        sidecar.compare(self.path, self.restored)
        self.seconds["restore"] += time.monotonic() - since
        self.counts["restores"] += 1
        now = (txid, hashlib.sha256(sidecar.content(self.restored)).digest())
        self.compare_past()
        self.past.append(now)

    def compare_past(self):
        """How the database was in one of the last rounds, which was compared with it then."""
        if not self.past:
            return
        since = time.monotonic()
        txid, digest = self.pick.choice(self.past[-30:])
        sidecar.restore(self.options.restore, self.url, self.restored, "--until", f"txid:{txid}",
                        env=KEYS)
        if hashlib.sha256(sidecar.content(self.restored)).digest() != digest:
            raise AssertionError(f"TXID {txid} is restored to something else than it was")
        self.seconds["past"] += time.monotonic() - since
        self.counts["past_restores"] += 1

    def run(self):
        self.start_server()
        sidecar.Application(self.path).run(
            "PRAGMA journal_mode=WAL",
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", "CREATE INDEX i ON t(a)").close()
        self.writers = [self.new_writer() for _ in range(4)]
        self.start_agent()
        until = time.monotonic() + self.options.minutes * 60
        while (self.counts["rounds"] < self.options.rounds if self.options.rounds
               else time.monotonic() < until):
            since = time.monotonic()
            self.go()
            self.disturb()
            for writer in self.writers:
                writer.wait()
            self.seconds["writing"] += time.monotonic() - since
            if self.pick.randrange(2) == 0:
                self.replace_writer()
            self.counts["rounds"] += 1
            self.compare()
            if self.counts["rounds"] % 20 == 0:
                self.report()
        for writer in self.writers:
            writer.end(kill=False)
        self.compare()
        self.agent.stop()
        self.report()

    def report(self):
        print(", ".join(f"{name} {count}" for name, count in self.counts.items()),
              ", ".join(f"{name} {count:.0f} s" for name, count in self.seconds.items()),
              f"- database {os.path.getsize(self.path)} bytes", flush=True)

    def close(self):
        for writer in self.writers:
            if writer.process.poll() is None:
                writer.process.kill()
                writer.process.wait()
        if self.agent:
            self.agent.close()
        if self.server:
            self.server.kill()
            self.server.wait()
            self.server.stdout.close()


def main():
    parser = argparse.ArgumentParser()
    for name in ("agent", "restore", "server"):
        parser.add_argument(name, type=os.path.abspath)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder")
    options = parser.parse_args()
    folder = options.folder or tempfile.mkdtemp(prefix="soak-")
    os.makedirs(folder, exist_ok=True)
    print(f"seed {options.seed}, folder {folder}", flush=True)
    soak = Soak(options, folder)
    try:
        soak.run()
    except BaseException:
        if soak.agent and not soak.agent.log.closed:
            print(soak.agent.said()[-5000:])
        raise
    finally:
        soak.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
