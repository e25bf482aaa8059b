#!/usr/bin/env python3
"""log, diff and undo as programs: an application with a wrong DELETE, found, seen and repaired; what
is refused, and with which exit code; the script in SQLite's own shell, also one that goes on after
errors.

    undo_test.py EXTENSION SQLITE_S3_RESTORE
"""
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest

EXTENSION, RESTORE = (os.path.abspath(path) for path in sys.argv[1:3])


class UndoTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="sqlite-s3-undo.")
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "app.db")
        self.url = "file://" + os.path.join(self.folder.name, "replica")
        self.app = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(lambda: self.app.close())
        self.app.executescript(
            "PRAGMA journal_mode=WAL;"
            "CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT);"
            "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer INTEGER REFERENCES"
            " customer ON DELETE CASCADE, item TEXT, price REAL);"
            "CREATE TABLE journal(what TEXT);"
            "CREATE TRIGGER gone AFTER DELETE ON orders BEGIN INSERT INTO journal"
            " VALUES('gone '||old.id); END;"
            "CREATE TRIGGER came AFTER INSERT ON orders BEGIN INSERT INTO journal"
            " VALUES('came '||new.id); END;"
            "INSERT INTO customer VALUES(1,'Ada'),(2,'Grace');"
            "INSERT INTO orders(customer,item,price) VALUES(1,'tea',0.1),(2,'coffee',2.5),"
            "(1,'it''s',1e300);")
        self.app.enable_load_extension(True)
        self.app.load_extension(EXTENSION)
        self.app.execute("SELECT s3_start(?, 'interval=20ms')", (self.url,))
        self.app.execute("SELECT s3_sync()")

    def commit(self, sql):
        """Runs it, and says its TXID."""
        self.app.execute(sql)
        self.app.execute("SELECT s3_sync()")
        return json.loads(self.run_tool("log", self.url, "--limit", "1", "--json"))["commits"][0][
            "txid"]

    def run_tool(self, *arguments, code=0):
        result = subprocess.run([RESTORE, *arguments], capture_output=True, text=True, check=False)
        self.errors = result.stderr
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout

    def content(self):
        return sorted(line for line in self.app.iterdump() if "sqlite_sequence" not in line)

    def test_a_wrong_delete_is_found_seen_and_repaired(self):
        before = self.content()
        wrong = self.commit("DELETE FROM orders WHERE price<3")
        self.commit("INSERT INTO customer VALUES(3,'Linus')")

        found = json.loads(self.run_tool("log", self.url, "--table", "orders", "--grep", "coffee",
                                         "--json"))
        self.assertEqual([c["txid"] for c in found["commits"]], [wrong])
        self.assertEqual(found["commits"][0]["tables"][0]["deleted"], 2)
        self.assertNotIn("rows", found["commits"][0]["tables"][0])

        seen = self.run_tool("diff", self.url, f"{int(wrong, 16) - 1:016x}", wrong)
        self.assertIn("- id=1, customer=1, item='tea', price=0.1\n", seen)
        self.assertIn("journal: 2 inserted", seen)

        self.run_tool("undo", self.url, wrong, "--apply", self.path)
        self.assertEqual([line for line in self.content() if "Linus" not in line], before)
        self.assertIn("undone in the database", self.errors)

    def test_the_script_does_the_same_in_the_shell_with_triggers_and_foreign_keys_on(self):
        before = self.content()
        wrong = self.commit("DELETE FROM customer WHERE id=1")
        self.app.execute("PRAGMA foreign_keys=ON")
        script = self.run_tool("undo", self.url, wrong)
        subprocess.run(["sqlite3", "-bail", self.path], input="PRAGMA foreign_keys=ON;" + script,
                       text=True, check=True, capture_output=True)
        self.assertEqual(self.content(), before)

    def test_a_script_whose_rows_changed_does_nothing_even_where_errors_do_not_stop_it(self):
        wrong = self.commit("UPDATE orders SET price=0")
        self.app.execute("PRAGMA user_version=7")
        self.app.execute("SELECT s3_sync()")
        script = self.run_tool("undo", self.url, wrong)
        for change in ("UPDATE orders SET item='new' WHERE id=2",
                       "DELETE FROM orders WHERE id=3",
                       "ALTER TABLE orders ADD COLUMN note"):
            self.app.execute(change)
            now = list(self.app.iterdump())
            shell = subprocess.run(["sqlite3", self.path], input=script, text=True, check=False,
                                   capture_output=True)
            self.assertIn("not as the script expects", shell.stderr)
            self.assertEqual(list(self.app.iterdump()), now, change)

    def test_rows_that_changed_later_are_named_with_the_commits(self):
        wrong = self.commit("UPDATE orders SET price=1")
        later = self.commit("UPDATE orders SET item='other' WHERE id=2")
        refused = json.loads(self.run_tool("undo", self.url, wrong, "--json", code=4))
        self.assertEqual(refused["conflicts"],
                         [{"table": "orders", "row": "id=2", "txids": [later]}])
        self.run_tool("undo", self.url, wrong, code=4)
        self.assertIn(f"conflict: orders id=2, changed by TXID {later}\n", self.errors)
        script = self.run_tool("undo", self.url, wrong, "--until", "txid:" + wrong)
        self.assertIn("RELEASE s3_undo;", script)

    def test_what_cannot_be_reversed_is_refused_with_the_reason(self):
        altered = self.commit("ALTER TABLE orders ADD COLUMN note TEXT")
        self.commit("UPDATE orders SET note='paid' WHERE id=2")
        self.run_tool("undo", self.url, altered, code=4)
        self.assertIn("obstacle: later commits put values into column 'note' of table 'orders'",
                      self.errors)
        self.run_tool("undo", self.url, "ffffffffffffff00", code=3)
        self.run_tool("undo", self.url, "10 minutes ago", code=2)
        self.run_tool("undo", self.url, "0000000000000001", code=3)  # the first image is its state
        self.run_tool("diff", self.url, altered, altered, "--table", "no such", code=3)

    def test_a_dropped_column_comes_back_and_a_search_index_follows(self):
        self.app.executescript(
            "CREATE VIRTUAL TABLE found USING fts5(item, content='orders', content_rowid='id');"
            "CREATE TRIGGER found_i AFTER INSERT ON orders BEGIN INSERT INTO found(rowid,item)"
            " VALUES(new.id,new.item); END;"
            "CREATE TRIGGER found_d AFTER DELETE ON orders BEGIN INSERT INTO found(found,rowid,item)"
            " VALUES('delete',old.id,old.item); END;"
            "INSERT INTO found(found) VALUES('rebuild');")
        wrong = self.commit("DELETE FROM orders WHERE id=1")
        self.commit("INSERT INTO orders(customer,item,price) VALUES(2,'black tea',3.5)")
        self.run_tool("undo", self.url, wrong, "--apply", self.path)
        self.assertIn("index of the full-text table 'found' made anew", self.errors)
        self.assertEqual(self.app.execute("SELECT rowid FROM found('tea') ORDER BY 1").fetchall(),
                         [(1,), (4,)])
        self.app.execute("INSERT INTO found(found) VALUES('integrity-check')")
        before = self.content()
        dropped = self.commit("ALTER TABLE orders DROP COLUMN price")
        script = self.run_tool("undo", self.url, dropped)
        shell = subprocess.run(["sqlite3", "-bail", self.path], input=script, text=True,
                               check=False, capture_output=True)
        self.assertEqual((shell.returncode, shell.stderr), (0, ""))
        self.assertEqual(self.content(), before)

    def test_an_undo_is_itself_undone(self):
        wrong = self.commit("DELETE FROM orders")
        emptied = self.content()
        script = self.run_tool("undo", self.url, wrong)
        self.app.executescript(script)
        again = self.commit("SELECT 1")
        self.run_tool("undo", self.url, again, "--apply", self.path)
        self.assertEqual(self.content(), emptied)

    def test_a_row_cannot_speak_to_the_terminal(self):
        txid = self.commit("INSERT INTO customer VALUES(9, 'x' || char(27) || '[2J' || char(0))")
        out = self.run_tool("log", self.url, "--rows", "--limit", "1")
        self.assertNotIn("\x1b", out)
        self.assertIn("CAST(x'781b5b324a00' AS TEXT)", out)
        self.run_tool("undo", self.url, txid, "--apply", self.path)

    def test_log_gives_back_marks_times_schema_and_bounds(self):
        first = self.commit("CREATE INDEX by_item ON orders(item)")
        self.app.execute("SELECT s3_mark('here')")
        second = self.commit("DROP INDEX by_item")
        log = json.loads(self.run_tool("log", self.url, "--since", first, "--json"))
        self.assertEqual([c["txid"] for c in log["commits"]], [second, first])
        self.assertEqual(log["commits"][1]["marks"], ["here"])
        self.assertEqual(log["commits"][1]["schema"][0]["after"],
                         "CREATE INDEX by_item ON orders(item)")
        self.assertEqual(
            json.loads(self.run_tool("log", self.url, "--until", "mark:here", "--limit", "1",
                                     "--json"))["commits"][0]["txid"], first)
        self.run_tool("undo", self.url, second, "--apply", self.path)
        self.assertEqual(
            self.app.execute("SELECT count(*) FROM sqlite_schema WHERE name='by_item'").fetchone(),
            (1,))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
