/*
** notes: a notebook in one file, backed up as it is written.
**
**   notes DATABASE REPLICA add TEXT     adds a note; returns when the replica has it
**   notes DATABASE REPLICA list         prints the notes
**   notes DATABASE REPLICA status       prints the state of the backup, as JSON
**
** REPLICA is a URL such as file:///var/backups/notes. Everything about backups is in open_notes(),
** close_notes() and the call of sqlite_s3_sync(); the rest is SQLite as ever.
*/
#include <sqlite3.h>
#include <sqlite_s3.h>
#include <stdio.h>
#include <string.h>

static int failed(const char* what, const char* why) {
  fprintf(stderr, "notes: %s: %s\n", what, why);
  return 0;
}

/* The database in WAL mode, and its backup. 1 when both are there. */
static int open_notes(const char* path, const char* replica, sqlite3** db, sqlite_s3_handle** s3) {
  if (sqlite3_open(path, db) != SQLITE_OK) return failed(path, sqlite3_errmsg(*db));
  sqlite3_busy_timeout(*db, 5000);
  if (sqlite3_exec(*db,
                   "PRAGMA journal_mode=WAL;"
                   "CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, at TEXT, text TEXT)",
                   0, 0, 0) != SQLITE_OK) {
    return failed(path, sqlite3_errmsg(*db));
  }
  /* Opens the replica (or creates it) and attaches this connection, in one call. */
  if (sqlite_s3_open_connection(*db, replica, "interval=200ms", s3) != SQLITE_S3_OK) {
    return failed(replica, sqlite_s3_errmsg());
  }
  return 1;
}

/* First the connection, then the handle: so the handle is the last one out, and the database is one
** file again. */
static int close_notes(sqlite3* db, sqlite_s3_handle* s3) {
  sqlite3_close(db);
  if (sqlite_s3_close(s3, 10000) != SQLITE_S3_OK) return failed("close", sqlite_s3_errmsg());
  return 1;
}

static int add(sqlite3* db, sqlite_s3_handle* s3, const char* text) {
  sqlite3_stmt* insert = 0;
  uint64_t txid = 0;
  char restore_point[17];
  int rc = sqlite3_prepare_v2(db, "INSERT INTO note(at, text) VALUES(datetime('now'), ?)", -1,
                              &insert, 0);
  if (rc == SQLITE_OK) {
    sqlite3_bind_text(insert, 1, text, -1, SQLITE_STATIC);
    sqlite3_step(insert);
  }
  if (sqlite3_finalize(insert) != SQLITE_OK) return failed("add", sqlite3_errmsg(db));
  /* The commit is safe on this machine's disk. Now wait until it is safe elsewhere too. */
  if (sqlite_s3_sync(s3, 30000, &txid) != SQLITE_S3_OK) return failed("sync", sqlite_s3_errmsg());
  sqlite_s3_txid_text(txid, restore_point);
  printf("restore point %s\n", restore_point);
  return 1;
}

static int print_row(void* unused, int columns, char** values, char** names) {
  (void)unused;
  (void)columns;
  (void)names;
  printf("%s  %s\n", values[0], values[1]);
  return 0;
}

int main(int argc, char** argv) {
  sqlite3* db = 0;
  sqlite_s3_handle* s3 = 0;
  int ok;
  if (argc < 4 || (strcmp(argv[3], "add") == 0 && argc < 5)) {
    fprintf(stderr, "usage: notes DATABASE REPLICA add TEXT | list | status\n");
    return 2;
  }
  ok = open_notes(argv[1], argv[2], &db, &s3);
  if (ok && strcmp(argv[3], "add") == 0) {
    ok = add(db, s3, argv[4]);
  } else if (ok && strcmp(argv[3], "list") == 0) {
    ok = sqlite3_exec(db, "SELECT at, text FROM note ORDER BY id", print_row, 0, 0) == SQLITE_OK;
  } else if (ok && strcmp(argv[3], "status") == 0) {
    char* json = sqlite_s3_status(s3);
    printf("%s\n", json != 0 ? json : sqlite_s3_errmsg());
    sqlite_s3_free(json);
  } else if (ok) {
    ok = failed(argv[3], "no such command");
  }
  return close_notes(db, s3) && ok ? 0 : 1;
}
