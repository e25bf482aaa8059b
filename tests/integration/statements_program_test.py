#!/usr/bin/env python3
"""The SQL log as programs: the loadable extension in Python and in the shell, with statements and
tags; what never leaves the process; another SQLite; an application that traces itself; statements
that cannot be interrupted; and the README's story, with the README's commands.

    statements_program_test.py EXTENSION SQLITE_S3_RESTORE README
"""
import ctypes
import ctypes.util
import glob
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

EXTENSION, RESTORE, README = (os.path.abspath(path) for path in sys.argv[1:4])
CANARIES = [b"canary-literal", b"canary-quoted", b"canary-comment", b"canary-bound",
            b"canary-blob", b"canary-key", b"canary-dump"]


class StatementsProgramTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="sqlite-s3-statements.")
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "app.db")
        self.replica = os.path.join(self.folder.name, "replica")
        self.url = "file://" + self.replica
        self.errors = ""

    def open(self, options):
        """The application: a connection that ships."""
        app = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(app.close)
        app.execute("PRAGMA journal_mode=WAL")
        app.execute("CREATE TABLE IF NOT EXISTS note(text)")
        app.enable_load_extension(True)
        app.load_extension(EXTENSION)
        app.execute("SELECT s3_start(?, ?)", (self.url, options))
        app.execute("SELECT s3_sync()")
        return app

    def sync(self, app):
        return app.execute("SELECT s3_sync()").fetchone()[0]

    def run_tool(self, *arguments, code=0):
        result = subprocess.run([RESTORE, *arguments], capture_output=True, text=True, check=False,
                                cwd=self.folder.name)
        self.errors = result.stderr
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout

    def log(self, limit=20):
        return json.loads(self.run_tool("log", self.url, "--limit", str(limit), "--json"))[
            "commits"]

    def restore(self, *arguments):
        output = os.path.join(self.folder.name, "restored.db")
        if os.path.exists(output):
            os.remove(output)
        report = json.loads(self.run_tool(self.url, "-o", output, "--json", *arguments))
        with open(output, "rb") as file:
            return report, file.read()

    def texts(self, commit):
        return [s["text"] for s in commit["statements"]["sql"]]


class Extension(StatementsProgramTest):

    def test_statements_values_and_tags_come_with_their_commits(self):
        app = self.open("statements=values,interval=0")
        app.execute("SELECT s3_tag('request 7')")
        app.execute("BEGIN")
        app.execute("INSERT INTO note VALUES(?)", ("first",))
        app.executemany("INSERT INTO note VALUES(:text)", [{"text": "a"}, {"text": "b"}])
        app.execute("COMMIT")
        app.execute("SELECT s3_tag(NULL)")
        app.execute("INSERT INTO note VALUES('plain') RETURNING rowid").fetchone()
        self.sync(app)
        plain, tagged = self.log()[:2]
        self.assertEqual(tagged["statements"]["tag"], "request 7")
        self.assertEqual(len([t for t in self.texts(tagged) if "INSERT" in t]), 3)
        self.assertIn("plain", self.texts(plain)[0])
        self.assertFalse(plain["statements"].get("tag"))
        by_sql, sql_bytes = self.restore("--via", "sql")
        _, page_bytes = self.restore()
        self.assertEqual(sql_bytes, page_bytes)
        self.assertEqual(by_sql["commits_by_pages"], 0, by_sql)
        self.assertEqual(self.run_tool("log", self.url, "--grep", "request 7").count("tag:"), 1)

    def test_the_shell_ships_statements(self):
        subprocess.run(
            ["sqlite3", self.path], text=True, check=True, capture_output=True,
            input="PRAGMA journal_mode=WAL;\nCREATE TABLE note(text);\n"
                  f".load {EXTENSION}\n"
                  f"SELECT s3_start('{self.url}', 'statements=values,interval=0');\n"
                  "SELECT s3_sync();\nSELECT s3_tag('by hand');\n"
                  "INSERT INTO note VALUES('typed');\nUPDATE note SET text = upper(text);\n"
                  "SELECT s3_sync();\n")
        newest, before = self.log()[:2]
        self.assertEqual(self.texts(newest), ["UPDATE note SET text = upper(text);"])
        self.assertEqual(self.texts(before), ["INSERT INTO note VALUES('typed');"])
        self.assertEqual(newest["statements"]["tag"], "by hand")
        report, _ = self.restore("--via", "sql")
        self.assertEqual(report["commits_by_pages"], 0, report)

    def test_an_application_that_traces_itself_keeps_its_trace_and_is_told(self):
        app = self.open("statements=values,interval=0")
        traced = []
        app.set_trace_callback(traced.append)  # Python takes the slot
        app.execute("INSERT INTO note VALUES('traced')")
        self.sync(app)
        self.assertIn("INSERT INTO note VALUES('traced')", traced)
        status = json.loads(app.execute("SELECT s3_status()").fetchone()[0])
        self.assertTrue(status["trace_displaced"])
        report, restored = self.restore("--via", "sql")
        self.assertEqual([c["reason"] for c in report["by_pages"]],
                         ["the application had taken the trace callback"])
        self.assertEqual(restored, self.restore()[1])


