#!/usr/bin/env python3
"""The loadable extension from Python and from the sqlite3 shell, as applications use it.

    hook_extension_test.py EXTENSION [unittest arguments]

EXTENSION is sqlite_s3_hook.so. Needs a Python whose sqlite3 can load extensions, and the shell.
"""
import glob
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest

EXTENSION = os.path.abspath(sys.argv[1])


def connect(path, load=True):
    database = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    if load:
        database.enable_load_extension(True)
        database.load_extension(EXTENSION)
    return database


class HookTest(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "app.db")
        self.replica = os.path.join(self.folder.name, "replica")
        self.url = "file://" + self.replica
        self.app = connect(self.path)
        self.addCleanup(lambda: self.app.close())
        self.app.execute("PRAGMA journal_mode=WAL")
        self.app.execute("CREATE TABLE note(text)")

    def ask(self, sql, *parameters, app=None):
        return (app or self.app).execute(sql, parameters).fetchone()[0]

    def start(self, options="interval=10ms"):
        return self.ask("SELECT s3_start(?, ?)", self.url, options)

    def add(self, text="hello", app=None):
        (app or self.app).execute("INSERT INTO note VALUES(?)", (text,))

    def status(self, app=None):
        """Which says so when a busy machine kept it from looking at the last commit."""
        while True:
            status = json.loads(self.ask("SELECT s3_status()", app=app))
            if status["txid_current"] or status["state"] == "stopped":
                return status

    def fails(self, pattern, sql, *parameters, app=None):
        with self.assertRaisesRegex(sqlite3.OperationalError, pattern):
            self.ask(sql, *parameters, app=app)

    def segments(self):
        return glob.glob(self.replica + "/*/log/*.seg")


class Functions(HookTest):

    def test_start_says_the_state(self):
        self.assertIn(self.start(), ("starting", "shipping"))

    def test_status_after_a_commit_shows_that_commits_txid(self):
        self.start("interval=1h")
        self.ask("SELECT s3_sync()")
        for _ in range(10):
            before = int(self.status()["txid"], 16)
            self.add()
            after = self.status()
            self.assertEqual(int(after["txid"], 16), before + 1)
            self.assertEqual(len(after["txid"]), 16)
        self.assertEqual(self.ask("SELECT s3_sync()"), after["txid"])
        self.assertEqual(self.status()["shipped_txid"], after["txid"])
        self.assertEqual(self.status()["lag_commits"], 0)

    def test_waiting_for_one_commit(self):
        self.start("interval=1h")
        self.add()
        txid = self.status()["txid"]
        self.assertEqual(self.ask("SELECT s3_wait()"), self.status()["txid"])
        self.assertEqual(self.ask("SELECT s3_wait(?)", txid), txid)
        self.fails("beyond the last", "SELECT s3_wait('7fffffffffffffff')")
        self.fails("s3_wait", "SELECT s3_wait('7')")

    def test_mark_and_image(self):
        self.start()
        self.add()
        marked = self.ask("SELECT s3_mark('before-migration')")
        self.assertEqual(marked, self.status()["shipped_txid"])
        self.fails("s3_mark", "SELECT s3_mark('')")
        self.add()
        image = self.ask("SELECT s3_image('60s')")
        self.assertGreater(image, marked)
        self.assertGreaterEqual(self.status()["image_txid"], image)

    def test_durable_commits_are_shipped_when_they_return(self):
        self.start("durability=commit interval=1h")
        for _ in range(5):
            self.add()
            self.assertEqual(self.status()["lag_commits"], 0)

    def test_stop_gives_the_database_back(self):
        self.start()
        self.add()
        self.assertEqual(self.ask("SELECT s3_stop()"), "stopped")
        self.assertEqual(self.status()["state"], "stopped")
        self.assertEqual(self.ask("PRAGMA wal_autocheckpoint"), 1000)
        self.add()
        self.start()
        self.ask("SELECT s3_sync()")
        self.assertEqual(self.ask("SELECT count(*) FROM note"), 2)

    def test_a_closed_database_is_one_file(self):
        self.start("interval=10ms,close_timeout=1m")
        self.add()
        self.app.close()
        left = [name for name in os.listdir(self.folder.name) if name.startswith("app.db")]
        self.assertEqual(sorted(left), ["app.db", "app.db-s3"])
        self.assertTrue(self.segments())

    def test_loading_twice_is_harmless(self):
        self.start()
        self.app.load_extension(EXTENSION)
        self.add()
        self.ask("SELECT s3_sync()")

    def test_loading_through_sql(self):
        database = connect(self.path, load=False)
        database.enable_load_extension(True)
        name = os.path.splitext(EXTENSION)[0]  # SQLite adds .so, and derives the entry point
        self.assertIsNone(self.ask("SELECT load_extension(?)", name, app=database))
        self.assertIsNone(self.ask("SELECT load_extension(?, 'sqlite3_sqliteshook_init')", name,
                                   app=database))
        self.assertRegex(self.ask("SELECT s3_version()", app=database), r"^\d+\.\d+\.\d+$")
        database.close()


