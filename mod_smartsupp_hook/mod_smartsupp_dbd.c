#include "mod_smartsupp_dbd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_global_mutex.h>
#include <apr_optional.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <ap_mpm.h>
#include <http_config.h>
#include <mod_dbd.h>
#include <util_mutex.h>

#include "mod_smartsupp_check.h"
#include "mod_smartsupp_config.h"
#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_remedy.h"
#include "mod_smartsupp_shared.h"

APLOG_USE_MODULE(smartsupp_hook);

/* For the Mutex directive. */
#define MUTEX_TYPE "smartsupp-sqlite"

/* How long the end of a child waits for its writers, all of them together.
 * httpd kills a child 9 s after it asked it to go. */
#define STOP_BOUND apr_time_from_sec(4)

/* Writers for each database that can do more than one thing at a time. */
#define WRITERS 2

/* mod_dbd gives no connection once for each stale one that it drops from its
 * pool. That is fast; a slow failure is a database that is down. */
#define OPEN_TRIES 4
#define OPEN_FAST apr_time_from_msec(50)

/* The most spent connections that are passed over in search of a good one. */
#define SPENT_MAX 4

/* mod_dbd's default for DBDMax. */
#define DBDMAX_DEFAULT 10

/* The longest that a batch may take before its connection is shut down: of no
 * use to those who wait for it, but the database may be at work. */
#define HANG_LEAST apr_time_from_sec(10)
#define HANG_FACTOR 2

/* One database and table prefix. Made in the parent; what a child adds is its
 * own. */
typedef struct smartsupp_database_t {
    server_rec *server; /* whose mod_dbd pool is used */
    const char *driver; /* NULL: not told by the configuration tree */
    const char *params;
    const char *prefix;
    smartsupp_schema_mode_e schema;
    apr_global_mutex_t *turn; /* sqlite3 only */
    const char *turn_file;
    int spent_max; /* mod_dbd waits without end for one more than DBDMax */
    apr_interval_time_t patience; /* the longest SmartsuppDatabaseWait */
    smartsupp_breaker_t *breaker;

    smartsupp_commit_t *commit;
    int warned;
} smartsupp_database_t;

/* All set at start, read-only afterwards. */
static apr_array_header_t *databases; /* of smartsupp_database_t * */
static APR_OPTIONAL_FN_TYPE(ap_dbd_open) * dbd_open;
static APR_OPTIONAL_FN_TYPE(ap_dbd_close) * dbd_close;

int smartsupp_dbd_pre_config(apr_pool_t *pconf, apr_pool_t *plog,
                             apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    return ap_mutex_register(pconf, MUTEX_TYPE, NULL, APR_LOCK_DEFAULT, 0) ==
                   APR_SUCCESS
               ? OK
               : HTTP_INTERNAL_SERVER_ERROR;
}

static int same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static int is_driver(const smartsupp_database_t *database, const char *name)
{
    return database->driver && !strcasecmp(database->driver, name);
}

static int is_sqlite(const smartsupp_database_t *database)
{
    return is_driver(database, "sqlite3");
}

/* A database that an earlier server has named already, or NULL. */
static smartsupp_database_t *find(const smartsupp_database_t *wanted)
{
    int i;

    for (i = 0; wanted->driver && i < databases->nelts; i++) {
        smartsupp_database_t *known =
            APR_ARRAY_IDX(databases, i, smartsupp_database_t *);

        if (same(known->driver, wanted->driver) &&
            same(known->params, wanted->params) &&
            same(known->prefix, wanted->prefix) &&
            known->schema == wanted->schema) {
            return known;
        }
    }
    return NULL;
}

/* The mutex of the SQLite file: that of a database on the same file, or a new
 * one. */
static apr_status_t make_turn(smartsupp_database_t *database, apr_pool_t *pconf)
{
    int i;

    for (i = 0; i < databases->nelts; i++) {
        smartsupp_database_t *known =
            APR_ARRAY_IDX(databases, i, smartsupp_database_t *);

        if (known->turn && same(known->params, database->params)) {
            database->turn = known->turn;
            database->turn_file = known->turn_file;
            return APR_SUCCESS;
        }
    }
    return ap_global_mutex_create(&database->turn, &database->turn_file,
                                  MUTEX_TYPE, apr_itoa(pconf, databases->nelts),
                                  database->server, pconf, 0);
}