class Secrets(StatementsProgramTest):

    def write(self, app):
        app.execute("CREATE TABLE secret(a, b)")
        # Nothing of it stays in a page: this is about what else could hold it.
        app.execute("BEGIN")
        app.execute("DELETE FROM secret WHERE a = 'canary-literal' OR a = \"canary-quoted\""
                    " OR a IN ('canary-dump') -- canary-comment")
        app.execute("INSERT INTO secret SELECT 1, length(?) + length(?)",
                    ("canary-bound", b"canary-blob"))
        app.execute("COMMIT")
        app.execute("UPDATE secret SET a = length('canary-literal')")
        app.execute("PRAGMA key = 'canary-key'")
        with self.assertRaises(sqlite3.Error):
            app.execute("INSERT INTO secret SELECT 'canary-literal' FROM nowhere")
        with self.assertRaises(sqlite3.Error):
            app.execute("ATTACH 'nowhere/x.db' AS \"canary-quoted\" KEY 'canary-key'")

    def everything(self):
        """Bytes of every file of the replica, of the state directory, and beside the database:
        as they are, and what zstd finds in them."""
        for root, _, files in os.walk(self.folder.name):
            for name in files:
                path = os.path.join(root, name)
                if path in (self.path, self.path + "-wal", self.path + "-shm"):
                    continue
                with open(path, "rb") as file:
                    content = file.read()
                yield path, content
                for start in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), content):
                    yield path, decompress(content[start.start():])

    def check(self, options):
        state = os.path.join(self.folder.name, "state")
        log = os.path.join(self.folder.name, "stderr.txt")
        os.mkdir(state)
        saved = os.dup(2)
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 2)
        try:
            app = self.open(f"{options}interval=0,state_dir={state}")
            self.write(app)
            self.sync(app)
            status = app.execute("SELECT s3_status()").fetchone()[0].encode()
            app.close()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        listed = self.run_tool("log", self.url, "--limit", "0", "--json").encode()
        seen = 0
        for path, content in [*self.everything(), ("status", status), ("log", listed)]:
            seen += len(content)
            for canary in CANARIES:
                self.assertNotIn(canary, content, path)
        self.assertGreater(seen, 1000)
        return listed

    def test_by_default_no_literal_and_no_value_leaves_the_process(self):
        self.assertNotIn(b"DELETE FROM secret", self.check(""))

    def test_text_has_neither_a_literal_nor_a_value(self):
        self.assertIn(b"DELETE FROM secret WHERE a = ?", self.check("statements=text,"))

    def test_values_are_found_by_the_same_search(self):
        # Or the tests above would prove nothing.
        app = self.open("statements=values,interval=0")
        self.write(app)
        self.sync(app)
        found = b"".join(content for _, content in self.everything())
        self.assertIn(b"canary-literal", found)
        self.assertIn(b"canary-bound", found)
        self.assertNotIn(b"canary-key", found)


class Replaying(StatementsProgramTest):

    def test_another_build_of_sqlite_is_said(self):
        app = self.open("statements=values,interval=0")
        app.execute("INSERT INTO note VALUES(1)")
        self.sync(app)
        report, _ = self.restore("--via", "sql")
        self.assertNotIn("warnings", report)
        # A library that names another source is another build.
        other = os.path.join(self.folder.name, "other.so")
        source = os.path.join(self.folder.name, "other.c")
        with open(source, "w", encoding="ascii") as file:
            file.write('const char* sqlite3_sourceid(void) { return "2026-01-01 other"; }\n')
        subprocess.run(["cc", "-shared", "-fPIC", "-o", other, source], check=True)
        result = subprocess.run(
            [RESTORE, self.url, "-o", os.path.join(self.folder.name, "other.db"), "--via", "sql"],
            capture_output=True, text=True, check=True,
            env={**os.environ, "LD_PRELOAD": " ".join(
                filter(None, [os.environ.get("LD_PRELOAD"), other]))})
        self.assertIn("warning: the statements were executed by SQLite", result.stderr)
        self.assertIn("of another build", result.stderr)
        self.assertIn("1 commits by their statements, 0 by their pages", result.stderr)

    def test_a_call_that_nothing_can_interrupt_costs_its_commit_its_statements_and_no_more(self):
        app = self.open("statements=values,interval=0")
        app.execute("INSERT INTO note VALUES('before')")
        # Here it is quick; in SQLite's own it takes hours.
        app.create_function("instr", 2, lambda a, b: 0, deterministic=True)
        app.execute("INSERT INTO note SELECT instr(a || a, a || 'b')"
                    " FROM (SELECT hex(zeroblob(3000000)) AS a)")
        stuck = self.sync(app)
        app.execute("INSERT INTO note VALUES('after')")
        self.sync(app)
        report, restored = self.restore("--via", "sql", "--sql-timeout", "0.5")
        self.assertIn(f"TXID {stuck}: its statements take longer than 0.5 s", self.errors)
        # The others too, on a machine that stands still for that long.
        self.assertIn({"txid": stuck, "reason": "not executed (--take-pages)"},
                      report["by_pages"])
        self.assertEqual(report["commits_by_sql"] + report["commits_by_pages"], 3)
        self.assertEqual(restored, self.restore()[1])
        self.assertEqual(glob.glob(os.path.join(self.folder.name, ".*")), [])
        self.run_tool(self.url, "-o", os.path.join(self.folder.name, "strict.db"), "--via", "sql",
                      "--sql-timeout", "0.5", "--strict", code=4)
        self.assertEqual(glob.glob(os.path.join(self.folder.name, ".*")), [])


