#!/usr/bin/env python3
"""sidecar_scale: one sqlite-s3-agent over many databases, at rest and with a commit a second each.

    bench/sidecar_scale.py [--quick | --long] [--only FIGURE] [--build build/release]
                           [--idle N,N,...] [--busy N] [--interval S] [--databases DIR]

An application process holds the databases open; the replicas are directories. Memory, processor
time, threads and file descriptors are read from /proc once everything is shipped. The lag of a
commit is the time from when its statement returned until the segment that holds it has its name in
the store. Prints one JSON object per figure, as scripts/bench does. Needs Python's standard library.
"""
import argparse
import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def figure(name, unit, ours, target=None, at_most=True, runs=1):
    ok = None if target is None else (ours <= target if at_most else ours >= target)
    print(json.dumps({
        "name": name, "unit": unit, "ours": round(ours, 3), "baseline": None, "ratio": None,
        "runs": runs, "iqr": None,
        "target": None if target is None else f"{'<=' if at_most else '>='} {target}",
        "ok": ok, "load": os.getloadavg()[0]}), flush=True)


# --- the application's process

def application(directory, first, end):
    """Commands on standard input: `load SECONDS FILE` commits once a second to every database and
    writes when each statement returned, as [[time, ...] per database]."""
    databases = []
    count = end - first
    for n in range(first, end):
        db = sqlite3.connect(f"{directory}/{n}.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v TEXT)")
        db.execute("INSERT INTO t(v) VALUES(hex(randomblob(40)))")
        databases.append(db)
    print("ready", flush=True)
    for line in sys.stdin:
        _, seconds, out = line.split()
        rounds = max(int(float(seconds)), 1)
        times = [[] for _ in databases]
        begin = time.monotonic()
        for second in range(rounds):
            for n, db in enumerate(databases):
                due = begin + second + n / count
                now = time.monotonic()
                if due > now:
                    time.sleep(due - now)
                db.execute("INSERT INTO t(v) VALUES(hex(randomblob(40)))")
                times[n].append(time.time())
        with open(out, "w", encoding="ascii") as f:
            json.dump(times, f)
        print("done", flush=True)


class Application:
    """In as many processes as their descriptors need: three a database."""
    def __init__(self, directory, count):
        each = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3 - 10
        self.processes = [subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--application", directory, str(first),
             str(min(first + each, count))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for first in range(0, count, each)]
        for process in self.processes:
            process.stdout.readline()

    def load(self, seconds, out):
        for n, process in enumerate(self.processes):
            process.stdin.write(f"load {seconds} {out}.{n}\n")
            process.stdin.flush()
        times = []
        for n, process in enumerate(self.processes):
            process.stdout.readline()
            with open(f"{out}.{n}", encoding="ascii") as f:
                times += json.load(f)
        return times

    def end(self):
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait()


# --- the agent's process

def proc_status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        fields = dict(line.split(":", 1) for line in f if ":" in line)
    return {key: int(fields[key].split()[0]) for key in
            ("VmRSS", "VmHWM", "RssAnon", "RssFile", "RssShmem", "Threads")}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def proportional_kib(pid):
    """Like resident memory, with each shared page divided by the number of its users."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def wakeups(pid):
    """How often a thread of the process went to sleep by itself, of the threads that live."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as f:
                total += next(int(line.split()[1]) for line in f
                              if line.startswith("voluntary_ctxt_switches"))
        except FileNotFoundError:
            pass  # ended meanwhile
    return total


def descriptors(pid):
    """Of the process, and of the tables that bench/file_tables.cc gives it."""
    total = len(os.listdir(f"/proc/{pid}/fd"))
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/comm", encoding="utf-8") as f:
                if f.read().strip() == "file_table":
                    total += len(os.listdir(f"/proc/{pid}/task/{thread}/fd"))
        except FileNotFoundError:
            pass  # ended meanwhile
    return total