static int spent_max(const smartsupp_site_t *site)
{
    int others = (site->max ? atoi(site->max) : DBDMAX_DEFAULT) - 1;

    return others < 0 ? 0 : others < SPENT_MAX ? others : SPENT_MAX;
}

/* The state of the database that all processes know of. */
static smartsupp_breaker_t *share_breaker(const smartsupp_database_t *database,
                                          server_rec *main_server,
                                          apr_pool_t *ptemp)
{
    const char *key = apr_psprintf(ptemp, "breaker 1 %s %s %s %d",
                                   database->driver ? database->driver : "",
                                   database->params ? database->params : "",
                                   database->prefix, (int)database->schema);

    return smartsupp_shared_record(key, sizeof(smartsupp_breaker_t),
                                   main_server);
}

/* The database of a site: a known one, or a new one. NULL: httpd has said why
 * there is none. */
static smartsupp_database_t *make_database(const smartsupp_site_t *site,
                                           server_rec *main_server,
                                           apr_pool_t *pconf, apr_pool_t *ptemp)
{
    smartsupp_database_t wanted = {
        .server = site->server,
        .driver = site->driver,
        .params = site->params,
        .prefix = smartsupp_config_table_prefix(site->server),
        .schema = smartsupp_config_schema(site->server),
    };
    smartsupp_database_t *database = find(&wanted);

    if (database) {
        return database;
    }
    database = apr_pmemdup(pconf, &wanted, sizeof(wanted));
    database->driver = apr_pstrdup(pconf, wanted.driver);
    database->params = apr_pstrdup(pconf, wanted.params);
    database->spent_max = spent_max(site);
    database->breaker = share_breaker(database, main_server, ptemp);
    if (!database->breaker ||
        (is_sqlite(database) && make_turn(database, pconf) != APR_SUCCESS)) {
        return NULL;
    }
    APR_ARRAY_PUSH(databases, smartsupp_database_t *) = database;
    return database;
}

int smartsupp_dbd_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                              apr_pool_t *ptemp, server_rec *main_server)
{
    apr_array_header_t *sites = smartsupp_check_sites(main_server, ptemp);
    int i;

    (void)plog;
    databases =
        apr_array_make(pconf, sites->nelts, sizeof(smartsupp_database_t *));
    dbd_open = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_open);
    dbd_close = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_close);
    for (i = 0; i < sites->nelts; i++) {
        smartsupp_site_t *site = &APR_ARRAY_IDX(sites, i, smartsupp_site_t);
        smartsupp_database_t *database =
            make_database(site, main_server, pconf, ptemp);
        apr_interval_time_t wait = smartsupp_config_database_wait(site->server);

        if (!database) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (database->patience < wait) {
            database->patience = wait;
        }
        smartsupp_config_runtime(site->server)->database = database;
    }
    return OK;
}

static ap_dbd_t *open_connection(smartsupp_database_t *database,
                                 apr_pool_t *pool)
{
    int tries = is_sqlite(database) || !database->driver ? 1 : OPEN_TRIES;
    ap_dbd_t *lent = NULL;

    while (dbd_open && !lent && tries-- > 0) {
        apr_time_t start = apr_time_now();

        lent = dbd_open(pool, database->server);
        if (apr_time_now() - start > OPEN_FAST) {
            break;
        }
    }
    return lent;
}

static void give_back(smartsupp_batch_loan_t *loan, void *baton)
{
    smartsupp_database_t *database = baton;

    if (loan->sql) {
        smartsupp_sql_return(loan->sql);
    }
    if (loan->connection) {
        dbd_close(database->server, loan->connection);
    }
    if (database->turn) {
        apr_global_mutex_unlock(database->turn);
    }
}

