/*
** sqlite_s3.h: continuous backup of SQLite databases to object storage, from inside the
** application.
**
** The library ships every commit of a WAL database to a replica ("file:///directory",
** "s3://bucket/prefix"). It uses the SQLite that the application uses, keeps no table in the
** database, and never makes a statement of the application fail.
**
**     sqlite_s3_handle *s3;
**     if( sqlite_s3_open("app.db", "file:///backup/app", NULL, &s3)!=SQLITE_S3_OK ){
**       fprintf(stderr, "%s\n", sqlite_s3_errmsg());
**     }
**     sqlite_s3_attach(s3, db);              the application's own sqlite3*
**     ...                                    INSERT, UPDATE, COMMIT as ever
**     sqlite_s3_sync(s3, 5000, NULL);        optional: wait until the replica has it all
**     sqlite3_close(db);
**     sqlite_s3_close(s3, 5000);
**
** Rules for all functions:
**   - They return one of the SQLITE_S3_ codes below; after an error sqlite_s3_errmsg() has the
**     details and output parameters hold 0 or NULL.
**   - They may be called from any thread, except where a function says otherwise.
**   - They never print, exit, raise a signal, or change the locale, the umask or the directory.
**   - Strings are UTF-8 and are copied. Pointers may be NULL only where a function says so.
**   - Timeouts are in milliseconds: 0 does not wait, a negative one waits without a bound.
**   - Do not wait while the calling thread has a write transaction open on the database: what is
**     waited for may be that transaction's own commit, and the wait ends with SQLITE_S3_TIMEOUT.
**
** fork(): shipping goes on in the parent. In the child every handle is dead (SQLITE_S3_CANCELLED),
** and connections that were open across the fork must not be used, as SQLite says too; the child
** may open connections and handles of its own. vfork(), posix_spawn() and system() are not
** concerned.
**
** exit() with handles still open flushes each of them within its close_timeout option.
*/
#ifndef SQLITE_S3_H
#define SQLITE_S3_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SQLITE_S3_VERSION "0.1.0"
#define SQLITE_S3_VERSION_NUMBER 1000 /* 1000000 * major + 1000 * minor + patch */

#if defined(__GNUC__)
#define SQLITE_S3_API __attribute__((visibility("default")))
#else
#define SQLITE_S3_API
#endif

struct sqlite3; /* the application's connection, from <sqlite3.h> */
struct sqlite3_stmt;

/* One database that is being shipped. Handles of the same database share what does the work. */
typedef struct sqlite_s3_handle sqlite_s3_handle;

/*
** What the caller does next. The values are fixed for ever; new ones may be added.
*/
enum {
  SQLITE_S3_OK = 0,
  SQLITE_S3_INVALID = 1,      /* an argument, the URL or an option is wrong: fix it */
  SQLITE_S3_NOT_FOUND = 2,    /* the database or the named thing does not exist */
  SQLITE_S3_EXISTS = 3,       /* it is there already */
  SQLITE_S3_UNAVAILABLE = 4,  /* the store cannot be reached now: try again */
  SQLITE_S3_FENCED = 5,       /* another writer has the replica's timeline: shipping has stopped */
  SQLITE_S3_PRECONDITION = 6, /* something must be changed first; the message says what */
  SQLITE_S3_PERMISSION = 7,   /* credentials or file modes */
  SQLITE_S3_FULL = 8,         /* disk, memory or a stated bound is full */
  SQLITE_S3_CORRUPT = 9,      /* bytes in the replica are not what they must be */
  SQLITE_S3_IO = 10,          /* the operating system or SQLite refused */
  SQLITE_S3_CANCELLED = 11,   /* shipping was stopped, or the process was forked */
  SQLITE_S3_TIMEOUT = 12,     /* the given time is over; the work goes on and may still complete */
  SQLITE_S3_UNSUPPORTED = 13, /* newer format version, or a feature that the store or host lacks */
  SQLITE_S3_INTERNAL = 14     /* a bug of this library: please report */
};

