"""The body of scripts/quickstart: load, kill, go on, restore, compare.

Run by the script; needs a Python whose sqlite3 can load extensions.
"""

import argparse
import hashlib
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time

BATCH = 40  # records in one commit

SCHEMA = """
CREATE TABLE package(
  id INTEGER PRIMARY KEY, name TEXT, version TEXT, section TEXT, size INTEGER, summary TEXT,
  seen INTEGER DEFAULT 0, UNIQUE(name, version));
CREATE INDEX package_section ON package(section, name);
CREATE INDEX package_size ON package(size);
CREATE VIRTUAL TABLE package_text USING fts5(name, summary);
"""


def catalogue(limit):
    """Yields (name, version, section, installed size in KiB, summary) of the machine's packages."""
    with subprocess.Popen(["apt-cache", "dumpavail"], stdout=subprocess.PIPE) as process:
        record = {}
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            if line:
                if not line[0].isspace() and ":" in line:
                    key, value = line.split(":", 1)
                    record[key] = value.strip()
                continue
            if "Package" in record:
                yield (record["Package"], record.get("Version", ""), record.get("Section", ""),
                       int(record.get("Installed-Size") or 0), record.get("Description", ""))
                limit -= 1
                if limit == 0:
                    process.kill()
                    return
            record = {}


def open_shipped(path, extension, replica):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.enable_load_extension(True)
    database.load_extension(extension)
    database.execute("SELECT s3_start(?, 'interval=200ms')", (replica,))
    return database


def status(database):
    return json.loads(database.execute("SELECT s3_status()").fetchone()[0])


def note(database, directory, name):
    """Keeps the database as it is now, and its TXID, for the comparison at the end."""
    record = status(database)
    with open(os.path.join(directory, "reference-" + name), "wb") as file:
        file.write(database.serialize())
    with open(os.path.join(directory, "point-" + name), "w", encoding="ascii") as file:
        json.dump({"txid": record["txid"], "time": time.time()}, file)


def load(arguments):
    """Child process: loads records from --skip on; notes two points on the way and the end."""
    database = open_shipped(arguments.database, arguments.extension, arguments.replica)
    if arguments.skip == 0:
        database.executescript(SCHEMA)
    batches = []
    for index, row in enumerate(catalogue(arguments.records)):
        if index >= arguments.skip:
            if len(batches) == 0 or len(batches[-1]) == BATCH:
                batches.append([])
            batches[-1].append(row)
    for number, batch in enumerate(batches):
        database.execute("BEGIN")
        for name, version, section, size, summary in batch:
            database.execute(
                "INSERT OR IGNORE INTO package(name, version, section, size, summary)"
                " VALUES(?, ?, ?, ?, ?)", (name, version, section, size, summary))
            database.execute("INSERT INTO package_text VALUES(?, ?)", (name, summary))
        database.execute("COMMIT")
        if number % 5 == 4:
            database.execute("UPDATE package SET seen = seen + 1 WHERE section ="
                             " (SELECT section FROM package WHERE id = ?)", (number + 1,))
        if number % 9 == 8:
            database.execute("DELETE FROM package WHERE id % 97 = ?", (number % 97,))
        if arguments.skip == 0 and number == len(batches) // 4:
            note(database, arguments.dir, "time")
        if arguments.skip == 0 and number == len(batches) // 3:
            txid = database.execute("SELECT s3_mark('before-the-kill')").fetchone()[0]
            note(database, arguments.dir, "mark")
            print("mark", txid, flush=True)
        if arguments.skip == 0 and number == len(batches) // 2:
            database.execute("SELECT s3_sync()")
            print("half", flush=True)  # and is killed by the parent while it goes on
    database.execute("SELECT s3_sync()")
    note(database, arguments.dir, "latest")
    record = status(database)
    rows = database.execute("SELECT count(*) FROM package").fetchone()[0]
    database.close()
    print("done", json.dumps({"bytes": record["bytes"], "wal_bytes": record["wal_bytes"],
                              "resyncs": record["resyncs"], "rows": rows}), flush=True)


def start_server(arguments):
    """The embedded S3 server on a port of its choice, with keys that live as long as this run."""
    os.environ["AWS_ACCESS_KEY_ID"] = "quickstart"
    os.environ["AWS_SECRET_ACCESS_KEY"] = secrets.token_hex(20)
    environment = dict(os.environ, SQLITE_S3_ACCESS_KEY=os.environ["AWS_ACCESS_KEY_ID"],
                       SQLITE_S3_SECRET_KEY=os.environ["AWS_SECRET_ACCESS_KEY"])
    port_file = os.path.join(arguments.dir, "s3-port")
    buckets = os.path.join(arguments.dir, "buckets")
    os.mkdir(buckets)
    server = subprocess.Popen(
        [os.path.join(arguments.build, "bin", "sqlite-s3-server"), buckets, "--listen", "127.0.0.1:0",
         "--port-file", port_file, "--bucket", "backup"],
        env=environment, stdout=subprocess.DEVNULL)
    while not os.path.exists(port_file):
        if server.poll() is not None:
            sys.exit("quickstart: sqlite-s3-server did not start")
        time.sleep(0.01)
    with open(port_file, encoding="ascii") as file:
        port = int(file.readline().split()[1])  # "s3 PORT"
    arguments.replica = f"s3://backup/packages?endpoint=http://127.0.0.1:{port}"
    return server


