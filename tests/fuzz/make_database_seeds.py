#!/usr/bin/env python3
"""Writes the seeds of database_fuzz: two states of small databases with every kind of table, as
database_fuzz.cc reads them.

    tests/fuzz/make_database_seeds.py FOLDER
"""
import os
import sqlite3
import struct
import sys
import tempfile

PAGE = 512
NUMBERS = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) "
KINDS = {
    "rows": (
        "",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL, c BLOB);"
        "CREATE INDEX t_a ON t(a);" + NUMBERS % 60 +
        "INSERT INTO t SELECT i*3, 'row '||i, i/3.0, zeroblob(i%7) FROM c;"
        "CREATE VIEW v AS SELECT a FROM t;"
        "CREATE TRIGGER r AFTER DELETE ON t BEGIN SELECT 1; END;",
        "UPDATE t SET a='new' WHERE id%9=0; DELETE FROM t WHERE id=33; INSERT INTO t(a) VALUES('x')"),
    "overflow": (
        "",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v);"
        "INSERT INTO t VALUES(1,zeroblob(3000)),(2,printf('%.*c',1800,'x')),(3,zeroblob(700));",
        "UPDATE t SET v=zeroblob(2900) WHERE id=1; UPDATE t SET v=printf('%.*c',1800,'y') WHERE id=2"),
    "without_rowid": (
        "PRAGMA auto_vacuum=1;",
        "CREATE TABLE w(k TEXT COLLATE NOCASE, n INT, v, s INT AS (n*2) STORED, PRIMARY KEY(k,n DESC))"
        " WITHOUT ROWID;" + NUMBERS % 50 +
        "INSERT INTO w SELECT 'key '||(i%7), i, zeroblob(i*11) FROM c;",
        "DELETE FROM w WHERE n%5=0; UPDATE w SET v='z' WHERE n=7"),
    "utf16": (
        "PRAGMA encoding='UTF-16le';",
        "CREATE TABLE p(a DEFAULT 'x', b); INSERT INTO p VALUES('\u20ac',9e999),(NULL,-9e999),(1,1e300);"
        "ALTER TABLE p ADD COLUMN c REAL DEFAULT 7;"
        "CREATE TABLE u(id INTEGER PRIMARY KEY AUTOINCREMENT, e TEXT UNIQUE) STRICT;"
        "INSERT INTO u(e) VALUES('a'),('b');",
        "UPDATE p SET c=8; INSERT INTO u(e) VALUES('c'); PRAGMA user_version=5"),
    "search": (
        "",
        "CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES('one two'),('two three');"
        "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES(1,0,1),(2,5,6);",
        "INSERT INTO f VALUES('four'); DELETE FROM r WHERE id=1"),
    "freed": (
        "PRAGMA auto_vacuum=2;",
        "CREATE TABLE a(v); CREATE TABLE b(v);" + NUMBERS % 90 +
        "INSERT INTO a SELECT zeroblob(90) FROM c;" + NUMBERS % 40 +
        "INSERT INTO b SELECT i FROM c; ANALYZE; DELETE FROM a WHERE rowid>20;",
        "DROP TABLE b; CREATE TABLE b2(v, w DEFAULT 3); INSERT INTO b2(v) VALUES(1)"),
}


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for name, (pragmas, first, second) in KINDS.items():
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "seed.db")
            states = []
            for sql in (f"PRAGMA page_size={PAGE};{pragmas}{first}", second):
                db = sqlite3.connect(path, isolation_level=None)
                db.executescript(sql)
                db.close()
                with open(path, "rb") as file:
                    states.append(file.read())
        before, after = states
        seed = before
        for at in range(0, len(after), PAGE):
            if after[at:at + PAGE] != before[at:at + PAGE]:
                seed += struct.pack(">I", at // PAGE + 1) + after[at:at + PAGE]
        with open(os.path.join(folder, name + ".bin"), "wb") as file:
            file.write(seed)


if __name__ == "__main__":
    main(sys.argv[1])