/*
** Starts to ship the database at `db_path` to the replica `url` and stores a handle in `*handle`.
**
** The database must exist, be in WAL mode and be opened by the application through the default VFS;
** for another VFS see sqlite_s3_open_connection(). `options` are "key=value" pairs separated by
** commas, semicolons or white space and may be NULL; they win over the URL's query. The common
** ones:
**   interval=1s            how often a segment is cut and uploaded; 0 = as soon as the last is done
**   durability=commit      COMMIT returns when the replica has it (default: async)
**   commit_timeout=30s     longest time one commit waits for that
**   close_timeout=5s       longest time the close of the last connection may flush
**   checkpoint=1000        WAL pages after which room is made (default: what connections set)
**   attach=all             calls sqlite_s3_attach_all() too
** docs/OPERATIONS.md lists them all.
**
** A database that this process ships already, to the same URL with the same options, shares the
** work; another URL or other options are SQLITE_S3_INVALID. Comparing the whole database with the
** replica goes on in the background after the return.
** Errors, with nothing changed anywhere: SQLITE_S3_INVALID, SQLITE_S3_NOT_FOUND,
** SQLITE_S3_PRECONDITION (not a WAL database, in memory, somebody else's replica, ...),
** SQLITE_S3_FENCED (by an earlier run, and not told on_conflict since), SQLITE_S3_UNAVAILABLE,
** SQLITE_S3_PERMISSION, SQLITE_S3_UNSUPPORTED.
*/
SQLITE_S3_API int sqlite_s3_open(const char* db_path, const char* url, const char* options,
                                 sqlite_s3_handle** handle);

/*
** The same for the "main" database of an open connection, with its VFS, and attaches the
** connection. On the thread that uses `db`.
*/
SQLITE_S3_API int sqlite_s3_open_connection(struct sqlite3* db, const char* url,
                                            const char* options, sqlite_s3_handle** handle);

/*
** Attaches a connection to the handle's database, so that its commits are noticed at once, can be
** durable (durability=commit) and keep the WAL short. Commits of connections that are not attached,
** and of other processes, are shipped too, but noticed by a timer. Only the connection's "main"
** database is shipped, never what it ATTACHes.
**
** Takes the connection's only sqlite3_wal_hook() slot. SQLite's automatic checkpoint lives in that
** slot, so the library takes it over with the same threshold ("PRAGMA wal_autocheckpoint" reads 0
** while attached); a connection that had it switched off (0) gets no checkpoints from us either,
** unless the checkpoint= option is given. With several connections the smallest setting counts.
** "PRAGMA wal_autocheckpoint=N" after attaching throws us out: any later call of sqlite_s3_attach()
** for the connection, or attach_all, puts us back with N as the threshold.
** An application that needs the slot itself installs its hook after attaching and calls
** sqlite_s3_notify() from it.
**
** On the thread that uses `db`. Attaching twice is harmless. The connection is let go of when it is
** really closed (zombies of sqlite3_close_v2() included), by sqlite_s3_detach(), or by
** sqlite_s3_close(). Errors: SQLITE_S3_INVALID (another database), SQLITE_S3_PRECONDITION (not WAL,
** read-only, locking_mode=EXCLUSIVE, another VFS, SQLite too old or single-threaded),
** SQLITE_S3_CANCELLED.
*/
SQLITE_S3_API int sqlite_s3_attach(sqlite_s3_handle* handle, struct sqlite3* db);

/*
** Lets go of a connection and gives it its automatic checkpoint back. The database is shipped on.
** On the thread that uses `db`. OK also for a connection that is not attached.
*/
SQLITE_S3_API int sqlite_s3_detach(struct sqlite3* db);

/*
** Attaches every connection to the handle's database that this process opens from now on, when it
** first writes, until sqlite_s3_close(). Uses sqlite3_auto_extension() and, on these connections,
** the sqlite3_trace_v2() slot: a connection whose application traces is attached by hand instead.
*/
SQLITE_S3_API int sqlite_s3_attach_all(sqlite_s3_handle* handle);

/*
** For an application's own wal hook: tells that `db` has committed and that its WAL now has
** `frames` frames, exactly as SQLite passed them. May wait as long as commit_timeout when
** durability=commit. In the hook, for schema "main" only. OK, and nothing done, when `db` is not
** attached.
*/
SQLITE_S3_API int sqlite_s3_notify(struct sqlite3* db, int frames);

/*
** With the options statements=text or statements=values the library also ships what each commit
** executed. It learns it from SQLite's trace callback (sqlite3_trace_v2), of which a connection has
** one. An application with a callback of its own installs it after attaching, for SQLITE_TRACE_STMT
** among others, and calls this from it with the arguments it got: `event`, `statement`, `text`.
** Without that call its commits are shipped without statements, and the status says
** trace_displaced. Nothing is done for other events, or when the connection is not attached.
*/
SQLITE_S3_API int sqlite_s3_trace(unsigned event, void* statement, void* text);

