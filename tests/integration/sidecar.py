"""What tests of sqlite-s3-agent as a process share: the agent, applications, waits and the oracle."""
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time

PATIENCE = 60  # seconds, of every wait for a condition
# For agents that are to end with all shipped: the usual five seconds may not do on a busy machine.
PATIENT = {"SQLITE_S3_CLOSE_TIMEOUT": "50s"}

# A process of the application: does one line of SQL after another, answers each with "ok".
APPLICATION = """
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for line in sys.stdin:
    db.execute(json.loads(line)).fetchall()
    print("ok", flush=True)
db.close()
"""


class Application:

    def __init__(self, path, **process):
        self.process = subprocess.Popen([sys.executable, "-c", APPLICATION, path], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, **process)

    def run(self, *statements):
        for statement in statements:
            self.process.stdin.write(json.dumps(statement) + "\n")
            self.process.stdin.flush()
            if self.process.stdout.readline() != "ok\n":
                raise AssertionError("the application failed at " + statement)
        return self

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        if self.process.wait(PATIENCE) != 0:
            raise AssertionError("the application failed")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def make_database(path, *statements):
    """A database in WAL mode, its application still connected."""
    return Application(path).run("PRAGMA journal_mode=WAL",
                                 "CREATE TABLE IF NOT EXISTS t(a, b)", *statements)


class Agent:
    """A running sqlite-s3-agent with a control socket."""

    def __init__(self, program, control, *arguments, env=None, **process):
        self.program = program
        self.control = control
        self.log = open(control + ".log", "ab+")
        self.process = subprocess.Popen([program, "run", "--control", control, *arguments],
                                        stderr=self.log, env={**PATIENT, **os.environ, **(env or {})},
                                        **process)
        self.wait_for("its socket", lambda: "config" in self.ask("status", code=None))

    def ask(self, command, database="", code=0, **request):
        """What the subcommand of that name prints with --json; over the socket, as it does."""
        request = {"command": command, "database": database, "timeout_ms": PATIENCE * 1000,
                   **request}
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(self.control)
                connection.sendall(json.dumps(request).encode() + b"\n")
                answer = json.loads(connection.makefile().readline())
            except (FileNotFoundError, ConnectionRefusedError):
                answer = {"error": {"exit_code": 3, "message": "nobody listens"}}
        got = answer.get("error", {"exit_code": 0})["exit_code"]
        if code is not None and got != code:
            raise AssertionError(f"{command} {database}: {answer}\n{self.said()}")
        return answer.get("ok", answer)

    def status(self, path=None):
        """Of all databases by path, or of one: None when it is not there."""
        databases = {d["database"]: d for d in self.ask("status", code=None).get("databases", [])}
        return databases if path is None else databases.get(path)

    def wait_for(self, what, condition):
        """Until condition() is true; the agent must live."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"the agent ended: {self.said()}")
            value = condition()
            if value:
                return value
            time.sleep(0.005)  # the processors are others' meanwhile
            if time.monotonic() > deadline:
                raise AssertionError(f"not in time: {what}\n{self.ask('status', code=None)}\n"
                                     f"{self.said()}")

    def wait_for_state(self, path, *states):
        return self.wait_for(f"{path}: {states}", lambda: (self.status(path) or {}).get("state")
                             in states)

    def wait_for_field(self, path, field, text):
        return self.wait_for(f"{path}: {field} has {text}",
                             lambda: text in str((self.status(path) or {}).get(field)))

    def sync(self, path):
        """Every commit made so far is in the store. An engine may end and begin anew meanwhile."""
        return self.wait_for(f"{path}: sync",
                             lambda: self.ask("sync", path, code=None).get("txid"))

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        if code != 0:
            raise AssertionError(f"the agent ended with {code}: {self.said()}")

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.log.close()


def restore(program, replica, target, *arguments, env=None):
    for suffix in ("", "-wal", "-shm", "-journal"):
        if os.path.exists(target + suffix):
            os.remove(target + suffix)
    done = subprocess.run([program, replica, "-o", target, *arguments], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=False,
                          env={**os.environ, **(env or {})})
    if done.returncode != 0:
        raise AssertionError(f"restore of {replica}: {done.returncode} {done.stderr}")


def content(path):
    """The bytes of the database as one snapshot has them, its WAL included."""
    db = sqlite3.connect(path, timeout=PATIENCE)
    try:
        return db.serialize()
    finally:
        db.close()


def compare(live, restored):
    """Restored byte for byte, and sound."""
    db = sqlite3.connect(restored)
    sound = db.execute("PRAGMA integrity_check").fetchone()[0]
    db.close()
    if sound != "ok":
        raise AssertionError("the restored database is not sound: " + sound)
    want, got = content(live), content(restored)
    # The header's journal mode bytes are what the restore was told to leave behind.
    if want != got:
        pages = [i for i in range(0, max(len(want), len(got)), 512)
                 if want[i:i + 512] != got[i:i + 512]]
        raise AssertionError(f"{live}: {len(want)} bytes, restored {len(got)}; "
                             f"{len(pages)} pieces differ, first at {pages[:5]}")