class Refusals(HookTest):
    """What cannot be shipped is refused with a reason, and the application goes on as before."""

    def tearDown(self):
        self.add()
        self.assertEqual(self.ask("PRAGMA wal_autocheckpoint"), 1000)
        super().tearDown()

    def refused(self, pattern, path, setup="", url=None, options="", uri=False):
        database = sqlite3.connect(path, isolation_level=None, uri=uri)
        database.enable_load_extension(True)
        database.load_extension(EXTENSION)
        for statement in filter(None, setup.split(";")):
            database.execute(statement)
        self.fails(pattern, "SELECT s3_start(?, ?)", url or self.url, options, app=database)
        database.close()
        self.assertFalse(os.path.exists(path + "-s3"))

    def test_not_in_wal_mode(self):
        self.refused("journal_mode=delete.*hint: PRAGMA journal_mode=WAL", self.path + "2",
                     "CREATE TABLE t(x)")

    def test_in_memory(self):
        self.refused("in-memory", ":memory:")

    def test_temporary(self):
        self.refused("temporary", "")

    def test_read_only(self):
        self.refused("read-only", f"file:{self.path}?mode=ro", uri=True)

    def test_exclusive(self):
        self.refused("locking_mode=exclusive", self.path, "PRAGMA locking_mode=EXCLUSIVE")

    def test_unknown_option(self):
        self.refused("durabilty", self.path, options="durabilty=commit")

    def test_bad_value(self):
        self.refused("interval", self.path, options="interval=soon")

    def test_unknown_scheme(self):
        self.refused("gopher", self.path, url="gopher://x/y")

    def test_unreachable_directory(self):
        self.refused("not a directory", self.path, url="file://" + self.path + "/replica")

    def test_nothing_is_shipped(self):
        self.fails("not being shipped, hint: s3_start", "SELECT s3_sync()")
        self.fails("not being shipped", "SELECT s3_wait('0000000000000001')")
        self.assertEqual(self.ask("SELECT s3_stop()"), "stopped")


class OneDatabaseOneReplica(HookTest):

    def test_another_url_is_refused(self):
        self.start()
        other = connect(self.path)
        self.fails("another replica, file://.*hint:", "SELECT s3_start(?)", self.url + "2",
                   app=other)
        self.fails("interval=10ms, not interval=1s", "SELECT s3_start(?)", self.url, app=other)
        other.close()
        self.assertFalse(os.path.exists(self.replica + "2"))

    def test_connections_share(self):
        self.start()
        other = connect(self.path)
        self.ask("SELECT s3_start(?, 'interval=10ms')", self.url, app=other)
        self.add(app=other)
        self.app.close()
        self.add(app=other)
        txid = self.ask("SELECT s3_sync()", app=other)
        self.assertEqual(self.status(app=other)["shipped_txid"], txid)
        other.close()
        self.assertFalse(os.path.exists(self.path + "-wal"))


class Transactions(HookTest):

    def test_waiting_in_a_write_transaction_is_an_error_at_once(self):
        self.start()
        self.app.execute("BEGIN")
        self.add()
        for sql in ("SELECT s3_sync()", "SELECT s3_wait()", "SELECT s3_mark('m')",
                    "SELECT s3_image()", "SELECT s3_stop()"):
            self.fails("a write transaction is open.*hint: COMMIT", sql)
        self.assertTrue(self.app.in_transaction)
        self.status()
        self.app.execute("COMMIT")
        self.ask("SELECT s3_sync()")

    def test_pythons_implicit_transactions(self):
        self.start()
        plain = sqlite3.connect(self.path, timeout=30)  # BEGIN before the first INSERT
        plain.enable_load_extension(True)
        plain.load_extension(EXTENSION)
        plain.execute("INSERT INTO note VALUES('x')")
        self.fails("a write transaction is open", "SELECT s3_sync()", app=plain)
        plain.commit()
        self.ask("SELECT s3_sync()", app=plain)
        plain.close()


