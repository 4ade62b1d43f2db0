/*
 * The sqlite3 driver of apr_dbd.
 */
#include "smartsupp_sql_driver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_file_info.h>
#include <apr_strings.h>
#include <apr_time.h>

/* Result codes of SQLite (sqlite.org/rescode.html), spelled here because the
 * module does not link with it. */
#define SQLITE_ERROR 1
#define SQLITE_BUSY 5
#define SQLITE_SCHEMA 17
#define SQLITE_TOOBIG 18
#define SQLITE_CONSTRAINT 19
#define SQLITE_MISMATCH 20
#define SQLITE_RANGE 25

/* As patient as apr_dbd is with other statements: 1.5 s in all. */
#define WAL_TRIES 75
#define WAL_PAUSE apr_time_from_msec(20)

/* PRAGMA synchronous, as it answers. */
#define SYNCHRONOUS_FULL 2
#define SYNCHRONOUS_EXTRA 3

/* What SQLite itself tells of a connection, past apr_dbd; each function may be
 * missing. */
typedef struct native_t {
    int (*extended_errcode)(void *connection);
    const char *(*db_filename)(void *connection, const char *schema);
    int (*db_readonly)(void *connection, const char *schema);
    apr_finfo_t file; /* the database, as it was when it was first seen */
    apr_finfo_t log;  /* its write-ahead log, likewise */
} native_t;

static native_t *native(smartsupp_sql_t *sql)
{
    native_t *known = sql->native;

    if (known == NULL) {
        known = apr_pcalloc(sql->loan.pool, sizeof(*known));
        *(void **)&known->extended_errcode =
            smartsupp_sql_native_symbol(sql, "sqlite3_extended_errcode");
        *(void **)&known->db_filename =
            smartsupp_sql_native_symbol(sql, "sqlite3_db_filename");
        *(void **)&known->db_readonly =
            smartsupp_sql_native_symbol(sql, "sqlite3_db_readonly");
        sql->native = known;
    }
    return known;
}

static void *connection(const smartsupp_sql_t *sql)
{
    return apr_dbd_native_handle(sql->loan.driver, sql->loan.handle);
}

/* The path of the database, or "" where it has none. */
static const char *path(smartsupp_sql_t *sql)
{
    const native_t *known = native(sql);
    const char *name =
        known->db_filename ? known->db_filename(connection(sql), "main") : NULL;

    return name ? name : "";
}

/* Whether the file of that name is another one than when it was first seen. */
static int was_replaced(apr_finfo_t *first, const char *name, apr_pool_t *pool)
{
    apr_finfo_t now;
    int is_there = apr_stat(&now, name, APR_FINFO_IDENT, pool) == APR_SUCCESS;

    if (!first->valid) {
        if (is_there) {
            *first = now;
        }
        return 0;
    }
    return !is_there || now.inode != first->inode ||
           now.device != first->device;
}

/*
 * SQLite goes on writing to a file that was deleted or replaced under its
 * name, be it the database or its write-ahead log, where nobody will ever find
 * the rows; and a connection that could only read at first can never write.
 * mod_dbd would keep all of these for its pool.
 */
static int is_spent(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    native_t *known = native(sql);
    const char *name = path(sql);

    if (!*name) {
        return 0;
    }
    if (was_replaced(&known->file, name, pool)) {
        return 1;
    }
    /* before the session the log may be that of a process which ends */
    if (sql->dialect &&
        was_replaced(&known->log, apr_pstrcat(pool, name, "-wal", NULL),
                     pool)) {
        return 1;
    }
    return known->db_readonly && known->db_readonly(connection(sql), "main") &&
           access(name, R_OK | W_OK) == 0;
}

/* SQLite's code, or its words where ODBC stands between. */
static int is_busy(const smartsupp_sql_t *sql)
{
    return (atoi(sql->error.code) & 0xff) == SQLITE_BUSY ||
           strstr(sql->error.text, "database is locked");
}

/* Switch to the write-ahead log. Alone among statements this one is refused at
 * once while another process has the file, which passes. */