class Readme(StatementsProgramTest):

    def commands(self):
        """The three commands of the README's story."""
        with open(README, encoding="utf-8") as file:
            section = file.read().split("## Find and undo the damage", 1)[1].split("\n## ", 1)[0]
        return re.findall(r"^\$ (sqlite-s3-restore .*)$", section, re.MULTILINE)

    def test_three_commands_find_see_and_repair_a_wrong_delete(self):
        commands = self.commands()
        self.assertEqual([c.split()[1] for c in commands], ["log", "diff", "undo"])
        app = self.open("interval=0")
        app.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer INTEGER,"
                    " item TEXT, price REAL)")
        rows = [("tea", 6.5), ("coffee", 2.5), ("bread", 3.75), ("milk", 1.25), ("tea", 6.25),
                ("coffee", 7.5), ("bread", 8.75), ("salt", 10.0), ("tea", 11.25)]
        for number, (item, price) in enumerate(rows):
            app.execute("INSERT INTO orders(customer, item, price) VALUES(?, ?, ?)",
                        (number % 4 + 1, item, price))
        good = app.execute("SELECT * FROM orders").fetchall()
        # OR where there should have been an AND.
        app.execute("DELETE FROM orders WHERE item = 'coffee' AND price > 7 OR customer = 3")
        wrong = self.sync(app)
        gone = [row for row in good if row not in app.execute("SELECT * FROM orders").fetchall()]
        app.execute("INSERT INTO orders(customer, item, price) VALUES(9, 'later', 1)")
        app.execute("UPDATE orders SET price = 2 WHERE item = 'later'")
        self.sync(app)
        app.close()

        bin_directory = os.path.join(self.folder.name, "bin")
        os.mkdir(bin_directory)
        os.symlink(RESTORE, os.path.join(bin_directory, "sqlite-s3-restore"))
        shown = sorted(set(re.findall(r"\b[0-9a-f]{16}\b", " ".join(commands))))
        self.assertEqual(len(shown), 2, commands)  # the one before, and the wrong one
        own = [f"{int(wrong, 16) - 1:016x}", wrong]
        outputs = []
        for command in commands:
            for text, txid in zip(shown, own):
                command = command.replace(text, "<" + txid + ">")
            result = subprocess.run(
                ["/bin/sh", "-c", command.replace("<", "").replace(">", "")], text=True,
                capture_output=True, check=False, cwd=self.folder.name,
                env={**os.environ, "PATH": bin_directory + ":" + os.environ["PATH"]})
            self.assertEqual(result.returncode, 0, result.stderr)
            outputs.append(result.stdout + result.stderr)
        self.assertTrue(outputs[0].startswith(wrong), outputs[0])
        self.assertIn(f"orders: {len(gone)} deleted", outputs[0])
        for row in gone:
            self.assertIn(f"- id={row[0]}, customer={row[1]}, item='{row[2]}', price={row[3]}",
                          outputs[1])
        self.assertIn(f"TXID {wrong} undone in the database", outputs[2])
        repaired = sqlite3.connect(self.path)
        self.addCleanup(repaired.close)
        now = repaired.execute("SELECT * FROM orders ORDER BY id").fetchall()
        self.assertEqual([row for row in now if row[2] != "later"], good)
        self.assertEqual([row[3] for row in now if row[2] == "later"], [2.0])


def decompress(content):
    """One zstd frame at the start of `content`; what there is of it when more follows."""
    class Buffer(ctypes.Structure):
        _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t),
                    ("at", ctypes.c_size_t)]
    zstd = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    zstd.ZSTD_createDStream.restype = ctypes.c_void_p
    zstd.ZSTD_decompressStream.restype = ctypes.c_size_t
    stream = ctypes.c_void_p(zstd.ZSTD_createDStream())
    source = ctypes.create_string_buffer(content, len(content))
    target = ctypes.create_string_buffer(1 << 22)
    given = Buffer(ctypes.addressof(source), len(content), 0)
    taken = Buffer(ctypes.addressof(target), len(target), 0)
    while taken.at < taken.size:
        before = (given.at, taken.at)
        left = zstd.ZSTD_decompressStream(stream, ctypes.byref(taken), ctypes.byref(given))
        if zstd.ZSTD_isError(ctypes.c_size_t(left)) or left == 0 or before == (given.at, taken.at):
            break
    zstd.ZSTD_freeDStream(stream)
    return target.raw[:taken.at]


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
