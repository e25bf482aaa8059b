#!/usr/bin/env python3
"""Programs of others that keep their data in SQLite in WAL mode, shipped by sqlite-s3-agent while they
work: what is restored is their database byte for byte, and they accept it with their own check.

    real_apps.py SQLITE_S3_AGENT SQLITE_S3_RESTORE [--rounds N]

Those that are installed are run: fossil, nix-store, rpm. Not one of them: exit code 1.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar  # noqa: E402  pylint: disable=wrong-import-position


class Program:
    """What it does in a folder of its own; `work` is called again and again."""
    needs = ()

    def __init__(self, folder):
        self.folder = folder
        self.env = {**os.environ, "HOME": folder, "USER": "tester"}

    def run(self, *command, **env):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              cwd=self.folder, env={**self.env, **env}, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode} {done.stdout}")
        return done.stdout

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Fossil(Program):
    """Version control; WAL by a pragma, its own SQLite inside."""
    needs = ("fossil",)

    def start(self):
        self.database = os.path.join(self.folder, "project.fossil")
        self.run("fossil", "init", self.database)
        self.run("fossil", "sql", "-R", self.database, "PRAGMA journal_mode=WAL")
        self.checkout = os.path.join(self.folder, "checkout")
        os.mkdir(self.checkout)
        self.run("fossil", "open", self.database, "--workdir", self.checkout)

    def work(self, i):
        self.file(f"checkout/file-{i % 7}", f"round {i}\n" * 200)
        self.run("fossil", "addremove", "--chdir", self.checkout)
        self.run("fossil", "commit", "-m", f"round {i}", "--no-warnings", "--chdir", self.checkout)
        if i % 10 == 9:
            self.run("fossil", "rebuild", "--vacuum", self.database)
            self.run("fossil", "sql", "-R", self.database, "PRAGMA journal_mode=WAL")

    def check(self, restored):
        self.run("fossil", "test-integrity", "-R", restored)
        for path in (self.database, restored):
            yield self.run("fossil", "timeline", "-n", "0", "-t", "ci", "-R", path)


class Nix(Program):
    """A package manager; WAL is its own choice."""
    needs = ("nix-store",)

    def start(self):
        self.env.update({"NIX_STORE_DIR": os.path.join(self.folder, "store"),
                         "NIX_STATE_DIR": os.path.join(self.folder, "var"),
                         "NIX_LOG_DIR": os.path.join(self.folder, "log"),
                         "NIX_CONF_DIR": os.path.join(self.folder, "etc"),
                         "NIX_CONFIG": "build-users-group ="})
        self.run("nix-store", "--init")
        self.database = os.path.join(self.folder, "var", "db", "db.sqlite")

    def work(self, i):
        paths = [self.file(f"source-{k}", f"{i} {k}") for k in range(5)]
        added = self.run("nix-store", "--add", *paths).split()
        self.run("nix-store", "--delete", added[0])

    def check(self, restored):
        state = os.path.join(self.folder, "restored-var")
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(os.path.join(self.folder, "var"), state,
                        ignore=shutil.ignore_patterns("*.sqlite*", "socket"))
        shutil.copy(restored, os.path.join(state, "db", "db.sqlite"))
        said = self.run("nix-store", "--verify", "--check-contents", NIX_STATE_DIR=state)
        if "error" in said or "removing" in said:
            raise AssertionError(said)
        yield self.run("nix-store", "--dump-db")
        yield self.run("nix-store", "--dump-db", NIX_STATE_DIR=state)


class Rpm(Program):
    """Another package manager; WAL is its own choice, with a TRUNCATE checkpoint at each close."""
    needs = ("rpm", "rpmdb", "rpmbuild")
    SPEC = """
Name: package{k}
Version: {i}
Release: 1
Summary: a package
License: none
BuildArch: noarch
%description
A package.
%files
"""

    def start(self):
        self.at = os.path.join(self.folder, "rpmdb")
        self.run("rpmdb", "--initdb", "--dbpath", self.at)
        self.database = os.path.join(self.at, "rpmdb.sqlite")

    def work(self, i):
        spec = self.file("package.spec", self.SPEC.format(i=i + 1, k=i % 5))
        self.run("rpmbuild", "-bb", "--define", f"_topdir {self.folder}/build", spec)
        built = os.path.join(self.folder, "build", "RPMS", "noarch",
                             f"package{i % 5}-{i + 1}-1.noarch.rpm")
        self.run("rpm", "-U", "--justdb", "--nodeps", "--dbpath", self.at, built)

    def check(self, restored):
        other = os.path.join(self.folder, "restored-rpmdb")
        shutil.rmtree(other, ignore_errors=True)
        os.mkdir(other)
        shutil.copy(restored, os.path.join(other, "rpmdb.sqlite"))
        self.run("rpmdb", "--verifydb", "--dbpath", other)
        for at in (self.at, other):
            yield "".join(sorted(self.run("rpm", "-qa", "--dbpath", at).splitlines(True)))


def ship(program, options):
    program.start()
    control = os.path.join(program.folder, "control")
    replica = "file://" + os.path.join(program.folder, "replica")
    restored = os.path.join(program.folder, "restored.db")
    agent = sidecar.Agent(options.agent, control, program.database, replica, "-o", "interval=20ms")
    try:
        agent.wait_for_state(program.database, "shipping")
        for i in range(options.rounds):
            program.work(i)
            if i % 5 == 4:
                agent.sync(program.database)
                sidecar.restore(options.restore, replica, restored)
                sidecar.compare(program.database, restored)
                live, back = program.check(restored)
                if live != back or not live:
                    raise AssertionError(f"{live!r} is {back!r} in what was restored")
        status = agent.status(program.database)
        agent.stop()
    finally:
        agent.close()
    return (f"{options.rounds} rounds, {int(status['txid'], 16)} commits, "
            f"{os.path.getsize(program.database)} bytes, resyncs {status['resyncs']}, restored "
            f"{options.rounds // 5} times: equal")


def main():
    parser = argparse.ArgumentParser()
    for name in ("agent", "restore"):
        parser.add_argument(name, type=os.path.abspath)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    ran = 0
    for program in (Fossil, Nix, Rpm):
        name = program.__name__.lower()
        if not all(shutil.which(need) for need in program.needs):
            print(f"{name}: not installed")
            continue
        with tempfile.TemporaryDirectory(prefix=f"real-{name}-") as folder:
            print(f"{name}: {ship(program(folder), options)}", flush=True)
        ran += 1
    sys.exit(0 if ran else 1)


if __name__ == "__main__":
    main()
