#!/usr/bin/env python3
"""sqlite-s3-agent beside applications that know nothing of it: real processes, killed and restarted,
and what was shipped is restored and compared.

    sidecar_test.py SQLITE_S3_AGENT SQLITE_S3_RESTORE
"""
import os
import sqlite3
import subprocess
import sys
import time
import unittest

from sidecar import PATIENCE, Application
from sidecar_fixture import RESTORE, SidecarCase


class Sidecar(SidecarCase):

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
        rows = 1
        if not status["requests_this_hour"]:  # it has just begun: there is no other meanwhile
            application.run("INSERT INTO t VALUES(3, 4)")
            rows += 1
            txid = self.ask("sync")["txid"]
            status = self.ask("status")["databases"][0]
        self.assertGreater(status["requests_this_hour"], 0)
        self.assertGreater(status["wal_file_bytes"], 0)
        self.assertEqual(self.ask("mark", self.path, "here")["txid"], txid)
        self.assertEqual(self.ask("image")["txid"], txid)
        application.run("DELETE FROM t")
        self.ask("sync")
        subprocess.run([RESTORE, "file://" + self.replica, "-o", self.restored, "--until",
                        "mark:here"], check=True, stdout=subprocess.DEVNULL)
        marked = sqlite3.connect(self.restored)
        self.assertEqual(marked.execute("SELECT count(*) FROM t").fetchone()[0], rows)
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


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
