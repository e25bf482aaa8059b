"""A Debian to try the packages of scripts/package in, what runs there, and what systemd would do.
Used by scripts/try-packages.
"""
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

PATIENCE = 60  # seconds, of every wait
UNIT = "/usr/lib/systemd/system/sqlite-s3-agent.service"
CONFIG = "/etc/sqlite-s3-agent/config.toml"
DATABASE = "/var/lib/app/app.db"
KEYS = {"AWS_ACCESS_KEY_ID": "try", "AWS_SECRET_ACCESS_KEY": "try-secret"}


def expect(condition, *what):
    if not condition:
        raise AssertionError(" ".join(map(str, what)))


def step(text):
    print(f"try-packages: {text}", flush=True)


def wait_for(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        expect(time.monotonic() < deadline, "not in time:", what)
        time.sleep(0.02)
    return value


class Place:
    """A Debian: this machine, or one in a folder."""

    def __init__(self, root):
        self.root = root
        self.enter = ["chroot", root] if root else []
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root",
                    "DEBIAN_FRONTEND": "noninteractive"}

    def path(self, path):
        return self.root + path

    def command(self, arguments, user=None, groups=()):
        if user is None:
            return [*self.enter, *arguments]
        became = ["setpriv", "--reuid", user, "--regid", user, "--groups",
                  ",".join((user, *groups)), "--no-new-privs", "--"]
        return [*self.enter, *became, *arguments]

    def start(self, *arguments, user=None, groups=(), env=None, **process):
        return subprocess.Popen(self.command(arguments, user, groups), text=True,
                                env={**self.env, **(env or {})}, **process)

    def run(self, *arguments, code=0, **more):
        with self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                        stdin=subprocess.DEVNULL, **more) as process:
            try:
                bound = 10 * PATIENCE if "apt-get" in arguments else PATIENCE
                said = process.communicate(timeout=bound)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        expect(code is None or process.returncode == code, arguments, "ended with",
               process.returncode, said)
        return said

    def read(self, path):
        with open(self.path(path), encoding="utf-8") as file:
            return file.read()

    def write(self, path, text, mode=0o644):
        with open(self.path(path), "w", encoding="utf-8",
                  opener=lambda p, flags: os.open(p, flags, mode)) as file:
            file.write(text)

    def exists(self, path):
        return os.path.lexists(self.path(path))


class Service:
    """What systemd does with the unit, as far as the agent can tell: user, folders, environment, a
    socket for notices."""

    def __init__(self, place, groups, user=None, instance=None):
        self.place = place
        self.groups = groups
        unit = place.read(UNIT)
        if instance:
            unit = place.read(UNIT.replace(".service", "@.service")).replace("%i", instance)
        self.value = lambda key: re.search(rf"^{key}=-?(.*)$", unit, re.M).group(1)
        self.user = user or self.value("User")
        name, value = self.value("Environment").replace("%t", "/run").split("=", 1)
        self.env = {name: value}
        self.control = value
        self.environment_file = self.value("EnvironmentFile")
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = f"/run/try-packages-{os.getpid()}-{self.user}"
        self.notices.bind(place.path(self.address))
        os.chmod(place.path(self.address), 0o666)
        self.heard = []
        # Always read, as systemd does: who notifies a full socket waits.
        self.listener = threading.Thread(target=self.listen)
        self.listener.start()
        self.process = None
        self.log = tempfile.TemporaryFile("w+")

    def listen(self):
        while notice := self.notices.recv(65536):
            self.heard += notice.decode().splitlines()

    def folders(self):
        for base, key in (("/run", "Runtime"), ("/var/lib", "State")):
            path = f"{base}/{self.value(key + 'Directory')}"
            self.place.run("install", "-d", "-o", self.user, "-g", self.user, "-m",
                           self.value(key + "DirectoryMode"), path)

    def start(self):
        self.folders()
        for line in self.place.read(self.environment_file).splitlines():
            name, value = line.split("=", 1)
            self.env[name] = value
        self.heard.clear()
        self.process = self.place.start(
            *self.value("ExecStart").split(), user=self.user, groups=self.groups, stderr=self.log,
            stdin=subprocess.DEVNULL, umask=int(self.value("UMask"), 8),
            env={**self.env, "NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": "400000"})
        self.wait_for_notice("READY=1")
        return self

    def wait_for_notice(self, text):
        def heard():
            if any(text in line for line in self.heard):
                return True
            expect(self.process.poll() is None, "the agent ended:", self.said())
            return False

        wait_for(f"{text} among {self.heard}", heard)
        self.heard = [line for line in self.heard if text not in line]

    def reload(self, code=0):
        return self.place.run(*self.value("ExecReload").split(), user=self.user, groups=self.groups,
                              env=self.env, code=code)

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def ask(self, *arguments, code=0):
        """As root, with the variable that OPERATIONS.md names."""
        return self.place.run("sqlite-s3-agent", *arguments, code=code,
                              env={"SQLITE_S3_AGENT_CONTROL": self.control})

    def status(self):
        return json.loads(self.ask("status", "--json"))["databases"][0]

    def wait_for_state(self, state):
        wait_for(f"state {state}: {self.status()}", lambda: self.status()["state"] == state)

    def end(self, number, code):
        self.process.send_signal(number)
        expect(self.process.wait(PATIENCE) == code, "ended with", self.process.returncode,
               self.said())

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.notices.shutdown(socket.SHUT_RDWR)
        self.listener.join()
        self.notices.close()
        os.remove(self.place.path(self.address))


class Application:
    """The sqlite3 shell of another user, connected."""

    def __init__(self, place):
        self.process = place.start("sqlite3", "-bail", DATABASE, user="app", stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, umask=0o022)
        self.run(".timeout 60000", "PRAGMA journal_mode=WAL;")

    def run(self, *statements):
        for statement in statements:
            self.process.stdin.write(statement + "\n.print done\n")
            self.process.stdin.flush()
            while (line := self.process.stdout.readline()) != "done\n":
                expect(line, "the application failed at", statement)
        return self

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Store:

    def __init__(self, place):
        self.place = place
        self.port = 0
        place.run("install", "-d", "-o", "app", "-g", "app", "/srv/buckets")
        self.come()

    def come(self):
        self.process = self.place.start(
            "sqlite-s3-server", "/srv/buckets", "--listen", f"127.0.0.1:{self.port}", "--bucket",
            "bucket", user="app", stdout=subprocess.PIPE,
            env={"SQLITE_S3_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
                 "SQLITE_S3_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]})
        line = self.process.stdout.readline()
        expect("serving" in line, "the server said", line)
        self.port = int(re.search(r"127\.0\.0\.1:(\d+)", line).group(1))

    def go(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