def spawn_loader(arguments, skip):
    command = [sys.executable, os.path.abspath(__file__), "--load", "--skip", str(skip),
               "--dir", arguments.dir, "--records", str(arguments.records),
               "--build", arguments.build, "--database", arguments.database,
               "--replica", arguments.replica, "--extension", arguments.extension]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def restore(arguments, name, until):
    output = os.path.join(arguments.dir, "restored-" + name + ".db")
    started = time.monotonic()
    result = subprocess.run(
        [os.path.join(arguments.build, "bin", "sqlite-s3-restore"), arguments.replica, "-o", output,
         "--until", until, "--json"], stdout=subprocess.PIPE, check=False)
    seconds = time.monotonic() - started
    if result.returncode != 0:
        sys.exit(f"quickstart: restore of {name} failed: {result.stdout.decode()}")
    report = json.loads(result.stdout)
    equal = digest(output) == digest(os.path.join(arguments.dir, "reference-" + name))
    database = sqlite3.connect("file:" + output + "?immutable=1", uri=True)
    rows = database.execute("SELECT count(*) FROM package").fetchone()[0]
    healthy = database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    database.close()
    return {"name": name, "until": until, "txid": report["txid"], "time": report["time"],
            "pages": report["page_count"], "equal": equal and healthy, "rows": rows,
            "seconds": seconds}


def main(arguments):
    arguments.database = os.path.join(arguments.dir, "packages.db")
    server = None
    arguments.extension = os.path.abspath(os.path.join(arguments.build, "lib", "sqlite_s3_hook"))
    if os.path.exists(arguments.database):
        sys.exit(f"quickstart: {arguments.database} is there already, hint: another --dir")
    if arguments.s3:
        server = start_server(arguments)
    else:
        arguments.replica = "file://" + os.path.join(arguments.dir, "replica")
    try:
        run(arguments)
    finally:
        if server:
            server.terminate()
            server.wait()


def run(arguments):
    print(f"loading up to {arguments.records} package records into {arguments.database},\n"
          f"shipping every commit to {arguments.replica}")

    loader = spawn_loader(arguments, 0)
    for line in loader.stdout:
        if line.startswith("half"):
            break
    # At any moment after the half: whatever is in flight is lost with the process.
    loader.send_signal(signal.SIGKILL)
    loader.wait()
    database = sqlite3.connect(arguments.database)
    loaded = database.execute("SELECT max(id) FROM package").fetchone()[0]
    database.close()
    print(f"killed the loader (kill -9) after {loaded} records; going on")

    loader = spawn_loader(arguments, loaded)
    finished = None
    for line in loader.stdout:
        if line.startswith("done"):
            finished = json.loads(line[5:])
    if loader.wait() != 0 or finished is None:
        sys.exit("quickstart: the second loader failed")

    with open(os.path.join(arguments.dir, "point-time"), encoding="ascii") as file:
        noted = json.load(file)
    # "The database as of that second": the time of the note itself, in UTC.
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(noted["time"]))
    moment += f".{int(noted['time'] % 1 * 1e6):06d}Z"
    points = [restore(arguments, "time", moment), restore(arguments, "mark", "mark:before-the-kill"),
              restore(arguments, "latest", "latest")]

    print()
    print(f"{'restored':9} {'TXID':16} {'time (UTC)':27} {'pages':>6} {'rows':>6} {'equal':>6}"
          f" {'seconds':>8}")
    for point in points:
        print(f"{point['name']:9} {point['txid']:16} {point['time']:27} {point['pages']:6}"
              f" {point['rows']:6} {'yes' if point['equal'] else 'NO':>6} {point['seconds']:8.2f}")
    print()
    shipped, written = finished["bytes"], finished["wal_bytes"]
    print(f"second run: {written / 1e6:.1f} MB of pages written to the WAL, {shipped / 1e6:.1f} MB"
          f" shipped ({100 * shipped / max(written, 1):.1f} %), images included")
    if not all(point["equal"] for point in points):
        sys.exit("quickstart: A RESTORED FILE DIFFERS")
    print("every restored file is byte for byte what the database was; kept in " + arguments.dir)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--records", type=int, default=20000)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--skip", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--database", help=argparse.SUPPRESS)
    parser.add_argument("--replica", help=argparse.SUPPRESS)
    parser.add_argument("--extension", help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.load:
        load(parsed)
    else:
        main(parsed)