class Agent:
    def __init__(self, build, directory, count, interval):
        self.replicas = os.path.join(directory, "replicas")
        os.makedirs(self.replicas)
        config = os.path.join(directory, "agent.toml")
        with open(config, "w", encoding="ascii") as f:
            f.write(f'[defaults]\ninterval = "{interval}"\n')
            for n in range(count):
                f.write(f'[[database]]\npath = "{directory}/{n}.db"\n'
                        f'replica = "file://{self.replicas}/{n}"\n')
        self.log = open(os.path.join(directory, "agent.log"), "w", encoding="utf-8")
        environment = dict(os.environ)
        if 7 * count + 1000 > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
            print("more descriptors than this process may have: those of the databases are in "
                  "tables of other threads (bench/file_tables.cc)", file=sys.stderr)
            environment["LD_PRELOAD"] = os.path.join(build, "bench", "file_tables.so")
        self.begin = time.monotonic()
        self.process = subprocess.Popen(
            [os.path.join(build, "bin", "sqlite-s3-agent"), "run", "--config", config,
             "--log-level", "warning"], stderr=self.log, env=environment)
        self.pid = self.process.pid

    def wait_for_images(self, count):
        """How long the start took: until every replica has its first image."""
        waiting = set(range(count))
        while waiting:
            if self.process.poll() is not None:
                sys.exit(f"the agent ended with {self.process.returncode}")
            with open(self.log.name, encoding="utf-8") as f:
                refused = next((line for line in f if "not shipped" in line), None)
            if refused:
                sys.exit(refused.rstrip())
            for n in list(waiting):
                if manifests(os.path.join(self.replicas, str(n))):
                    waiting.discard(n)
                else:
                    break
            time.sleep(0.05)
        return time.monotonic() - self.begin

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def manifests(replica):
    for directory, _, files in os.walk(replica):
        if any("manifest" in f for f in files) or "image" in directory and files:
            return True
    return False


SEGMENT = re.compile(r"([0-9a-f]{16})")


def segments(replica):
    """(first TXID, when it got its name) of every object of the log, ascending."""
    found = []
    for directory, _, files in os.walk(replica):
        if "/log" not in directory[len(replica):]:
            continue
        for f in files:
            name = SEGMENT.search(f)
            if name:
                found.append((int(name.group(1), 16), os.stat(os.path.join(directory, f)).st_ctime))
    return sorted(found)


def lags(replica, times, first_txid):
    """Milliseconds for each commit; those that are nowhere count as a year."""
    found = segments(replica)
    result = []
    at = 0
    for n, committed in enumerate(times):
        txid = first_txid + n
        while at + 1 < len(found) and found[at + 1][0] <= txid:
            at += 1
        result.append((found[at][1] - committed) * 1000 if found else 3.2e10)
    return result


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


def run(arguments, count, busy_seconds):
    directory = arguments.databases or tempfile.mkdtemp(prefix="sidecar_scale.")
    try:
        application_process = None
        if not arguments.databases:
            application_process = Application(directory, count)
        agent = Agent(arguments.build, directory, count, arguments.interval)
        try:
            start = agent.wait_for_images(count)
            if busy_seconds:
                busy(arguments, directory, count, busy_seconds, application_process, agent)
            else:
                idle(arguments, count, start, agent)
        finally:
            agent.end()
            if application_process:
                application_process.end()
        with open(agent.log.name, encoding="utf-8") as f:
            said = f.read()
        if said:
            print(said[:2000], file=sys.stderr)
    finally:
        if arguments.keep or arguments.databases:
            print(directory, file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)


MEMORY_TARGETS = {1000: 100, 10_000: 600}


