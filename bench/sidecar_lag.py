#!/usr/bin/env python3
"""sidecar_lag: how long after a commit the store has it, with sqlite-s3-agent beside the application
and sqlite-s3-server as the store, which answers every request a round trip later.

    bench/sidecar_lag.py [--quick | --long] [--only FIGURE] [--build build/release]

An application commits 250 times a second; the agent is asked every two milliseconds how far the store
is, so a lag is told up to that much too long. Prints one JSON object per figure, as scripts/bench
does. Needs Python's standard library.
"""
import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
import sidecar  # noqa: E402  pylint: disable=wrong-import-position

KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret"}
COMMITS_PER_SECOND = 250


def figure(name, ours, round_trip, target, runs):
    print(json.dumps({
        "name": name, "unit": "ms", "ours": round(ours, 2), "baseline": round_trip or None,
        "ratio": round(ours / round_trip, 3) if round_trip else None, "runs": runs, "iqr": None,
        "target": None if target is None else f"ours <= {target}",
        "ok": None if target is None else ours <= target, "load": os.getloadavg()[0]}), flush=True)


def application(path):
    """Each line of standard input is a number of commits; their times are the answer."""
    db = sqlite3.connect(path, isolation_level=None, timeout=60)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, b)")
    print("ready", flush=True)
    for line in sys.stdin:
        times = []
        begin = time.monotonic()
        for n in range(int(line)):
            time.sleep(max(begin + n / COMMITS_PER_SECOND - time.monotonic(), 0))
            db.execute("INSERT INTO t(b) VALUES(randomblob(100))")
            times.append(time.monotonic())
        print(json.dumps(times), flush=True)


class Server:

    def __init__(self, program, folder):
        ports = os.path.join(folder, "ports")
        os.mkdir(os.path.join(folder, "buckets"))
        self.process = subprocess.Popen(
            [program, os.path.join(folder, "buckets"), "--listen", "127.0.0.1:0", "--bucket", "bench",
             "--port-file", ports, "--enable-faults", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "SQLITE_S3_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
                 "SQLITE_S3_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]})
        if not self.process.stdout.readline():
            sys.exit("the S3 server did not start")
        with open(ports, encoding="ascii") as file:
            at = dict(line.split() for line in file)
        self.url = f"s3://bench/app?endpoint=http://127.0.0.1:{at['s3']}"
        self.rules = f"http://127.0.0.1:{at['faults']}/rules"

    def delay(self, milliseconds):
        rule = {"op": "*", "fault": "delay", "delay_ms": milliseconds, "count": 1_000_000}
        urllib.request.urlopen(urllib.request.Request(
            self.rules, method="POST", data=json.dumps(rule).encode())).close()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def shipped(agent, path):
    return int(agent.ask("status", path)["databases"][0]["shipped_txid"], 16)


def lags(agent, path, writer, commits):
    """Milliseconds from the return of each commit until the store had it. With one writer and no
    overload each commit is one TXID."""
    before = int(agent.sync(path), 16)
    seen = []  # (when, how many were in the store)
    writer.stdin.write(f"{commits}\n")
    writer.stdin.flush()
    while not seen or seen[-1][1] < commits:
        seen.append((time.monotonic(), shipped(agent, path) - before))
        seen[-1] = (time.monotonic(), seen[-1][1])
        time.sleep(0.002)
    result, at = [], 0
    for n, committed in enumerate(json.loads(writer.stdout.readline())):
        while seen[at][1] <= n:
            at += 1
        result.append((seen[at][0] - committed) * 1000)
    return sorted(result)


def run(arguments, interval, round_trip):
    name = f"sidecar_lag.rtt_{round_trip}ms.interval_{interval}ms"
    if arguments.only not in name:
        return
    folder = tempfile.mkdtemp(prefix="sidecar_lag.")
    path = os.path.join(folder, "app.db")
    server = Server(os.path.join(arguments.build, "bin", "sqlite-s3-server"), folder)
    writer = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--application", path],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    agent = None
    try:
        writer.stdout.readline()
        agent = sidecar.Agent(os.path.join(arguments.build, "bin", "sqlite-s3-agent"),
                              os.path.join(folder, "control"), path, server.url, "-o",
                              f"interval={interval}ms", env=KEYS)
        agent.sync(path)  # the first image included
        if round_trip:
            server.delay(round_trip)
        commits = 50 if arguments.quick else 10_000 if arguments.long else 1500
        found = lags(agent, path, writer, commits)
        target = interval + round_trip + 50 if interval else 2 * round_trip + 20
        figure(name + ".p50", found[len(found) // 2], round_trip, None, commits)
        figure(name + ".p99", found[int(0.99 * len(found))], round_trip,
               None if arguments.quick else target, commits)
    finally:
        writer.stdin.close()
        writer.wait()
        writer.stdout.close()
        if agent:
            agent.close()
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--application":
        application(sys.argv[2])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--pairs", help="of no meaning here")
    parser.add_argument("--only", default="")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    arguments = parser.parse_args()
    for interval in (0, 1000):
        for round_trip in (0, 5, 20, 100):
            run(arguments, interval, round_trip)


main()