static apr_status_t switch_to_wal(const char **journal, smartsupp_sql_t *sql,
                                  apr_pool_t *pool)
{
    int tries = WAL_TRIES;
    apr_status_t rv;

    do {
        rv = smartsupp_sql_select_text(journal, sql, "PRAGMA journal_mode=WAL",
                                       pool);
        if (rv == APR_SUCCESS || !is_busy(sql)) {
            break;
        }
        apr_sleep(WAL_PAUSE);
    } while (--tries > 0);
    return rv;
}

/*
 * Write-ahead log, and a COMMIT that waits for the disk. What the connection
 * has already that is stricter stays. Where the file system cannot have a WAL
 * (it needs shared memory), the rollback journal is as durable with EXTRA,
 * which also syncs the folder (sqlite.org/pragma.html#pragma_synchronous).
 */
static apr_status_t session(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    const char *journal;
    const char *synchronous;
    int wanted;
    apr_status_t rv;

    rv = switch_to_wal(&journal, sql, pool);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (journal && (!strcmp(journal, "memory") || !strcmp(journal, "off"))) {
        return smartsupp_sql_fail(sql, SMARTSUPP_SQL_TRANSIENT,
                                  "a database without a journal on disk "
                                  "(journal_mode=%s) is not durable",
                                  journal);
    }
    wanted = journal && !strcmp(journal, "wal") ? SYNCHRONOUS_FULL
                                                : SYNCHRONOUS_EXTRA;
    rv = smartsupp_sql_select_text(&synchronous, sql, "PRAGMA synchronous",
                                   pool);
    if (rv == APR_SUCCESS && (!synchronous || atoi(synchronous) < wanted)) {
        rv = smartsupp_sql_run(
            sql, apr_psprintf(pool, "PRAGMA synchronous=%d", wanted));
    }
    return rv;
}

/*
 * apr_dbd's return code is often just SQLITE_ERROR, because it uses the
 * legacy sqlite3_prepare; the connection itself still knows what happened.
 */
static void classify(smartsupp_sql_t *sql, int rc)
{
    const native_t *known = native(sql);
    int code =
        known->extended_errcode ? known->extended_errcode(connection(sql)) : 0;

    code = code ? code : rc;
    apr_snprintf(sql->error.code, sizeof(sql->error.code), "%d", code);
    switch (code & 0xff) {
    case SQLITE_ERROR: /* no such table or column, mostly */
    case SQLITE_SCHEMA:
        sql->error.error_class = SMARTSUPP_SQL_STALE;
        break;
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
        sql->error.error_class = SMARTSUPP_SQL_PERMANENT;
        break;
    default: /* busy, locked, full, read-only, I/O error, corrupt, … */
        sql->error.error_class = SMARTSUPP_SQL_TRANSIENT;
        break;
    }
}

static const smartsupp_sql_dialect_t *dialect(smartsupp_sql_t *sql)
{
    (void)sql;
    return &smartsupp_sql_sqlite;
}

static apr_status_t begin(smartsupp_sql_t *sql)
{
    return smartsupp_sql_run(sql, "BEGIN IMMEDIATE");
}

const smartsupp_sql_dialect_t smartsupp_sql_sqlite = {
    .name = "sqlite",
    .words =
        {
            {"text", "TEXT"},
            {"key", "VARCHAR(128)"},
            {"boolean", "%s"},
            {"rows", ""},
            {"cluster", " WITHOUT ROWID"},
            {"if_new", " ON CONFLICT DO NOTHING"},
            {"lock", ""}, /* a transaction that writes has the whole file */
            {"view", "CREATE VIEW IF NOT EXISTS"},
            {"utc", "strftime('%Y-%m-%d %H:%M:%S', m.sent_at / 1000, "
                    "'unixepoch')"},
            {"take_turn", "BEGIN IMMEDIATE"}, /* also around CREATE TABLE */
            {"end_turn", "COMMIT"},
        },
    .session = session,
};

const smartsupp_sql_driver_t smartsupp_sql_sqlite3 = {
    .name = "sqlite3",
    .is_spent = is_spent,
    .dialect = dialect,
    .begin = begin,
    .commit = smartsupp_sql_run_commit,
    .rollback = smartsupp_sql_run_rollback,
    .classify = classify,
};
