/*
 * The sqlite3 driver of apr_dbd.
 */
#include "smartsupp_sql_driver.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

/* Result codes of SQLite (sqlite.org/rescode.html), spelled here because the
 * module does not link with it. */
#define SQLITE_ERROR 1
#define SQLITE_SCHEMA 17
#define SQLITE_TOOBIG 18
#define SQLITE_CONSTRAINT 19
#define SQLITE_MISMATCH 20
#define SQLITE_RANGE 25

/* PRAGMA synchronous, as it answers. */
#define SYNCHRONOUS_FULL 2
#define SYNCHRONOUS_EXTRA 3

static const smartsupp_sql_dialect_t *dialect(smartsupp_sql_t *sql)
{
    (void)sql;
    return &smartsupp_sql_sqlite;
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

    rv = smartsupp_sql_select_text(&journal, sql, "PRAGMA journal_mode=WAL",
                                   pool);
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
        int affected;
        int rc =
            apr_dbd_query(sql->loan.driver, sql->loan.handle, &affected,
                          apr_psprintf(pool, "PRAGMA synchronous=%d", wanted));

        rv = rc == 0 ? APR_SUCCESS : smartsupp_sql_failed(sql, rc);
    }
    return rv;
}

/*
 * apr_dbd's return code is often just SQLITE_ERROR, because it uses the
 * legacy sqlite3_prepare; the connection itself still knows what happened.
 */
static void classify(smartsupp_sql_t *sql, int rc)
{
    int (*extended_errcode)(void *);
    void *handle = apr_dbd_native_handle(sql->loan.driver, sql->loan.handle);
    int code = rc;

    if (sql->native_code == NULL) {
        sql->native_code =
            smartsupp_sql_native_symbol(sql, "sqlite3_extended_errcode");
    }
    *(void **)&extended_errcode = sql->native_code;
    if (extended_errcode && handle && extended_errcode(handle) != 0) {
        code = extended_errcode(handle);
    }
    sql->error.code = code;
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

const smartsupp_sql_driver_t smartsupp_sql_sqlite3 = {
    .name = "sqlite3",
    .random = 0,
    .begin = "BEGIN IMMEDIATE",
    .dialect = dialect,
    .session = session,
    .classify = classify,
};