class DisplacedHook(HookTest):

    def test_a_threshold_set_later_is_taken_over(self):
        self.start()
        self.app.execute("PRAGMA wal_autocheckpoint=50")
        self.add()
        self.ask("SELECT s3_sync()")
        self.assertFalse(self.status()["hook_displaced"])
        self.assertEqual(self.ask("PRAGMA wal_autocheckpoint"), 0)
        self.ask("SELECT s3_stop()")
        self.assertEqual(self.ask("PRAGMA wal_autocheckpoint"), 50)

    def test_a_hook_switched_off_is_reported_until_start_takes_it_back(self):
        self.start("durability=commit")
        self.app.execute("PRAGMA wal_autocheckpoint=0")
        self.add()
        self.assertTrue(self.status()["hook_displaced"])
        self.start("durability=commit")
        self.add()
        after = self.status()
        self.assertFalse(after["hook_displaced"])
        self.assertEqual(after["lag_commits"], 0)


class AttachAll(HookTest):

    def test_every_new_connection_is_durable(self):
        self.start("attach=all,durability=commit,interval=1h")
        for _ in range(3):
            other = connect(self.path, load=False)
            other.execute("PRAGMA busy_timeout=30000")
            self.add(app=other)
            self.assertEqual(self.status(app=other)["lag_commits"], 0, "and it has the functions")
            other.close()
        self.assertEqual(self.status()["commit_timeouts"], 0)

    def test_threads_that_open_and_close(self):
        self.start("attach=all")

        def work():
            for _ in range(10):
                other = connect(self.path, load=False)
                self.add(app=other)
                other.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.ask("SELECT s3_sync()")
        self.assertEqual(self.ask("SELECT count(*) FROM note"), 40)

    def test_the_next_connection_after_the_last_one_starts_again(self):
        self.start("attach=all,durability=commit")
        self.app.close()
        other = connect(self.path, load=False)
        self.add(app=other)
        self.assertEqual(self.status(app=other)["lag_commits"], 0)
        self.assertEqual(self.ask("SELECT s3_stop()", app=other), "stopped")
        other.close()
        self.app = connect(self.path)


class Fork(HookTest):

    def child(self, body):
        """Runs body in a forked child, which must end by itself with no exception."""
        process = os.fork()
        if process == 0:
            code = 1
            try:
                body()
                code = 0
            finally:
                os._exit(code)
        self.assertEqual(os.waitpid(process, 0)[1], 0)

    def test_workers_start_shipping_after_the_fork(self):
        self.start()
        self.add()

        def worker():
            own = connect(self.path)
            self.ask("SELECT s3_start(?, 'interval=10ms')", self.url, app=own)
            self.add("worker", app=own)
            assert self.ask("SELECT s3_sync(60)", app=own)
            own.close()

        for _ in range(3):
            self.child(worker)
        self.add()
        self.ask("SELECT s3_sync()")
        self.assertEqual(self.ask("SELECT count(*) FROM note"), 5)

    def test_an_inherited_connection_knows_that_it_is_not_shipped(self):
        self.start()

        def worker():
            state = self.status()
            assert state["state"] == "stopped" and "forked" in state["last_error"], state

        self.child(worker)


class Shell(HookTest):

    def shell(self, script):
        done = subprocess.run(["sqlite3", "-batch", self.path], input=script, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        return done.stdout.splitlines(), done.stderr

    def test_dot_load_and_close(self):
        self.app.close()
        out, errors = self.shell(
            f".load {os.path.splitext(EXTENSION)[0]}\n"
            f"SELECT s3_start('{self.url}', 'interval=1h,close_timeout=1m');\n"
            "INSERT INTO note VALUES('from the shell');\n"
            "SELECT s3_sync();\n")
        self.assertEqual(errors, "")
        self.assertRegex(out[-1], "^[0-9a-f]{16}$")
        self.assertFalse(os.path.exists(self.path + "-wal"))

    def test_a_shell_that_never_syncs_flushes_at_its_end(self):
        self.app.close()
        _, errors = self.shell(
            f".load {EXTENSION}\n"
            f"SELECT s3_start('{self.url}', 'interval=1h,close_timeout=1m');\n"
            "INSERT INTO note VALUES('from the shell');\n")
        self.assertEqual(errors, "")
        self.app = connect(self.path)
        self.start()
        self.assertEqual(self.status()["resyncs"], 0)
        self.assertTrue(self.segments())

    def test_an_error_is_one_line_with_a_hint(self):
        _, errors = self.shell(f".load {EXTENSION}\nSELECT s3_sync();\n")
        self.assertIn("s3_sync: this database is not being shipped, hint: s3_start(url)", errors)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])
