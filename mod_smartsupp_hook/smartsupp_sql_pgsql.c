/*
 * The pgsql driver of apr_dbd, and PostgreSQL's dialect.
 *
 * apr_dbd_transaction_start crashes where the server has dropped the
 * connection, so BEGIN and COMMIT are plain SQL. mod_dbd's check reconnects
 * with PQreset and tells nobody: the process id of the backend does.
 */
#include "smartsupp_sql_driver.h"

#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

/* PGVerbosity of libpq-fe.h: with SQLSTATE, whatever language the server
 * speaks. */
#define PQERRORS_VERBOSE 2

#define SQLSTATE_LENGTH 5

/* What libpq tells of a connection, past apr_dbd. */
typedef struct native_t {
    int (*backend_pid)(const void *connection);
    int (*set_verbosity)(void *connection, int verbosity);
    int (*socket)(const void *connection);
    int pid;       /* at the last loan */
    int verbosity; /* as the connection's other users have it */
} native_t;

static native_t *native(smartsupp_sql_t *sql)
{
    native_t *known = sql->native;

    if (known == NULL) {
        known = apr_pcalloc(sql->loan.pool, sizeof(*known));
        *(void **)&known->backend_pid =
            smartsupp_sql_native_symbol(sql, "PQbackendPID");
        *(void **)&known->set_verbosity =
            smartsupp_sql_native_symbol(sql, "PQsetErrorVerbosity");
        *(void **)&known->socket = smartsupp_sql_native_symbol(sql, "PQsocket");
        sql->native = known;
    }
    return known;
}

static void *connection(const smartsupp_sql_t *sql)
{
    return apr_dbd_native_handle(sql->loan.driver, sql->loan.handle);
}

static int enter(smartsupp_sql_t *sql)
{
    native_t *known = native(sql);
    int before = known->pid;

    if (known->set_verbosity) {
        known->verbosity =
            known->set_verbosity(connection(sql), PQERRORS_VERBOSE);
    }
    if (known->backend_pid) {
        known->pid = known->backend_pid(connection(sql));
    }
    return known->pid != before;
}

static void leave(smartsupp_sql_t *sql)
{
    const native_t *known = native(sql);

    if (known->set_verbosity) {
        known->set_verbosity(connection(sql), known->verbosity);
    }
}

static int socket_of(smartsupp_sql_t *sql)
{
    const native_t *known = native(sql);

    return known->socket ? known->socket(connection(sql)) : -1;
}

static const smartsupp_sql_dialect_t *dialect(smartsupp_sql_t *sql)
{
    sql->at_once = 1; /* unless the session is against it */
    return &smartsupp_sql_postgresql;
}

/* Whatever isolation the database has by default: a row that was inserted
 * meanwhile must be seen, not reported as a conflict. */
static apr_status_t begin(smartsupp_sql_t *sql)
{
    return smartsupp_sql_run(sql, "BEGIN ISOLATION LEVEL READ COMMITTED");
}

/* The SQLSTATE of "SEVERITY:  STATE: words", or NULL. */
static char *find_sqlstate(char *text)
{
    char *state = strchr(text, ':');
    int i;

    if (!state) {
        return NULL;
    }
    do {
        state++;
    } while (*state == ' ');
    for (i = 0; i < SQLSTATE_LENGTH; i++) {
        if (!apr_isupper(state[i]) && !apr_isdigit(state[i])) {
            return NULL;
        }
    }
    return state[SQLSTATE_LENGTH] == ':' ? state : NULL;
}

/* apr_dbd's code is 7 whatever happened. */
static void classify(smartsupp_sql_t *sql, int rc)
{
    char *text = sql->error.text;
    char *state = find_sqlstate(text);

    (void)rc;
    if (!state) {
        /* libpq's own words: there is no connection */
        sql->error.error_class = SMARTSUPP_SQL_TRANSIENT;
        return;
    }
    apr_cpystrn(sql->error.code, state, SQLSTATE_LENGTH + 1);
    sql->error.error_class = smartsupp_sql_class_of_sqlstate(sql->error.code);
    state += SQLSTATE_LENGTH + 1;
    state += strspn(state, " ");
    memmove(text, state, strlen(state) + 1);
}

/* A statement without BEGIN has the isolation that the database has by default:
 * in any other it would report a conflict where a row was inserted meanwhile.
 */
static apr_status_t look_at_isolation(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    const char *isolation = NULL;
    apr_status_t rv = smartsupp_sql_select_text(
        &isolation, sql,
        "SELECT current_setting('default_transaction_isolation')", pool);

    if (!isolation || strcmp(isolation, "read committed") != 0) {
        sql->at_once = 0;
    }
    return rv;
}

/* UTF-8 whatever the client library was told, raw bodies compressed by LZ4
 * where the server can (since 14; its own pglz is a tenth of what a delivery
 * costs it), and a word to the administrator where the server gives up what it
 * has committed. */
static apr_status_t session(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    const char *encoding;
    const char *method;
    const char *lost;
    apr_status_t rv;

    rv = smartsupp_sql_select_text(
        &encoding, sql, "SELECT current_setting('client_encoding')", pool);
    if (rv == APR_SUCCESS && (!encoding || strcmp(encoding, "UTF8") != 0)) {
        rv = smartsupp_sql_run(sql, "SET client_encoding TO 'UTF8'");
    }
    if (rv == APR_SUCCESS) {
        rv = smartsupp_sql_select_text(
            &method, sql,
            "SELECT set_config(name, 'lz4', false) FROM pg_settings WHERE "
            "name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)",
            pool);
    }
    if (rv == APR_SUCCESS) {
        rv = smartsupp_sql_select_text(
            &lost, sql,
            "SELECT string_agg(name, ', ') FROM pg_settings WHERE "
            "name IN ('fsync', 'full_page_writes', 'synchronous_commit') "
            "AND setting = 'off'",
            pool);
    }
    if (rv == APR_SUCCESS && lost) {
        sql->warning = apr_pstrcat(sql->loan.pool, lost, " = off", NULL);
    }
    return rv == APR_SUCCESS ? look_at_isolation(sql, pool) : rv;
}

const smartsupp_sql_dialect_t smartsupp_sql_postgresql = {
    .name = "postgresql",
    .words =
        {
            {"text", "TEXT"},
            {"key", "VARCHAR(128) COLLATE \"C\""},
            {"boolean", "CAST(%s AS boolean)"},
            {"rows", ""},
            {"cluster", ""},
            {"if_new", " ON CONFLICT DO NOTHING"},
            {"lock", " FOR UPDATE"},
            {"view", "CREATE OR REPLACE VIEW"},
            {"utc", "to_char(timestamp 'epoch' + "
                    "m.sent_at / 1000 * interval '1 second', "
                    "'YYYY-MM-DD HH24:MI:SS')"},
            {"take_turn",
             "SELECT pg_advisory_lock(hashtext('smartsupp_hook {prefix}'))"},
            {"end_turn",
             "SELECT pg_advisory_unlock(hashtext('smartsupp_hook {prefix}'))"},
        },
    .session = session,
};

const smartsupp_sql_driver_t smartsupp_sql_pgsql = {
    .name = "pgsql",
    .random = 1,
    .named = 1,
    .enter = enter,
    .leave = leave,
    .socket = socket_of,
    .dialect = dialect,
    .begin = begin,
    .commit = smartsupp_sql_run_commit,
    .rollback = smartsupp_sql_run_rollback,
    .classify = classify,
};