/* A connection from mod_dbd, taken into use. */
static apr_status_t lend(smartsupp_batch_loan_t *loan,
                         smartsupp_sql_error_t *error,
                         smartsupp_database_t *database, apr_pool_t *pool)
{
    ap_dbd_t *lent = open_connection(database, pool);
    smartsupp_sql_loan_t what;
    apr_pool_t *work;
    apr_status_t rv;

    loan->sql = NULL;
    loan->connection = lent;
    if (!lent) {
        strcpy(error->code, SMARTSUPP_SQL_NO_CODE);
        apr_cpystrn(error->text,
                    database->driver
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
    apr_pool_tag(work, "smartsupp_dbd_lend");
    rv = smartsupp_sql_lend(&loan->sql, error, &what, database->prefix, work);
    if (rv != APR_SUCCESS) {
        loan->sql = NULL;
    }
    apr_pool_destroy(work);
    return rv;
}

/* Pass on, once a child, what the administrator should know. */
static void warn(smartsupp_database_t *database, smartsupp_sql_t *sql)
{
    const char *warning = smartsupp_sql_warning(sql);

    if (warning && !database->warned) {
        database->warned = 1;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, database->server,
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
    smartsupp_database_t *database = baton;
    ap_dbd_t *spent[SPENT_MAX];
    int count = 0;
    apr_status_t rv;

    if (database->turn) {
        apr_global_mutex_lock(database->turn);
    }
    rv = lend(loan, error, database, pool);
    while (rv == APR_EOF && count < database->spent_max) {
        spent[count++] = loan->connection;
        rv = lend(loan, error, database, pool);
    }
    if (rv == APR_EOF) {
        strcpy(error->code, SMARTSUPP_SQL_NO_CODE);
        apr_cpystrn(error->text,
                    "mod_dbd has no connection left that leads to the "
                    "database: restart httpd gracefully",
                    sizeof(error->text));
    }
    if (count > 0) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, database->server,
                     "SMARTSUPP0305: the SQLite file or its -wal was replaced, "
                     "or could not be written before: connections given up "
                     "for that: %d",
                     count);
    }
    while (count > 0) {
        dbd_close(database->server, spent[--count]);
    }
    if (rv != APR_SUCCESS) {
        give_back(loan, database);
        return rv;
    }
    warn(database, loan->sql);
    return APR_SUCCESS;
}

static void report(const smartsupp_sql_error_t *error, void *baton)
{
    const smartsupp_database_t *database = baton;
    apr_pool_t *pool;

    if (!error) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, database->server,
                     "SMARTSUPP0302: the database takes deliveries again");
        return;
    }
    apr_pool_create(&pool, NULL);
    apr_pool_tag(pool, "smartsupp_dbd_report");
    ap_log_error(
        APLOG_MARK, APLOG_ERR, 0, database->server,
        "SMARTSUPP0301: the database (%s%s%s, tables %s*) takes no "
        "deliveries: %s (code %s); %s",
        database->driver ? database->driver : "none",
        is_sqlite(database) ? " " : "",
        is_sqlite(database) && database->params ? database->params : "",
        database->prefix, error->text, error->code,
        smartsupp_remedy(database->driver, database->params, error, pool));
    apr_pool_destroy(pool);
}

/* The most requests that one database may hold: never all threads of a child,
 * so that the rest of the server goes on (design.md, promise 4). */
static int capacity(void)
{
    int threads = 1;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return threads <= 1 ? 1 : threads - (threads + 3) / 4;
}

/* Where the server's own work is the limit, it can do another transaction's
 * while one waits for the disk. Not so SQLite; with prefork mod_dbd has one
 * connection; and one is what a try once more gets past where its check does
 * not notice that the server has ended both (odbc). */
static int writers(const smartsupp_database_t *database)
{
    return capacity() > 1 && (is_driver(database, "pgsql") ||
                              is_driver(database, "mysql"))
               ? WRITERS
               : 1;
}

static apr_interval_time_t hang(const smartsupp_database_t *database)
{
    apr_interval_time_t bound = HANG_FACTOR * database->patience;

    return bound > HANG_LEAST ? bound : HANG_LEAST;
}

void smartsupp_dbd_end_if_held(void)
{
    int i;

    for (i = 0; i < databases->nelts; i++) {
        smartsupp_database_t *database =
            APR_ARRAY_IDX(databases, i, smartsupp_database_t *);

        if (database->commit && smartsupp_commit_is_held(database->commit)) {
            _exit(0);
        }
    }
}

