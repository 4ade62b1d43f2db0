#include "mod_smartsupp_lender.h"

#include <stdlib.h>
#include <string.h>

#include <apr_optional.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_log.h>
#include <mod_dbd.h>

#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_remedy.h"

APLOG_USE_MODULE(smartsupp_hook);

/* mod_dbd gives no connection once for each stale one that it drops from its
 * pool. That is fast; a slow failure is a database that is down. */
#define OPEN_TRIES 4
#define OPEN_FAST apr_time_from_msec(50)

/* The most spent connections that are passed over in search of a good one. */
#define SPENT_MAX 4

/* mod_dbd's default for DBDMax. */
#define DBDMAX_DEFAULT 10

/* Set at start, read-only afterwards. */
static APR_OPTIONAL_FN_TYPE(ap_dbd_open) * dbd_open;
static APR_OPTIONAL_FN_TYPE(ap_dbd_close) * dbd_close;

void smartsupp_lender_post_config(void)
{
    dbd_open = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_open);
    dbd_close = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_close);
}

int smartsupp_lender_is_driver(const smartsupp_lender_t *lender,
                               const char *name)
{
    return lender->driver && !strcasecmp(lender->driver, name);
}

static int is_sqlite(const smartsupp_lender_t *lender)
{
    return smartsupp_lender_is_driver(lender, "sqlite3");
}

int smartsupp_lender_spent_max(const char *dbdmax)
{
    int others = (dbdmax ? atoi(dbdmax) : DBDMAX_DEFAULT) - 1;

    return others < 0 ? 0 : others < SPENT_MAX ? others : SPENT_MAX;
}

static ap_dbd_t *open_connection(smartsupp_lender_t *lender, apr_pool_t *pool)
{
    int tries = is_sqlite(lender) || !lender->driver ? 1 : OPEN_TRIES;
    ap_dbd_t *lent = NULL;

    while (dbd_open && !lent && tries-- > 0) {
        apr_time_t start = apr_time_now();

        lent = dbd_open(pool, lender->server);
        if (apr_time_now() - start > OPEN_FAST) {
            break;
        }
    }
    return lent;
}

static void give_back(smartsupp_batch_loan_t *loan, void *baton)
{
    smartsupp_lender_t *lender = baton;

    if (loan->sql) {
        smartsupp_sql_return(loan->sql);
    }
    if (loan->connection) {
        dbd_close(lender->server, loan->connection);
    }
    if (lender->turn) {
        apr_global_mutex_unlock(lender->turn);
    }
}

/* A connection from mod_dbd, taken into use. */
static apr_status_t lend(smartsupp_batch_loan_t *loan,
                         smartsupp_sql_error_t *error,
                         smartsupp_lender_t *lender, apr_pool_t *pool)
{
    ap_dbd_t *lent = open_connection(lender, pool);
    smartsupp_sql_loan_t what;
    apr_pool_t *work;
    apr_status_t rv;

    loan->sql = NULL;
    loan->connection = lent;
    if (!lent) {
        strcpy(error->code, SMARTSUPP_SQL_NO_CODE);
        apr_cpystrn(error->text,
                    lender->driver
                        ? "mod_dbd has no connection, its own message "
                          "before this one tells why"
                        : "no DBDriver is set for this server",
                    sizeof(error->text));
        return APR_EGENERAL;
    }
    what.driver = lent->driver;
    what.handle = lent->handle;
    what.pool = lent->pool;
    what.prepared = lent->prepared;
    /* of its own: results must not outlive their connection, and with
     * DBDPersist Off the connection lives in our pool */
    apr_pool_create(&work, pool);
    apr_pool_tag(work, "smartsupp_lender_lend");
    rv = smartsupp_sql_lend(&loan->sql, error, &what, lender->prefix, work);
    if (rv != APR_SUCCESS) {
        loan->sql = NULL;
    }
    apr_pool_destroy(work);
    return rv;
}

/* Pass on, once a child, what the administrator should know. */
static void warn(smartsupp_lender_t *lender, smartsupp_sql_t *sql)
{
    const char *warning = smartsupp_sql_warning(sql);

    if (warning && !lender->warned) {
        lender->warned = 1;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, lender->server,
                     "SMARTSUPP0306: the database may lose what it has "
                     "committed, after the sender was answered 200: %s",
                     warning);
    }
}

/*
 * mod_dbd cannot be told that a connection of its pool is spent. But the pool
 * is a stack: given back while a good one is still out, the spent ones lie
 * under it, and are not met again until the good one is spent too.
 */
static apr_status_t borrow(smartsupp_batch_loan_t *loan,
                           smartsupp_sql_error_t *error, void *baton,
                           apr_pool_t *pool)
{
    smartsupp_lender_t *lender = baton;
    ap_dbd_t *spent[SPENT_MAX];
    int count = 0;
    apr_status_t rv;

    if (lender->turn) {
        apr_global_mutex_lock(lender->turn);
    }
    rv = lend(loan, error, lender, pool);
    while (rv == APR_EOF && count < lender->spent_max) {
        spent[count++] = loan->connection;
        rv = lend(loan, error, lender, pool);
    }
    if (rv == APR_EOF) {
        strcpy(error->code, SMARTSUPP_SQL_NO_CODE);
        apr_cpystrn(error->text,
                    "mod_dbd has no connection left that leads to the "
                    "database: restart httpd gracefully",
                    sizeof(error->text));
    }
    if (count > 0) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, lender->server,
                     "SMARTSUPP0305: the SQLite file or its -wal was replaced, "
                     "or could not be written before: connections given up "
                     "for that: %d",
                     count);
    }
    while (count > 0) {
        dbd_close(lender->server, spent[--count]);
    }
    if (rv != APR_SUCCESS) {
        give_back(loan, lender);
        return rv;
    }
    warn(lender, loan->sql);
    return APR_SUCCESS;
}

void smartsupp_lender_report(const smartsupp_sql_error_t *error, void *baton)
{
    const smartsupp_lender_t *lender = baton;
    apr_pool_t *pool;

    if (!error) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, lender->server,
                     "SMARTSUPP0302: the database takes deliveries again");
        return;
    }
    apr_pool_create(&pool, NULL);
    apr_pool_tag(pool, "smartsupp_lender_report");
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, lender->server,
                 "SMARTSUPP0301: the database (%s%s%s, tables %s*) takes no "
                 "deliveries: %s (code %s); %s",
                 lender->driver ? lender->driver : "none",
                 is_sqlite(lender) ? " " : "",
                 is_sqlite(lender) && lender->params ? lender->params : "",
                 lender->prefix, error->text, error->code,
                 smartsupp_remedy(lender->driver, lender->params, error, pool));
    apr_pool_destroy(pool);
}

smartsupp_batch_lender_t smartsupp_lender_face(smartsupp_lender_t *lender)
{
    smartsupp_batch_lender_t face = {borrow, give_back, lender};

    return face;
}