/*
** A word to find commits by: commits that `db` makes from now on carry it in the replica, until
** another call; NULL or "" for none. At most 256 bytes of UTF-8, else SQLITE_S3_INVALID. The SQL
** function s3_tag('...') does the same. OK, and nothing done, when no statements are shipped.
*/
SQLITE_S3_API int sqlite_s3_tag(struct sqlite3* db, const char* tag);

/*
** The value of a parameter. `type` is SQLITE_INTEGER (1), SQLITE_FLOAT (2), SQLITE_TEXT (3, UTF-8),
** SQLITE_BLOB (4) or SQLITE_NULL (5); `bytes` and `size` are of text and blobs.
*/
typedef struct sqlite_s3_value {
  int type;
  int64_t integer;
  double real;
  const void* bytes;
  uint64_t size;
} sqlite_s3_value;

/*
** sqlite3_step(statement), and its result. Tells the library what parameters 1 to `count` of the
** statement are bound to: SQLite itself only shows real numbers with 15 digits and text up to the
** first NUL. The library binds nothing. `values` are read during the call. The wrapper in
** <sqlite_s3.hpp> does all this by itself.
*/
SQLITE_S3_API int sqlite_s3_step(struct sqlite3_stmt* statement, const sqlite_s3_value* values,
                                 int count);

/*
** Waits until the replica has every commit made before the call. `*txid`, if not NULL, gets the
** last commit's number. SQLITE_S3_TIMEOUT, SQLITE_S3_FENCED, SQLITE_S3_CANCELLED.
*/
SQLITE_S3_API int sqlite_s3_sync(sqlite_s3_handle* handle, int timeout_ms, uint64_t* txid);

/*
** Waits until the replica has commit `txid`. SQLITE_S3_INVALID when there is no such commit yet.
*/
SQLITE_S3_API int sqlite_s3_wait(sqlite_s3_handle* handle, uint64_t txid, int timeout_ms);

/*
** Gives the last commit a name under which it can be restored (sqlite-s3-restore --until
** mark:NAME), once the replica has it. `*txid`, if not NULL, gets its number.
*/
SQLITE_S3_API int sqlite_s3_mark(sqlite_s3_handle* handle, const char* name, int timeout_ms,
                                 uint64_t* txid);

/*
** Ships an image (a full backup) of the current state and waits for it. Images are also made by
** themselves, see the options. `*txid`, if not NULL, gets the commit it shows.
*/
SQLITE_S3_API int sqlite_s3_image(sqlite_s3_handle* handle, int timeout_ms, uint64_t* txid);

/*
** The state as one JSON object, or NULL (out of memory, or `handle` is NULL). Every commit made
** before the call is counted in "txid"; "shipped_txid" is the last one that the replica has. Both
** are strings of 16 hex digits. The caller gives it to sqlite_s3_free().
*/
SQLITE_S3_API char* sqlite_s3_status(sqlite_s3_handle* handle);
SQLITE_S3_API void sqlite_s3_free(void* memory);

/*
** Waits up to `timeout_ms` until the replica has everything, then ends the handle, whatever the
** result; no other thread may use the handle any more. With the database's last handle shipping
** stops, connections that are still attached get their automatic checkpoint back at their next
** commit, and the library closes its own connections: if it held the last ones, the database is one
** file again. SQLITE_S3_TIMEOUT: something is left, on disk beside the database, and is shipped at
** the next start. OK for NULL.
*/
SQLITE_S3_API int sqlite_s3_close(sqlite_s3_handle* handle, int timeout_ms);

/*
** What went wrong in the last call of this thread that returned an error, with a hint if there is
** one. Never NULL; valid until the thread's next call that fails.
*/
SQLITE_S3_API const char* sqlite_s3_errmsg(void);

/*
** Gets log lines of all databases: level 0 debug, 1 information, 2 warning, 3 error. Called from
** any thread, one call at a time; must return soon, must not call this library or SQLite, and must
** not fork. After the return no call of the former callback is running. NULL: log to SQLite's own
** error log (SQLITE_CONFIG_LOG) from level 2, which is also the default.
*/
typedef void (*sqlite_s3_log_callback)(void* context, int level, const char* message);
SQLITE_S3_API int sqlite_s3_set_log(sqlite_s3_log_callback callback, void* context);

/* Writes 16 hex digits and a zero, as the command line tools take and print TXIDs. */
SQLITE_S3_API void sqlite_s3_txid_text(uint64_t txid, char text[17]);

/* Of the library in use, to be compared with the macros above. */
SQLITE_S3_API const char* sqlite_s3_version(void);
SQLITE_S3_API int sqlite_s3_version_number(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* SQLITE_S3_H */
