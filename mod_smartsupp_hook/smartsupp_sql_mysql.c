/*
 * The mysql driver of apr_dbd, for MariaDB and MySQL, and their dialect.
 *
 * apr_dbd_transaction_start is not used: with reconnect=1, the driver's
 * default, a connection lost behind it comes back in autocommit, and half a
 * conversation stays. START TRANSACTION makes the client library refuse that.
 */
#include "smartsupp_sql_driver.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

/* What the client library tells of a connection, past apr_dbd. */
typedef struct native_t {
    unsigned long (*thread_id)(void *connection);
    int (*socket)(const void *connection); /* MariaDB's library only */
    unsigned long id; /* of the session, at the last loan */
} native_t;

static native_t *native(smartsupp_sql_t *sql)
{
    native_t *known = sql->native;

    if (known == NULL) {
        known = apr_pcalloc(sql->loan.pool, sizeof(*known));
        *(void **)&known->thread_id =
            smartsupp_sql_native_symbol(sql, "mysql_thread_id");
        *(void **)&known->socket =
            smartsupp_sql_native_symbol(sql, "mysql_get_socket");
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
    unsigned long before = known->id;

    if (known->thread_id) {
        known->id = known->thread_id(connection(sql));
    }
    return known->id != before;
}

static int socket_of(smartsupp_sql_t *sql)
{
    const native_t *known = native(sql);

    return known->socket ? known->socket(connection(sql)) : -1;
}

static const smartsupp_sql_dialect_t *dialect(smartsupp_sql_t *sql)
{
    (void)sql;
    return &smartsupp_sql_mysql_dialect;
}

static apr_status_t begin(smartsupp_sql_t *sql)
{
    return smartsupp_sql_run(sql, "START TRANSACTION");
}

/* The server's and the client library's error numbers, by what they mean. All
 * others refuse the data. */
static void classify(smartsupp_sql_t *sql, int rc)
{
    static const int transient[] = {
        1021, 1030, 1040, 1041, 1042, 1043, 1045, 1047, 1049, 1053, 1044,
        1077, 1114, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1205, 1142,
        1143, 1226, 1227, 1290, 1317, 1792, 1836, 1927, 1969, 2002, 2003,
        2005, 2006, 2008, 2012, 2013, 2014, 2026, 2055, 3024, 4031,
    };
    static const int stale[] = {1054, 1146, 1243, 1356, 1412, 1615, 2030, 2056};
    size_t i;

    apr_snprintf(sql->error.code, sizeof(sql->error.code), "%d", rc);
    sql->error.error_class = SMARTSUPP_SQL_PERMANENT;
    for (i = 0; i < sizeof(transient) / sizeof(transient[0]); i++) {
        if (rc == transient[i]) {
            sql->error.error_class = SMARTSUPP_SQL_TRANSIENT;
        }
    }
    for (i = 0; i < sizeof(stale) / sizeof(stale[0]); i++) {
        if (rc == stale[i]) {
            sql->error.error_class = SMARTSUPP_SQL_STALE;
        }
    }
    if (rc == 1213 || rc == 1180) { /* deadlock; Galera, at COMMIT */
        sql->error.error_class = SMARTSUPP_SQL_CONFLICT;
    }
    if (rc < 1000) { /* the driver's own -1 or 1 */
        sql->error.error_class = SMARTSUPP_SQL_TRANSIENT;
    }
    if (!*sql->error.text) {
        apr_cpystrn(sql->error.text, "the client library gave no reason",
                    sizeof(sql->error.text));
    }
}

/* All of Unicode, no silent cut of what does not fit, and a word to the
 * administrator where the server gives up what it has committed. */
static apr_status_t session(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    const char *strict;
    const char *flush;
    apr_status_t rv = smartsupp_sql_run(sql, "SET NAMES utf8mb4");

    if (rv == APR_SUCCESS) {
        rv = smartsupp_sql_select_text(
            &strict, sql, "SELECT @@sql_mode LIKE '%STRICT_TRANS_TABLES%'",
            pool);
    }
    if (rv == APR_SUCCESS && (!strict || strcmp(strict, "1") != 0)) {
        rv = smartsupp_sql_run(sql,
                               "SET SESSION sql_mode = "
                               "CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')");
    }
    if (rv == APR_SUCCESS) {
        rv = smartsupp_sql_select_text(
            &flush, sql, "SELECT @@innodb_flush_log_at_trx_commit", pool);
    }
    if (rv == APR_SUCCESS && flush && strcmp(flush, "1") != 0) {
        sql->warning = apr_pstrcat(
            sql->loan.pool, "innodb_flush_log_at_trx_commit = ", flush, NULL);
    }
    return rv;
}

const smartsupp_sql_dialect_t smartsupp_sql_mysql_dialect = {
    .name = "mysql",
    .words =
        {
            {"text", "LONGTEXT"},
            {"key", "VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"},
            {"boolean", "%s"},
            {"rows", " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"},
            {"cluster", " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"},
            {"if_new", " ON DUPLICATE KEY UPDATE $ = $"},
            {"lock", " FOR UPDATE"},
            {"view", "CREATE OR REPLACE VIEW"},
            {"utc", "DATE_FORMAT(TIMESTAMPADD(SECOND, m.sent_at DIV 1000, "
                    "'1970-01-01'), '%Y-%m-%d %H:%i:%s')"},
            {"take_turn", "SELECT GET_LOCK('smartsupp_hook {prefix}', 10)"},
            {"end_turn", "SELECT RELEASE_LOCK('smartsupp_hook {prefix}')"},
        },
    .session = session,
};

const smartsupp_sql_driver_t smartsupp_sql_mysql = {
    .name = "mysql",
    .enter = enter,
    .socket = socket_of,
    .dialect = dialect,
    .begin = begin,
    .commit = smartsupp_sql_run_commit,
    .rollback = smartsupp_sql_run_rollback,
    .classify = classify,
};
