#!/usr/bin/env python3
"""sqlite-s3-agent beside applications that know nothing of it: real processes, killed and restarted,
and what was shipped is restored and compared.

    sidecar_test.py SQLITE_S3_AGENT SQLITE_S3_RESTORE
"""
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sidecar import PATIENCE, Application  # noqa: E402  pylint: disable=wrong-import-position

AGENT, RESTORE = (os.path.abspath(path) for path in sys.argv[1:3])


class Sidecar(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "app.db")
        self.replica = os.path.join(folder.name, "replica")
        self.control = os.path.join(folder.name, "control")
        self.restored = os.path.join(folder.name, "restored.db")

    def start(self, *options):
        agent = subprocess.Popen(
            [AGENT, "run", self.path, "file://" + self.replica, "-o", "interval=20ms", *options],
            stderr=subprocess.PIPE)
        os.set_blocking(agent.stderr.fileno(), False)
        self.addCleanup(self.end, agent)
        agent.said = b""
        return agent

    @staticmethod
    def end(agent):
        if agent.poll() is None:
            agent.kill()
            agent.wait()
        agent.stderr.close()

    def wait_until_said(self, agent, text):
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in agent.said:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([agent.stderr], [], [], left)[0]:
                self.fail(f"the agent did not say '{text}': {agent.said.decode()}")
            more = agent.stderr.read()
            if not more:
                self.fail(f"the agent ended: {agent.said.decode()}")
            agent.said += more

    def stop(self, agent):
        agent.send_signal(signal.SIGTERM)
        self.assertEqual(agent.wait(PATIENCE), 0)

    def make(self, *statements):
        application = Application(self.path)
        return application.run("PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)", *statements)

    def once(self):
        return subprocess.run([AGENT, "run", "--once", self.path, "file://" + self.replica],
                              stderr=subprocess.PIPE, text=True, check=False)

    def check_restored(self):
        """The replica is the database, row by row and, where no WAL is left, byte by byte."""
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(self.restored + suffix):
                os.remove(self.restored + suffix)
        subprocess.run([RESTORE, "file://" + self.replica, "-o", self.restored], check=True,
                       stdout=subprocess.DEVNULL)
        rows = []
        for path in (self.path, self.restored):
            database = sqlite3.connect(path)
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
            rows.append(database.execute("SELECT * FROM t ORDER BY rowid").fetchall())
            database.close()
        self.assertEqual(rows[0], rows[1])
        with open(self.path, "rb") as a, open(self.restored, "rb") as b:
            self.assertEqual(a.read(), b.read(), "the replica is not the database")

    def test_commits_of_another_process_are_shipped(self):
        application = self.make()
        agent = self.start()
        self.wait_until_said(agent, "shipping")
        for i in range(200):
            application.run(f"INSERT INTO t VALUES({i}, randomblob(500))")
        application.close()
        self.stop(agent)
        self.check_restored()

    def test_once_ships_what_is_there_and_ends(self):
        self.make("INSERT INTO t VALUES(1, 2)").close()
        self.assertEqual(self.once().returncode, 0)
        self.check_restored()
        self.make_more(2)
        self.assertEqual(self.once().returncode, 0)
        self.check_restored()

    def make_more(self, value):
        Application(self.path).run(f"INSERT INTO t VALUES({value}, {value})").close()

    def test_once_says_that_there_is_no_database(self):
        done = self.once()
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("does not exist", done.stderr)

    def test_waits_for_a_database_that_does_not_exist_yet(self):
        agent = self.start()
        self.wait_until_said(agent, "does not exist yet")
        application = self.make("INSERT INTO t VALUES(1, 2)")
        self.wait_until_said(agent, "shipping")
        application.close()
        self.stop(agent)
        self.check_restored()

    def test_waits_for_wal_mode_and_leaves_the_mode_alone(self):
        application = Application(self.path).run("CREATE TABLE t(a, b)")
        agent = self.start()
        self.wait_until_said(agent, "not in WAL mode")
        self.assertFalse(os.path.exists(self.path + "-wal"))
        application.run("PRAGMA journal_mode=WAL", "INSERT INTO t VALUES(1, 2)")
        self.wait_until_said(agent, "shipping")
        application.close()
        self.stop(agent)
        self.check_restored()

    def test_exclusive_lockers_are_named_and_the_database_is_shipped_when_they_end(self):
        self.make().close()
        application = Application(self.path).run("PRAGMA locking_mode=EXCLUSIVE",
                                                 "INSERT INTO t VALUES(1, 2)")
        agent = self.start()
        self.wait_until_said(agent, "locked")
        application.run("INSERT INTO t VALUES(3, 4)")
        application.close()
        self.wait_until_said(agent, "shipping")
        self.stop(agent)
        self.check_restored()

    def test_checkpoints_of_every_mode_and_last_closes_by_others(self):
        self.make().close()
        agent = self.start()
        self.wait_until_said(agent, "shipping")
        for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
            Application(self.path).run(f"INSERT INTO t VALUES('{mode}', randomblob(9000))",
                                       f"PRAGMA wal_checkpoint({mode})",
                                       "INSERT INTO t VALUES(1, randomblob(90))").close()
        Application(self.path).run("DELETE FROM t WHERE a=1", "VACUUM").close()
        self.stop(agent)
        self.check_restored()

    def test_goes_on_after_it_was_killed_while_the_wal_was_reset_many_times(self):
        application = self.make()
        agent = self.start()
        self.wait_until_said(agent, "shipping")
        for i in range(3):
            application.run(f"INSERT INTO t VALUES({i}, randomblob(100))")
            agent.kill()
            agent.wait()
            for _ in range(20):
                application.run("INSERT INTO t VALUES('away', randomblob(3000))",
                                "PRAGMA wal_checkpoint(TRUNCATE)")
            agent = self.start()
            self.wait_until_said(agent, "shipping")
        application.close()
        self.stop(agent)
        self.check_restored()

    def test_a_killed_writer_harms_nothing(self):
        self.make().close()
        agent = self.start()
        self.wait_until_said(agent, "shipping")
        for i in range(5):
            Application(self.path).run(f"INSERT INTO t VALUES({i}, randomblob(3000))", "BEGIN",
                                       "INSERT INTO t VALUES('never', 0)").kill()
        self.stop(agent)
        self.check_restored()

    def test_a_file_that_takes_its_place_is_compared_and_shipped(self):
        self.make("INSERT INTO t VALUES(1, 2)").close()
        agent = self.start()
        self.wait_until_said(agent, "shipping")
        other = self.path + ".new"
        Application(other).run("PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)",
                               "INSERT INTO t VALUES('other', 1)").close()
        os.rename(other, self.path)
        for suffix in ("-wal", "-shm"):  # of the file that is gone
            if os.path.exists(self.path + suffix):
                os.remove(self.path + suffix)
        self.wait_until_said(agent, "resync")
        application = Application(self.path).run("INSERT INTO t VALUES('after', 1)")
        application.close()
        self.stop(agent)
        self.check_restored()

    # --- the control socket

    def ask(self, *arguments, code=0):
        done = subprocess.run([AGENT, arguments[0], "--json", "--control", self.control,
                               *arguments[1:]], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, code, done.stdout)
        return json.loads(done.stdout)

    def start_with_control(self):
        agent = self.start("--control", self.control)
        self.wait_until_said(agent, "shipping")
        return agent

    def test_status_says_how_far_it_is_and_sync_that_it_is_there(self):
        application = self.make()
        agent = self.start_with_control()
        self.assertEqual(os.stat(self.control).st_mode & 0o777, 0o600)
        application.run("INSERT INTO t VALUES(1, 2)")
        txid = self.ask("sync")["txid"]
        status = self.ask("status")["databases"][0]
        self.assertEqual(status["state"], "shipping")
        self.assertEqual(status["database"], self.path)
        self.assertGreaterEqual(status["shipped_txid"], txid)
        self.assertEqual((status["waiting_for"], status["alarm"]), ("", False))
        self.assertGreater(status["requests_this_hour"], 0)
        self.assertGreater(status["wal_file_bytes"], 0)
        self.assertEqual(self.ask("mark", self.path, "here")["txid"], txid)
        self.assertEqual(self.ask("image")["txid"], txid)
        application.run("DELETE FROM t")
        self.ask("sync")
        subprocess.run([RESTORE, "file://" + self.replica, "-o", self.restored, "--until",
                        "mark:here"], check=True, stdout=subprocess.DEVNULL)
        marked = sqlite3.connect(self.restored)
        self.assertEqual(marked.execute("SELECT count(*) FROM t").fetchone()[0], 1)
        marked.close()
        application.close()
        self.stop(agent)
        self.assertFalse(os.path.exists(self.control))
        self.ask("status", code=3)

    def test_pause_leaves_the_database_alone_and_resume_catches_up(self):
        application = self.make()
        agent = self.start_with_control()
        self.ask("pause")
        self.wait_for_state("paused")
        application.run("INSERT INTO t VALUES(1, 2)")
        self.assertEqual(self.ask("sync", code=4)["error"]["code"], "failed precondition")
        application.close()
        self.assertFalse(os.path.exists(self.path + "-wal"))  # its close is the last one again
        self.ask("resume")
        self.wait_for_state("shipping")
        self.ask("sync")
        self.stop(agent)
        self.check_restored()

    def wait_for_state(self, state):
        deadline = time.monotonic() + PATIENCE
        while self.ask("status")["databases"][0]["state"] != state:
            self.assertLess(time.monotonic(), deadline, state)

    def test_add_and_remove_while_it_runs(self):
        self.make("INSERT INTO t VALUES(1, 2)").close()
        agent = self.start_with_control()
        other = self.path + "2"
        Application(other).run("PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)").close()
        self.ask("add", other, "file://" + self.replica + "2")
        self.ask("add", other, "file://" + self.replica + "2", code=4)
        deadline = time.monotonic() + PATIENCE
        while self.ask("status", other)["databases"][0]["state"] != "shipping":
            self.assertLess(time.monotonic(), deadline)
        self.ask("sync", other)
        self.ask("sync", code=2)  # which of the two?
        self.ask("remove", other)
        self.ask("status", other, code=3)
        self.stop(agent)
        self.check_restored()

    # --- an application as a child

    def test_the_child_is_shipped_to_its_end_and_its_exit_code_is_ours(self):
        script = ("import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
                  "db.execute('PRAGMA journal_mode=WAL'); db.execute('CREATE TABLE IF NOT EXISTS "
                  "t(a, b)'); db.execute('INSERT INTO t VALUES(1, 2)'); "
                  "print(db.execute('SELECT count(*) FROM t').fetchone()[0]); sys.exit(7)")
        run = [AGENT, "run", self.path, "file://" + self.replica, "--restore-if-missing", "--",
               sys.executable, "-c", script, self.path]
        for round_ in (1, 2):
            done = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=False)
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
                               elsewhere], stderr=subprocess.PIPE, text=True, check=False)
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
                                 env={**os.environ, "REPLICA": self.replica})
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