def idle(arguments, count, start, agent):
    time.sleep(1 if arguments.quick else arguments.settle)  # what follows a start is not rest yet
    seconds = 1 if arguments.quick else 60 if arguments.long else 15
    cpu, woken, begin = cpu_seconds(agent.pid), wakeups(agent.pid), time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - begin
    used = (cpu_seconds(agent.pid) - cpu) / elapsed
    woken = (wakeups(agent.pid) - woken) / elapsed
    status = proc_status(agent.pid)
    name = f"sidecar_scale.idle_{count}"
    figure(f"{name}.start", "s until every first image is in the store", start)
    figure(f"{name}.memory", "MiB resident", status["VmRSS"] / 1024, MEMORY_TARGETS.get(count))
    figure(f"{name}.memory_peak", "MiB resident at most, since the start",
           status["VmHWM"] / 1024)
    figure(f"{name}.memory_anonymous", "MiB resident, not of files", status["RssAnon"] / 1024)
    figure(f"{name}.memory_proportional", "MiB, PSS", proportional_kib(agent.pid) / 1024)
    figure(f"{name}.wakeups", "per second", woken)
    figure(f"{name}.cpu", "% of one core", 100 * used, 1 if count >= 1000 else None)
    figure(f"{name}.threads", "threads", status["Threads"])
    figure(f"{name}.descriptors", "file descriptors", descriptors(agent.pid))


def busy(arguments, directory, count, seconds, application_process, agent):
    # The application's first commits may have been before the start: the log says where it stands.
    time.sleep(2 * float(arguments.interval.rstrip("s")) + 1)
    first = [max(s[0] for s in segments(f"{agent.replicas}/{n}")) + 1 for n in range(count)]
    cpu, begin = cpu_seconds(agent.pid), time.monotonic()
    times = application_process.load(seconds, os.path.join(directory, "times.json"))
    used = (cpu_seconds(agent.pid) - cpu) / (time.monotonic() - begin)
    status = proc_status(agent.pid)
    time.sleep(float(arguments.interval.rstrip("s")) + (1 if arguments.quick else 3))
    found = [lag for n in range(count)
             for lag in lags(f"{agent.replicas}/{n}", times[n], first[n])]
    name = f"sidecar_scale.busy_{count}"
    interval = float(arguments.interval.rstrip("s")) * 1000
    target = None if arguments.quick else interval + 50
    figure(f"{name}.lag_p50", "ms from commit to store", quantile(found, 0.5), runs=len(found))
    figure(f"{name}.lag_p99", "ms from commit to store", quantile(found, 0.99), target,
           runs=len(found))
    figure(f"{name}.lag_max", "ms from commit to store", max(found), runs=len(found))
    figure(f"{name}.cpu", "% of one core", 100 * used)
    figure(f"{name}.memory", "MiB resident", status["VmRSS"] / 1024)
    figure(f"{name}.threads", "threads", status["Threads"])


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--application":
        application(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--pairs", help="of no meaning here")
    parser.add_argument("--only", default="")
    parser.add_argument("--build", default=os.path.join(root, "build", "release"))
    parser.add_argument("--idle", help="numbers of databases (default: 100,1000)")
    parser.add_argument("--busy", type=int, help="databases with a commit a second (default: 1000)")
    parser.add_argument("--interval", default="1s")
    parser.add_argument("--settle", type=float, default=10, help="seconds before rest is measured")
    parser.add_argument("--databases", metavar="DIR",
                        help="idle ones that are there already (0.db, 1.db, ...), which no "
                             "application holds open")
    parser.add_argument("--keep", action="store_true", help="leave the files")
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    idle_counts = arguments.idle or ("5" if arguments.quick else "100,1000")
    for count in [int(n) for n in idle_counts.split(",") if n and int(n)]:
        if arguments.only in f"sidecar_scale.idle_{count}":
            run(arguments, count, 0)
    count = arguments.busy if arguments.busy is not None else 5 if arguments.quick else 1000
    if count and arguments.only in f"sidecar_scale.busy_{count}":
        run(arguments, count, 2 if arguments.quick else 60 if arguments.long else 15)


main()
