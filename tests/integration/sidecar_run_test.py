#!/usr/bin/env python3
"""sqlite-s3-agent run with an application as its child, and with a configuration file.

    sidecar_run_test.py SQLITE_S3_AGENT SQLITE_S3_RESTORE
"""
import os
import signal
import socket
import subprocess
import sys
import time
import unittest

from sidecar import PATIENCE, PATIENT, Application
from sidecar_fixture import AGENT, SidecarCase


class Run(SidecarCase):

    def test_the_child_is_shipped_to_its_end_and_its_exit_code_is_ours(self):
        script = ("import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
                  "db.execute('PRAGMA journal_mode=WAL'); db.execute('CREATE TABLE IF NOT EXISTS "
                  "t(a, b)'); db.execute('INSERT INTO t VALUES(1, 2)'); "
                  "print(db.execute('SELECT count(*) FROM t').fetchone()[0]); sys.exit(7)")
        run = [AGENT, "run", self.path, "file://" + self.replica, "--restore-if-missing", "--",
               sys.executable, "-c", script, self.path]
        for round_ in (1, 2):
            done = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=False,
                                  env={**PATIENT, **os.environ})
            self.assertEqual((done.returncode, done.stdout), (7, f"{round_}\n"))
            once = self.once()
            self.assertEqual(once.returncode, 0, once.stderr)
            self.check_restored()
            os.remove(self.path)  # and its state stays behind: it is the same database that comes

    def test_a_quick_command_after_a_restore_is_shipped(self):
        self.make().close()
        self.assertEqual(self.once().returncode, 0)
        elsewhere = os.path.join(os.path.dirname(self.path), "elsewhere.db")
        # It commits and checkpoints the WAL away before anybody could look twice.
        script = ("import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
                  "db.execute('INSERT INTO t VALUES(1, 2)'); db.close()")
        done = subprocess.run([AGENT, "run", elsewhere, "file://" + self.replica,
                               "--restore-if-missing", "--", sys.executable, "-c", script,
                               elsewhere], stderr=subprocess.PIPE, text=True, check=False,
                              env={**PATIENT, **os.environ})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.path = elsewhere
        self.check_restored()

    def test_a_store_that_hangs_does_not_keep_the_command_from_its_work(self):
        self.make().close()
        with socket.create_server(("127.0.0.1", 0)) as store:  # takes connections, says nothing
            url = (f"s3://bucket/app?region=x&endpoint=http://127.0.0.1:{store.getsockname()[1]}"
                   "&request_timeout=60s")
            done = subprocess.run([AGENT, "run", self.path, url, "-o", "close_timeout=100ms", "--",
                                   sys.executable, "-c", "print('worked')"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  check=False, env={**os.environ, "AWS_ACCESS_KEY_ID": "k",
                                                    "AWS_SECRET_ACCESS_KEY": "s"})
        self.assertEqual(done.stdout, "worked\n", done.stderr)
        self.assertIn("the command begins before its database was looked at", done.stderr)

    def test_a_command_that_is_not_there_is_said(self):
        self.make().close()
        done = subprocess.run([AGENT, "run", self.path, "file://" + self.replica, "--",
                               "/no/such/command"], stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("/no/such/command", done.stderr)

    def test_signals_go_to_the_child(self):
        script = ("import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); "
                  "print('ready', flush=True); signal.pause()")
        agent = subprocess.Popen([AGENT, "run", self.path, "file://" + self.replica, "--",
                                  sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                                 stderr=subprocess.DEVNULL)
        self.assertEqual(agent.stdout.readline(), "ready\n")
        agent.send_signal(signal.SIGTERM)
        self.assertEqual(agent.wait(PATIENCE), 5)
        agent.stdout.close()

    # --- the configuration file

    def write_config(self, text):
        config = self.path + ".toml"
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        return config

    def test_databases_of_a_configuration_file_are_shipped(self):
        second = self.path + "2"
        for path in (self.path, second):
            Application(path).run("PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)").close()
        config = self.write_config(f"""
            control = "{self.control}"
            [defaults]
            interval = "20ms"
            region = "eu-central-1"  # of s3 replicas
            [[database]]
            path = "{self.path}"
            replica = "file://${{REPLICA}}"
            checkpoint = 500
            [[database]]
            path = "{second}"
            replica = "file://{self.replica}2"
            """)
        agent = subprocess.Popen([AGENT, "run", "--config", config], stderr=subprocess.DEVNULL,
                                 env={**PATIENT, **os.environ, "REPLICA": self.replica})
        deadline = time.monotonic() + PATIENCE
        command = [AGENT, "sync", "--control", self.control, second]
        while subprocess.run(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             check=False).returncode != 0:
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(len(self.ask("status")["databases"]), 2)
        self.stop(agent)
        self.check_restored()

    def test_mistakes_in_a_configuration_file_are_named_with_their_line(self):
        database = f'[[database]]\npath="{self.path}"\nreplica="file://{self.replica}"\n'
        for text, line, named in (
                ("databse = 1", 1, "databse"),
                (database + 'intervall="1s"', 4, "interval"),
                (database + 'interval="soon"', 4, "interval"),
                (database + 'durability="commit"', 1, "durability"),
                (database + database, 4, "twice"),
                ('[[database]]\npath="x.db"\nreplica="file:///x"', 2, "absolute"),
                ('\ncontrol="${NOT_SET_ANYWHERE}"', 2, "NOT_SET_ANYWHERE"),
                ("control = ", 1, ""),
                ("[defaults]\nmemory=1", 2, "memory")):
            config = self.write_config(text)
            done = subprocess.run([AGENT, "check-config", config], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(done.returncode, 2, text)
            self.assertIn(f"{config}:{line}:", done.stderr)
            self.assertIn(named, done.stderr)
        done = subprocess.run([AGENT, "check-config", self.write_config(database)],
                              stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 0)
        self.assertIn("interval=1s", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
