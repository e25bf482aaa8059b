#!/usr/bin/env python3
"""tasks: a to-do list whose every change can be undone, backed up from Python through the extension.

    tasks.py DATABASE REPLICA add TEXT      adds a task
    tasks.py DATABASE REPLICA list          prints the open tasks
    tasks.py DATABASE REPLICA clear         deletes all tasks, after setting a mark to go back to

REPLICA is a URL such as file:///var/backups/tasks. The extension is found through the environment
variable SQLITE_S3_EXTENSION, for example $(pkg-config --variable=extension sqlite_s3_hook).

Needs a Python whose sqlite3 module can load extensions; that of Debian can.
"""
import json
import os
import sqlite3
import sys
import time


def open_tasks(path, replica):
    # isolation_level=None: statements commit by themselves, transactions are written BEGIN and COMMIT.
    # With Python's default, an INSERT opens a transaction, and s3_sync() refuses to wait inside it.
    db = sqlite3.connect(path, isolation_level=None, timeout=5)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE IF NOT EXISTS task(id INTEGER PRIMARY KEY, text TEXT)")
    db.enable_load_extension(True)
    db.load_extension(os.environ.get("SQLITE_S3_EXTENSION", "sqlite_s3_hook"))
    db.enable_load_extension(False)
    db.execute("SELECT s3_start(?, 'interval=200ms')", (replica,))
    return db


def main(path, replica, command, *words):
    db = open_tasks(path, replica)
    if command == "add":
        db.execute("INSERT INTO task(text) VALUES(?)", (" ".join(words),))
        # The TXID of the commit just made: worth noting where an action is logged, for it names the
        # state to which the database can be restored.
        status = json.loads(db.execute("SELECT s3_status()").fetchone()[0])
        print("restore point", status["txid"])
    elif command == "list":
        for number, text in db.execute("SELECT id, text FROM task ORDER BY id"):
            print(number, text)
    elif command == "clear":
        mark = time.strftime("before-clear-%Y%m%dT%H%M%S")
        db.execute("SELECT s3_mark(?)", (mark,))  # returns when the replica has everything so far
        db.execute("DELETE FROM task")
        print("to go back: sqlite-s3-restore", replica, "-o restored.db --until mark:" + mark)
    else:
        sys.exit("tasks: no such command: " + command)
    db.close()  # the last connection: flushes, within close_timeout


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except sqlite3.OperationalError as error:
        sys.exit(f"tasks: {error}")
