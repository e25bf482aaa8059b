#!/usr/bin/env python3
"""What sqlite-s3-agent is told to ship: directories, the environment, and a configuration that
changes while it runs.

    sidecar_config_test.py SQLITE_S3_AGENT SQLITE_S3_RESTORE
"""
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar  # noqa: E402  pylint: disable=wrong-import-position

AGENT, RESTORE = (os.path.abspath(path) for path in sys.argv[1:3])


class Config(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.data = os.path.join(self.folder, "data")
        os.mkdir(self.data)
        self.replicas = os.path.join(self.folder, "replicas")
        self.config = os.path.join(self.folder, "agent.toml")
        self.restored = os.path.join(self.folder, "restored.db")

    def write(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def directory(self, more=""):
        return (f'[[directory]]\npath = "{self.data}"\n'
                f'replica = "file://{self.replicas}/{{path}}"\ninterval = "20ms"\n{more}\n')

    def start(self, *arguments, **process):
        agent = sidecar.Agent(AGENT, os.path.join(self.folder, "control"),
                              *(arguments or ("--config", self.config)), **process)
        self.addCleanup(agent.close)
        return agent

    def path(self, *names):
        return os.path.join(self.data, *names)

    def make(self, *names):
        path = self.path(*names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        sidecar.make_database(path, f"INSERT INTO t VALUES('{names[-1]}', 1)").close()
        return path

    def check(self, path, replica):
        sidecar.restore(RESTORE, "file://" + os.path.join(self.replicas, replica), self.restored)
        sidecar.compare(path, self.restored)

    # --- directories

    def test_databases_that_appear_are_shipped_and_those_that_go_away_let_go(self):
        first = self.make("first.db")
        # What goes away without its last commits being sent is waited for as long as that.
        self.write(self.directory('pattern = "*.db"\nclose_timeout = "5s"'))
        agent = self.start()
        agent.sync(first)
        second = self.make("second.db")
        agent.sync(second)
        os.rename(first, self.path("third.db"))
        agent.wait_for("first.db is gone", lambda: agent.status(first) is None)
        agent.sync(self.path("third.db"))
        shutil.copy(second, self.path("not.asked.for"))
        self.assertEqual(set(agent.status()), {second, self.path("third.db")})
        directory = agent.ask("status")["directories"][0]
        self.assertEqual((directory["path"], directory["databases"], directory["last_error"]),
                         (self.data, 2, ""))
        agent.stop()
        self.check(second, "second.db")
        self.check(self.path("third.db"), "third.db")

    def test_a_tree_is_watched_with_the_directories_that_are_made_in_it(self):
        self.make("a", "x.db")
        self.write(self.directory('pattern = "*.db"\nrecursive = true\nexclude = ["tmp", "y*"]'))
        agent = self.start()
        agent.sync(self.path("a", "x.db"))
        deep = self.make("b", "c", "ü 1\n%.db")
        agent.sync(deep)
        self.make("tmp", "x.db")
        self.make("b", "y.db")
        last = self.make("b", "last.db")
        agent.sync(last)
        self.assertEqual(set(agent.status()), {self.path("a", "x.db"), deep, last})
        agent.stop()
        self.check(deep, "b/c/%C3%BC%201%0A%25.db".replace("%", "%25"))
        shutil.rmtree(self.path("a"))

    def test_what_is_no_database_becomes_one_when_sqlite_makes_it_so(self):
        path = self.path("app.db")
        for name in ("app.db", "notes.txt", "x-wal"):
            with open(self.path(name), "wb"):
                pass
        with open(self.path("notes.txt"), "w", encoding="utf-8") as file:
            file.write("these are notes, no database")
        self.write(self.directory())
        agent = self.start()
        agent.ask("status")
        self.make("app.db")
        agent.sync(path)
        self.assertEqual(set(agent.status()), {path})
        with open(self.path("notes.txt"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "these are notes, no database")

    def test_a_database_that_was_removed_by_hand_stays_away_until_the_configuration_is_read(self):
        path = self.make("a.db")
        self.write(self.directory())
        agent = self.start()
        agent.sync(path)
        agent.ask("remove", path)
        other = self.make("b.db")  # so that the directory was looked at again
        agent.sync(other)
        self.assertEqual(set(agent.status()), {other})
        agent.ask("reload")
        agent.sync(path)

    def test_links_out_of_the_directory_are_not_followed(self):
        outside = os.path.join(self.folder, "outside.db")
        sidecar.make_database(outside).close()
        os.symlink(outside, self.path("link.db"))
        inside = self.make("inside.db")
        self.write(self.directory())
        agent = self.start()
        agent.sync(inside)
        self.assertEqual(set(agent.status()), {inside})
        # In the place of a database that is shipped already.
        os.rename(self.path("link.db"), inside)
        agent.wait_for("it is let go, or waits", lambda: (agent.status(inside) or {}).get(
            "state", "waiting") == "waiting")
        self.assertFalse(os.path.exists(outside + "-s3"))

    def test_once_ships_what_a_directory_has_now(self):
        paths = [self.make(name) for name in ("a.db", "b.db")]
        self.write(self.directory())
        subprocess.run([AGENT, "run", "--once", "--config", self.config], check=True,
                       stderr=subprocess.DEVNULL)
        for path in paths:
            self.check(path, os.path.basename(path))

    # --- reading the configuration again

    def database(self, path, replica, more=""):
        return (f'[[database]]\npath = "{path}"\nreplica = "file://{self.replicas}/{replica}"\n'
                f'{more}\n')

    def test_reload_restarts_only_what_changed(self):
        kept, changed, gone, new = (self.make(n + ".db") for n in ("k", "c", "g", "n"))
        self.write(self.database(kept, "k") + self.database(changed, "c", 'interval = "1h"') +
                   self.database(gone, "g"))
        agent = self.start()
        for path in (kept, changed, gone):
            agent.wait_for_state(path, "shipping")
        segments = agent.status(kept)["requests"]
        self.write(self.database(kept, "k") + self.database(changed, "c", 'interval = "20ms"') +
                   self.database(new, "n"))
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("the signal", lambda: agent.ask("status")["config"]["loads"] == 2)
        agent.sync(new)
        agent.wait_for("g.db is gone", lambda: agent.status(gone) is None)
        agent.sync(changed)
        self.assertGreaterEqual(agent.status(kept)["requests"], segments, "its counts went on")
        said = agent.said()
        self.assertIn(changed + ": its options are others now", said)
        self.assertNotIn(kept + ": its options", said)
        agent.stop()
        for path, replica in ((kept, "k"), (changed, "c"), (gone, "g"), (new, "n")):
            self.check(path, replica)

    def test_a_bad_configuration_is_refused_and_the_old_one_goes_on(self):
        path = self.make("a.db")
        self.write(self.database(path, "a"))
        agent = self.start()
        agent.sync(path)
        for text, named in ((self.database(path, "a", "intervall = 1"), "agent.toml:4: unknown key"),
                            (self.database(path, "a") + self.database(path + "2", "a/x"),
                             "its replica is, lies in or encloses"),
                            ("log_level = 'loud'", "log-level"),
                            ("control = '/elsewhere'\n", "no change")):
            self.write(text)
            if named == "no change":  # the flag wins over the file
                agent.ask("reload")
                continue
            self.assertIn(named, agent.ask("reload", code=2)["error"]["message"])
            self.assertIn(named, agent.ask("status")["config"]["refused"])
            agent.sync(path)
        self.assertIn("the old configuration stays", agent.said())
        self.assertEqual(agent.ask("status")["config"]["refused"], "")
        agent.wait_for("the file without it", lambda: not agent.status())

    def test_limits_and_prices_change_at_a_reload(self):
        path = self.make("a.db")
        prices = "price_put_per_1000 = 0\nprice_get_per_1000 = 0\nprice_gb_month = 0\n"
        self.write(prices + self.database(path, "a", 'interval = "10ms"'))
        agent = self.start()
        agent.sync(path)
        self.assertEqual(agent.status(path)["cost_per_month"], 0)
        self.write("price_put_per_1000 = 5000\ntotal_upload_rate = '1KiB'\n" +
                   self.database(path, "a", 'interval = "10ms"'))
        agent.ask("reload")
        self.assertGreater(agent.status(path)["cost_per_month"], 0)
        with sqlite3.connect(path) as application:
            application.execute("INSERT INTO t VALUES(randomblob(300000), 2)")
        agent.sync(path)  # that goes at once, and is paid for afterwards
        with sqlite3.connect(path) as application:
            application.execute("INSERT INTO t VALUES(1, 2)")
        agent.ask("sync", path, code=7, timeout_ms=0)  # and this waits five minutes for it
        self.assertEqual(agent.status(path)["state"], "shipping")
        self.write("total_request_rate = 1000\n" +
                   self.database(path, "a", 'interval = "10ms"'))
        agent.ask("reload")
        agent.sync(path)
        for text, named in (("total_upload_rate = '1'", "'total_upload_rate'"),
                            ("total_request_rate = -1", "'total_request_rate'")):
            self.write(text + "\n" + self.database(path, "a", 'interval = "10ms"'))
            self.assertIn(named, agent.ask("reload", code=2)["error"]["message"])
        agent.stop()
        self.check(path, "a")

    def test_stores_that_hang_do_not_hold_up_the_starts_of_others(self):
        hangs = socket.create_server(("127.0.0.1", 0), backlog=200)  # connects, and answers nobody
        self.addCleanup(hangs.close)
        url = f"s3://bucket/{{path}}?endpoint=http://127.0.0.1:{hangs.getsockname()[1]}"
        os.mkdir(self.path("dead"))
        for n in range(40):
            application = sqlite3.connect(self.path("dead", f"{n}.db"))
            application.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t(a)")
            application.close()
        good = self.make("good.db")
        self.write(f'[[directory]]\npath = "{self.path("dead")}"\nreplica = "{url}"\n'
                   'pattern = "*.db"\nclose_timeout = "100ms"\nrequest_timeout = "5m"\n' +
                   self.database(good, "good"))
        agent = self.start(env={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
        agent.wait_for("the dead", lambda: len(agent.status()) == 41)
        agent.ask("remove", good)
        agent.ask("add", good, replica=f"file://{self.replicas}/good",
                  options="close_timeout=100ms")  # now it is the last
        agent.sync(good)
        agent.process.send_signal(signal.SIGTERM)
        self.assertEqual(agent.process.wait(60), 7)
        self.check(good, "good")

    def test_what_needs_a_new_start_is_refused_by_name(self):
        path = self.make("a.db")
        self.write(self.database(path, "a"))
        agent = self.start()
        agent.sync(path)
        self.write("metrics = '127.0.0.1:1'\n" + self.database(path, "a"))
        message = agent.ask("reload", code=4)["error"]["message"]
        self.assertIn("'metrics' cannot change while the agent runs", message)
        self.assertIn("hint: start it again", message)
        agent.sync(path)

    def test_a_request_budget_is_in_the_status_and_survives_a_restart(self):
        path = self.make("a.db")
        self.write(self.database(path, "a", "request_budget = 3"))
        agent = self.start()
        agent.sync(path)
        status = agent.status(path)
        self.assertEqual((status["request_budget"], status["interval_ms"]), (3, 3600 * 1000))
        spent = status["requests_this_month"]
        self.assertGreater(spent, 3)
        text = subprocess.run([AGENT, "status", "--control", agent.control], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        self.assertIn(" BUDGET ", text)
        self.assertRegex(text, r" \d{3}\.\d% ")
        agent.stop()
        agent = self.start()
        agent.sync(path)
        self.assertGreater(agent.status(path)["requests_this_month"], spent)
        agent.stop()
        self.check(path, "a")

    def test_a_database_may_move_between_the_file_and_a_directory(self):
        path = self.make("a.db")
        self.write(self.database(path, "a.db", 'interval = "20ms"'))
        agent = self.start()
        agent.sync(path)
        self.write(self.directory())
        agent.ask("reload")
        agent.wait_for("the directory", lambda: agent.ask("status")["directories"][0]["databases"])
        agent.sync(path)
        self.write(self.database(path, "a.db"))
        agent.ask("reload")
        agent.sync(path)
        self.assertEqual(agent.ask("status")["refused"], [])
        agent.stop()
        self.check(path, "a.db")

    def test_another_path_gets_the_replica_of_one_that_is_given_up(self):
        old = self.make("old.db")
        self.write(self.database(old, "r"))
        agent = self.start()
        agent.sync(old)
        agent.ask("pause", old)
        agent.wait_for_state(old, "paused")
        new = self.path("new.db")
        os.rename(old, new)
        os.rename(old + "-s3", new + "-s3")
        self.write(self.database(new, "r"))
        agent.ask("reload")
        agent.sync(new)
        agent.stop()
        self.check(new, "r")

    # --- the environment

    def test_flags_win_over_the_file_which_wins_over_the_environment(self):
        path = self.make("a.db")
        environment = {"SQLITE_S3_INTERVAL": "11ms", "SQLITE_S3_MEMORY": "11MiB",
                       "SQLITE_S3_SPOOL": "11MiB"}
        self.write(f'[[database]]\npath = "{path}"\ninterval = "33ms"\n'
                   f'replica = "file://{self.replicas}/a?memory=22MiB&interval=22ms"\n')
        check = subprocess.run([AGENT, "check-config", self.config], stdout=subprocess.PIPE,
                               env={**os.environ, **environment}, text=True, check=True)
        for line in ("interval=33ms", "memory=22MiB", "spool=11MiB", "segment_size=4MiB"):
            self.assertIn("\n" + line + "\n", check.stdout)

    def test_variables_stand_for_text_in_every_value(self):
        path = self.make("a$b.db")
        self.write('[[database]]\npath = "$DATA/a$$b.db"\nreplica = "file://${REPLICAS}/a"\n'
                   'interval = "$MS${NOTHING}ms"\n')
        agent = self.start(env={"DATA": self.data, "REPLICAS": self.replicas, "MS": "20",
                                "NOTHING": ""})
        agent.sync(path)
        agent.stop()
        self.check(path, "a")
        for text, named in (('[defaults]\ninterval = "$NOT_SET"', "agent.toml:2: environment"),
                            ('\n\ncontrol = "${NOT_CLOSED"', "agent.toml:3: a $ without"),
                            ('control = "x$"', "agent.toml:1: a $ without")):
            self.write(text)
            check = subprocess.run([AGENT, "check-config", self.config], stderr=subprocess.PIPE,
                                   text=True, check=False)
            self.assertEqual(check.returncode, 2)
            self.assertIn(named, check.stderr)

    def test_the_environment_alone_can_say_what_to_run(self):
        path = self.make("a.db")
        self.write(self.database(path, "a"))
        control = os.path.join(self.folder, "elsewhere")
        agent = subprocess.Popen([AGENT, "run"], stderr=subprocess.DEVNULL, env={
            **sidecar.PATIENT, **os.environ, "SQLITE_S3_AGENT_CONFIG": self.config,
            "SQLITE_S3_AGENT_CONTROL": control})
        try:
            deadline_free = [AGENT, "sync", "--control", control]
            while subprocess.run(deadline_free, stderr=subprocess.DEVNULL, check=False,
                                 stdout=subprocess.DEVNULL).returncode != 0:
                self.assertIsNone(agent.poll())
        finally:
            agent.terminate()
        self.assertEqual(agent.wait(sidecar.PATIENCE), 0)
        self.check(path, "a")

    def test_mistakes_in_a_directory_are_named_with_their_line(self):
        replica = f'replica = "file://{self.replicas}/{{path}}"\n'
        for text, line, named in (
                ('[[directory]]\npath = "/x"\n', 1, "needs 'replica'"),
                ('[[directory]]\npath = "x"\n' + replica, 2, "absolute"),
                ('[[directory]]\npath = "/x"\nreplica = "file:///r"\n', 1, "{path}"),
                ('[[directory]]\npath = "/x"\n' + replica + "patern = '*'\n", 4, "patern"),
                ('[[directory]]\npath = "/x"\n' + replica + "pattern = []\n", 4, "pattern"),
                ('[[directory]]\npath = "/x"\n' + replica + "recursive = 'yes'\n", 4, "recursive"),
                ('[[directory]]\npath = "/x"\n' + replica + "interval = 'soon'\n", 4, "interval"),
                ('[[directory]]\npath = "/x"\n' + replica + "state_dir = '/s'\n", 1, "state_dir")):
            self.write(text)
            check = subprocess.run([AGENT, "check-config", self.config], stderr=subprocess.PIPE,
                                   text=True, check=False)
            self.assertEqual(check.returncode, 2, text)
            self.assertIn(f"{self.config}:{line}:", check.stderr)
            self.assertIn(named, check.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
