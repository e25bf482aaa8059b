#!/usr/bin/env python3
"""What an operator asks the agent: status, sync, verify, and the alarm.

    sidecar_ops_test.py SQLITE_S3_AGENT SQLITE_S3_RESTORE SQLITE_S3_SERVER
"""
import os
import signal
import subprocess
import sys
import threading
import unittest

from ops_fixture import KEYS, Ops, S3
from sidecar import PATIENCE, Application
from sidecar_fixture import AGENT


class Status(Ops):

    def test_has_a_summary_requests_errors_and_costs(self):
        application = self.make()
        agent = self.start("-o", "interval=10ms")
        self.wait_until_said(agent, "shipping")
        application.run("INSERT INTO t VALUES(1, 2)")
        self.ask("sync")
        status = self.ask("status")
        self.assertTrue(status["ok"])
        self.assertEqual(status["summary"], "1 of 1 database shipping")
        database = status["databases"][0]
        requests = database["requests_by_operation"]
        self.assertGreater(requests["put"], 0)
        self.assertEqual(sum(requests.values()), database["requests"])
        self.assertEqual(database["errors"], {})
        self.assertRegex(database["last_success"], r"^20\d\d-")
        self.assertGreater(database["cost_per_month"], 0)
        text = subprocess.run([AGENT, "status", "--check", "--control", self.control], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual(text.splitlines()[0], "1 of 1 database shipping")
        self.assertIn(self.path, text)
        application.close()

    def test_costs_follow_the_prices_of_the_configuration(self):
        costs = []
        self.make().close()
        for prices in ("price_put_per_1000 = 0\nprice_get_per_1000 = 0\nprice_gb_month = 0\n",
                       "price_put_per_1000 = 5000\n"):
            config = self.path + ".toml"
            with open(config, "w", encoding="utf-8") as file:
                file.write(f'{prices}[[database]]\npath="{self.path}"\nreplica="{self.replica}"\n')
            agent = self.start(arguments=["--config", config])
            self.wait_until_said(agent, "shipping")
            costs.append(self.ask("status")["databases"][0]["cost_per_month"])
            agent.terminate()
            agent.wait(PATIENCE)
        self.assertEqual(costs[0], 0)
        self.assertGreater(costs[1], 1000)

    def test_sync_of_all_databases_names_each(self):
        second = self.path + "2"
        applications = [self.make(), self.make(second)]
        agent = self.start()
        self.wait_until_said(agent, "shipping")
        self.ask("add", second, "file://" + self.replica + "2")
        self.wait_until_said(agent, second + ": shipping")
        for application in applications:
            application.run("INSERT INTO t VALUES(1, 2)")
        databases = self.ask("sync", "--all")["databases"]
        self.assertEqual([d["database"] for d in databases], [self.path, second])
        for database, asked in zip(self.ask("status")["databases"], databases):
            self.assertGreaterEqual(database["shipped_txid"], asked["txid"])
        self.ask("pause", second)
        self.wait_for(lambda: self.ask("status", second)["databases"][0]["state"] == "paused")
        answers = self.ask("sync", "--all", code=4)["databases"]
        self.assertIn("txid", answers[0])
        self.assertEqual(answers[1]["error"]["code"], "failed precondition")

    def test_sync_without_waiting_asks_for_the_upload_of_what_is_there(self):
        application = self.make()
        agent = self.start("-o", "interval=1h")
        self.wait_until_said(agent, "shipping")
        self.ask("sync")
        application.run("INSERT INTO t VALUES(1, 2)")
        txid = self.ask("sync", "--no-wait")["txid"]
        self.wait_for(lambda: self.ask("status")["databases"][0]["shipped_txid"] >= txid)
        self.assertEqual(self.ask("sync")["txid"], txid)


class Verify(Ops):

    def test_finds_the_live_database_in_the_replica_while_it_is_written_to(self):
        application = self.make()
        agent = self.start("-o", "interval=10ms")
        self.wait_until_said(agent, "shipping")
        stop = threading.Event()

        def write():
            while not stop.is_set():
                application.run("INSERT INTO t VALUES(1, randomblob(3000))")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            found = [self.ask("verify", "--timeout", "300")]
            while len(found) < 3 or found[-1]["txid"] == found[0]["txid"]:
                found.append(self.ask("verify", "--timeout", "300"))
        finally:
            stop.set()
            writer.join()
        self.assertLess(found[0]["txid"], found[-1]["txid"])
        application.run("PRAGMA wal_checkpoint(TRUNCATE)")  # all in the file, nothing in the WAL
        self.assertGreaterEqual(self.ask("verify")["txid"], found[-1]["txid"])
        application.run("INSERT INTO t VALUES(1, 2)")  # and now most of it
        text = subprocess.run([AGENT, "verify", "--control", self.control], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        self.assertRegex(text, "^verified: TXID [0-9a-f]{16} is the database, ")
        application.close()

    def test_a_page_that_a_rotten_disk_changed_is_corruption(self):
        self.make().run("INSERT INTO t VALUES(1, zeroblob(9000))",
                        "PRAGMA wal_checkpoint(TRUNCATE)").close()
        agent = self.start()
        self.wait_until_said(agent, "shipping")
        self.ask("verify")
        before = os.stat(self.path)
        agent.send_signal(signal.SIGSTOP)  # it would notice a write: a disk that rots tells nobody
        with open(self.path, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"x")
        os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        agent.send_signal(signal.SIGCONT)
        self.assertIn("leads to another database", self.ask("verify", code=5)["error"]["message"])
        Application(self.path).run("INSERT INTO t VALUES(2, 2)").close()
        # The way out that the message names: no copy of it is the commit's, so all is compared.
        self.ask("image")
        self.wait_until_said(agent, "no commit made")
        self.ask("verify")

    def test_a_missing_part_of_the_image_the_log_or_a_big_commit_is_named(self):
        application = self.make()
        agent = self.start("-o", "interval=10ms,memory=1MiB,image_log_percent=0")
        self.wait_until_said(agent, "shipping")
        application.run("INSERT INTO t VALUES(1, randomblob(5000000))")
        self.ask("verify")
        application.run("INSERT INTO t VALUES(1, 2)")
        self.ask("verify")
        for kind in ("/image/", "/log/", "/part/"):
            gone = max(os.path.join(folder, file) for folder, _, files in os.walk(self.replica)
                       for file in files
                       if kind in folder + "/" and file != "manifest.json" and ".hashes" not in file)
            os.rename(gone, self.path + ".gone")
            error = self.ask("verify", code=3)["error"]
            self.assertIn(os.path.splitext(os.path.basename(gone))[0], error["message"])
            os.rename(self.path + ".gone", gone)
        self.ask("verify")

    def test_works_without_an_agent(self):
        self.make().close()
        replica = "file://" + self.replica
        subprocess.run([AGENT, "run", "--once", self.path, replica], check=True,
                       stderr=subprocess.DEVNULL)
        self.ask("verify", self.path, replica)
        Application(self.path).run("INSERT INTO t VALUES(1, 2)").close()
        self.ask("verify", self.path, replica, code=4)
        self.ask("verify", self.path, replica + "-not", code=3)


class Alarm(Ops):

    def test_is_on_while_a_commit_does_not_get_there_and_ends_when_it_does(self):
        application = self.make()
        store = S3(self)
        agent = self.start("-o", "interval=10ms,alarm_after=200ms", environment=KEYS,
                           arguments=[self.path, store.url])
        self.wait_until_said(agent, "shipping")
        self.sync_and_be_quiet()
        store.go()
        application.run("INSERT INTO t VALUES(1, 2)")
        self.wait_for(self.alarm)
        line = self.wait_until_said(agent, "alarm: nothing has reached the replica for 200ms")
        self.assertIn("error", line)
        self.wait_for(lambda: self.ask("status", "--check", code=7)["databases"][0]["errors"])
        self.assertIn("ALARM: " + self.path, self.ask("status", "--check", code=7)["summary"])
        store.come()
        self.wait_for(lambda: not self.alarm())
        self.ask("status", "--check")

        def said(text):
            return sum(text in line for line in agent.said)

        # Once each.
        self.wait_for(lambda: said("the alarm is over") == said("alarm: nothing"))

    def test_is_on_when_the_store_goes_away_before_the_first_image_is_complete(self):
        self.make()
        store = S3(self)
        agent = self.start("-o", "interval=10ms,alarm_after=200ms", environment=KEYS,
                           arguments=[self.path, store.url])
        self.wait_until_said(agent, "shipping")
        store.go()  # as soon as that: the image is on its way
        self.ask("sync", "--no-wait")
        Application(self.path).run("INSERT INTO t VALUES(1, 2)").close()
        self.wait_for(lambda: self.ask("status")["databases"][0]["state"] == "store-away")
        self.wait_for(self.alarm)
        for _ in range(20):  # and stays so
            self.ask("status", "--check", code=7)

    def test_a_store_that_was_never_there_is_one(self):
        self.make().close()
        with open(self.replica, "w", encoding="utf-8"):
            pass
        agent = self.start("-o", "alarm_after=100ms")
        self.wait_until_said(agent, "alarm: nothing has reached the replica")
        self.ask("status", "--check", code=7)

    def test_a_database_that_does_not_exist_is_none(self):
        agent = self.start("-o", "alarm_after=100ms")
        self.wait_until_said(agent, "does not exist yet")
        with_wal = self.path + "2"
        # The next alarm is another's: this one's would have come before.
        Application(with_wal).run("CREATE TABLE t(a)").close()
        self.ask("add", with_wal, "file://" + self.replica + "2", "-o", "alarm_after=200ms")
        self.assertIn(with_wal, self.wait_until_said(agent, "alarm: "))
        self.assertFalse(self.ask("status", self.path)["databases"][0]["alarm"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