static apr_status_t stop_writers(void *unused)
{
    apr_time_t deadline = apr_time_now() + STOP_BOUND;
    int left_behind = 0;
    int i;

    (void)unused;
    smartsupp_dbd_end_if_held();
    for (i = 0; i < databases->nelts; i++) {
        smartsupp_database_t *database =
            APR_ARRAY_IDX(databases, i, smartsupp_database_t *);
        apr_interval_time_t left = deadline - apr_time_now();

        if (database->commit &&
            smartsupp_commit_stop(database->commit, left) != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, database->server,
                         "SMARTSUPP0304: the database did not answer in time, "
                         "its writer is left behind: what it had not answered "
                         "may or may not be stored");
            left_behind = 1;
        }
        database->commit = NULL;
    }
    if (left_behind) {
        /* mod_dbd's pool must not go while a connection of it is in use: APR
         * would abort the process */
        _exit(0);
    }
    return APR_SUCCESS;
}

/* Whether a database before that one has taken its turn into use already. */
static int turn_is_known(int index)
{
    const apr_global_mutex_t *turn =
        APR_ARRAY_IDX(databases, index, smartsupp_database_t *)->turn;

    while (--index >= 0) {
        if (APR_ARRAY_IDX(databases, index, smartsupp_database_t *)->turn ==
            turn) {
            return 1;
        }
    }
    return 0;
}

/*
 * A child of prefork has an allocator without a mutex, for its one thread, and
 * the pools of mod_dbd's connections take their memory from it too, in the
 * writer's thread. Give it one; a nested one, because the child ends inside a
 * signal handler, which may have interrupted whoever holds it.
 */
static void share_allocator(apr_pool_t *pchild)
{
    apr_allocator_t *allocator = apr_pool_allocator_get(pchild);
    apr_thread_mutex_t *mutex;

    if (!apr_allocator_mutex_get(allocator) &&
        apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_NESTED, pchild) ==
            APR_SUCCESS) {
        apr_allocator_mutex_set(allocator, mutex);
    }
}

void smartsupp_dbd_child_init(apr_pool_t *pchild, server_rec *main_server)
{
    int i;

    (void)main_server;
    share_allocator(pchild);
    for (i = 0; i < databases->nelts; i++) {
        smartsupp_database_t *database =
            APR_ARRAY_IDX(databases, i, smartsupp_database_t *);
        smartsupp_commit_config_t config = {
            .lender = {borrow, give_back, database},
            .schema = database->schema,
            .writers = writers(database),
            .capacity = capacity(),
            .hang = hang(database),
            .breaker = database->breaker,
            .report = report,
        };
        apr_status_t rv = APR_SUCCESS;

        if (database->turn && !turn_is_known(i)) {
            rv = apr_global_mutex_child_init(&database->turn,
                                             database->turn_file, pchild);
        }
        if (rv == APR_SUCCESS) {
            rv = smartsupp_commit_create(&database->commit, &config);
        }
        if (rv != APR_SUCCESS) {
            database->commit = NULL;
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, database->server,
                         "SMARTSUPP0303: this child cannot store deliveries "
                         "and answers 503");
        }
    }
    apr_pool_pre_cleanup_register(pchild, NULL, stop_writers);
}

smartsupp_commit_t *smartsupp_dbd_commit(const server_rec *server)
{
    const smartsupp_database_t *database =
        smartsupp_config_runtime(server)->database;

    return database ? database->commit : NULL;
}

int smartsupp_dbd_same(const server_rec *one, const server_rec *other)
{
    return smartsupp_config_runtime(one)->database ==
           smartsupp_config_runtime(other)->database;
}

const smartsupp_breaker_t *smartsupp_dbd_breaker(const server_rec *server)
{
    const smartsupp_database_t *database =
        smartsupp_config_runtime(server)->database;

    return database && database->driver ? database->breaker : NULL;
}

const char *smartsupp_dbd_label(const server_rec *server, apr_pool_t *pool)
{
    const smartsupp_database_t *database =
        smartsupp_config_runtime(server)->database;

    return database && database->driver
               ? apr_psprintf(pool, "%s, tables %s*", database->driver,
                              database->prefix)
               : "none";
}
