#!/usr/bin/env python3
"""Copies: of a machine with its state directory, of a database put over one that is shipped. What
each of them takes for its own must not cost the other a commit without a word, and a restore that is
made is the database, byte for byte.

    sidecar_copies_test.py SQLITE_S3_AGENT SQLITE_S3_RESTORE [TEST...]
"""
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sidecar  # noqa: E402  pylint: disable=wrong-import-position
from sidecar import Application, make_database  # noqa: E402

AGENT, RESTORE = (os.path.abspath(path) for path in sys.argv[1:3])


def rows(path):
    db = sqlite3.connect(path)
    try:
        return [a for (a,) in db.execute("SELECT a FROM t ORDER BY rowid")]
    finally:
        db.close()


class Copies(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="copies-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.replica = "file://" + os.path.join(self.folder, "replica")
        self.restored = os.path.join(self.folder, "restored.db")
        os.mkdir(os.path.join(self.folder, "machine"))
        self.path = os.path.join(self.folder, "machine", "app.db")

    def start(self, path=None):
        path = path or self.path
        agent = sidecar.Agent(AGENT, path + ".control", path, self.replica, "-o", "interval=10ms")
        self.addCleanup(agent.close)
        return agent

    def check(self, agent):
        agent.sync(self.path)
        sidecar.restore(RESTORE, self.replica, self.restored)
        sidecar.compare(self.path, self.restored)
        everything = subprocess.run([RESTORE, "verify", self.replica], check=False, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(everything.returncode, 0, everything.stdout)
        agent.ask("verify", self.path)


class Machines(Copies):

    def clone(self):
        """The machine's disk as it is, on another machine: the same inode numbers and machine id."""
        path = os.path.join(self.folder, "clone", "app.db")
        shutil.copytree(os.path.dirname(self.path), os.path.dirname(path))
        self.same_place(path)
        return path

    @staticmethod
    def same_place(path):
        identity = os.path.join(path + "-s3", "identity")
        with open(identity, encoding="utf-8") as file:
            content = json.load(file)
        machine = content["place"].partition("@")[2]
        content["place"] = f"{os.stat(path + '-s3').st_ino}@{machine}"
        with open(identity, "w", encoding="utf-8") as file:
            json.dump(content, file)

    def shipped_and_cloned(self):
        make_database(self.path, "INSERT INTO t VALUES('both', 1)").close()
        agent = self.start()
        agent.sync(self.path)
        agent.stop()
        os.remove(self.path + ".control.log")
        clone = self.clone()
        agent = self.start()
        Application(self.path).run("INSERT INTO t VALUES('original', 1)").close()
        agent.sync(self.path)
        return agent, clone

    def test_a_clone_that_goes_on_from_an_older_state_fences_the_writer_of_the_line_it_leaves(self):
        agent, clone = self.shipped_and_cloned()
        other = self.start(clone)
        self.assertEqual(other.wait_for_state(clone, "shipping"), True)
        self.assertEqual(other.status(clone)["timeline"], 2)
        Application(self.path).run("INSERT INTO t VALUES('after the fork', 1)").close()
        agent.wait_for_state(self.path, "fenced")
        sidecar.restore(RESTORE, self.replica, self.restored)
        self.assertEqual(rows(self.restored), ["both"])
        sidecar.restore(RESTORE, self.replica, self.restored, "--timeline", "1")
        self.assertEqual(rows(self.restored), ["both", "original"])

    def test_an_original_that_starts_again_on_the_clone_s_line_fences_the_clone(self):
        agent, clone = self.shipped_and_cloned()
        agent.stop()
        other = self.start(clone)
        other.wait_for_state(clone, "shipping")
        agent = self.start()
        agent.wait_for_state(self.path, "shipping")
        self.check(agent)
        Application(clone).run("INSERT INTO t VALUES('clone', 1)").close()
        other.wait_for_state(clone, "fenced")
        self.check(agent)

    def test_a_disk_put_back_to_before_a_line_of_its_own_goes_on(self):
        agent, before = self.shipped_and_cloned()
        agent.stop()
        for begun in (2, 3):  # each time the snapshot is of timeline 1
            machine = os.path.dirname(self.path)
            shutil.rmtree(machine)
            shutil.copytree(os.path.dirname(before), machine)
            self.same_place(self.path)
            agent = self.start()
            agent.wait_for_state(self.path, "shipping")
            self.assertEqual(agent.status(self.path)["timeline"], begun)
            self.check(agent)
            Application(self.path).run("INSERT INTO t VALUES('again', 1)").close()
            self.check(agent)
            agent.stop()


class FilesPutOver(Copies):

    def put_over(self, source):
        """cp: the file's name and inode stay, its content does not."""
        inode = os.stat(self.path).st_ino
        subprocess.run(["cp", source, self.path], check=True)
        self.assertEqual(os.stat(self.path).st_ino, inode)

    def checkpoint(self):
        db = sqlite3.connect(self.path)
        busy, frames, done = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        db.close()
        return not busy and frames == done  # while another one goes on they are -1 both

    def shipped_and_closed(self):
        make_database(self.path, *(f"INSERT INTO t VALUES({i}, hex(randomblob(900)))"
                                   for i in range(40))).close()
        agent = self.start()
        agent.sync(self.path)
        backup = os.path.join(self.folder, "backup.db")
        application = Application(self.path).run(f"VACUUM INTO '{backup}'")
        Application(backup).run("PRAGMA journal_mode=WAL").close()
        application.run("UPDATE t SET b = hex(randomblob(900))")
        # Else frames of the WAL would lie over what is put there.
        agent.wait_for("a complete checkpoint", self.checkpoint)
        agent.sync(self.path)
        application.close()
        return agent, backup

    def test_a_backup_that_is_copied_over_the_file_is_what_is_restored(self):
        agent, backup = self.shipped_and_closed()
        self.put_over(backup)
        agent.wait_for("a new start", lambda: "not by SQLite" in agent.said())
        self.check(agent)
        self.assertEqual(sidecar.content(self.path), sidecar.content(backup))
        Application(self.path).run("INSERT INTO t VALUES('after', 1)").close()
        self.check(agent)

    def test_commits_onto_a_file_that_was_put_there_meanwhile_are_restorable(self):
        agent, backup = self.shipped_and_closed()
        agent.process.send_signal(19)  # it sees nothing of what happens
        self.put_over(backup)
        Application(self.path).run("INSERT INTO t VALUES('after', 1)",
                                   "UPDATE t SET b = 'x' WHERE rowid = 20").close()
        agent.process.send_signal(18)
        self.check(agent)
        Application(self.path).run("INSERT INTO t VALUES('later', 1)").close()
        self.check(agent)

    def test_a_file_longer_than_its_header_says_is_verified(self):
        agent, backup = self.shipped_and_closed()
        agent.stop()
        shutil.copy(backup, self.path)
        with open(self.path, "ab") as file:  # as SQLITE_FCNTL_CHUNK_SIZE leaves it
            file.truncate(os.path.getsize(backup) + (1 << 16))
        agent = self.start()
        self.check(agent)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
