#include "mod_smartsupp_dbd.h"

#include <string.h>
#include <unistd.h>

#include <apr_global_mutex.h>
#include <apr_strings.h>
#include <ap_mpm.h>
#include <http_config.h>
#include <util_mutex.h>

#include "mod_smartsupp_check.h"
#include "mod_smartsupp_config.h"
#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_lender.h"
#include "mod_smartsupp_prefork.h"
#include "mod_smartsupp_shared.h"

APLOG_USE_MODULE(smartsupp_hook);

/* For the Mutex directive. */
#define MUTEX_TYPE "smartsupp-sqlite"

/* How long the end of a child waits for its writers, all of them together.
 * httpd kills a child 9 s after it asked it to go. */
#define STOP_BOUND apr_time_from_sec(4)

/* Writers for each database that can do more than one thing at a time. */
#define WRITERS 2

/* The longest that a batch may take before its connection is shut down: of no
 * use to those who wait for it, but the database may be at work. */
#define HANG_LEAST apr_time_from_sec(10)
#define HANG_FACTOR 2

/* One database and table prefix. Made in the parent; what a child adds is its
 * own. */
typedef struct smartsupp_database_t {
    smartsupp_lender_t lender;
    smartsupp_schema_mode_e schema;
    apr_interval_time_t patience; /* the longest SmartsuppDatabaseWait */
    smartsupp_breaker_t *breaker;

    smartsupp_commit_t *commit;
} smartsupp_database_t;

/* Set at start, read-only afterwards. */
static apr_array_header_t *databases; /* of smartsupp_database_t * */

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

static int is_sqlite(const smartsupp_database_t *database)
{
    return smartsupp_lender_is_driver(&database->lender, "sqlite3");
}

/* A database that an earlier server has named already, or NULL. */
static smartsupp_database_t *find(const smartsupp_database_t *wanted)
{
    int i;

    for (i = 0; wanted->lender.driver && i < databases->nelts; i++) {
        smartsupp_database_t *known =
            APR_ARRAY_IDX(databases, i, smartsupp_database_t *);

        if (same(known->lender.driver, wanted->lender.driver) &&
            same(known->lender.params, wanted->lender.params) &&
            same(known->lender.prefix, wanted->lender.prefix) &&
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

        if (known->lender.turn &&
            same(known->lender.params, database->lender.params)) {
            database->lender.turn = known->lender.turn;
            database->lender.turn_file = known->lender.turn_file;
            return APR_SUCCESS;
        }
    }
    return ap_global_mutex_create(
        &database->lender.turn, &database->lender.turn_file, MUTEX_TYPE,
        apr_itoa(pconf, databases->nelts), database->lender.server, pconf, 0);
}

/* The state of the database that all processes know of. */
static smartsupp_breaker_t *share_breaker(const smartsupp_database_t *database,
                                          server_rec *main_server,
                                          apr_pool_t *ptemp)
{
    const char *key =
        apr_psprintf(ptemp, "breaker 1 %s %s %s %d",
                     database->lender.driver ? database->lender.driver : "",
                     database->lender.params ? database->lender.params : "",
                     database->lender.prefix, (int)database->schema);

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
        .lender = {.server = site->server,
                   .driver = site->driver,
                   .params = site->params,
                   .prefix = smartsupp_config_table_prefix(site->server),
                   .spent_max = smartsupp_lender_spent_max(site->max)},
        .schema = smartsupp_config_schema(site->server),
    };
    smartsupp_database_t *database = find(&wanted);

    if (database) {
        return database;
    }
    database = apr_pmemdup(pconf, &wanted, sizeof(wanted));
    database->lender.driver = apr_pstrdup(pconf, wanted.lender.driver);
    database->lender.params = apr_pstrdup(pconf, wanted.lender.params);
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
    smartsupp_lender_post_config();
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

/* That serve requests, in each child. */
static int threads(void)
{
    int count = 1;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &count);
    return count < 1 ? 1 : count;
}

/* The most requests that one database may hold: never all threads of a child,
 * so that the rest of the server goes on (design.md, promise 4). */
static int capacity(void)
{
    return threads() == 1 ? 1 : threads() - (threads() + 3) / 4;
}

/* Where the server's own work is the limit, it can do another transaction's
 * while one waits for the disk. Not so SQLite; with prefork mod_dbd has one
 * connection; and one is what a try once more gets past where its check does
 * not notice that the server has ended both (odbc). */
static int writers(const smartsupp_database_t *database)
{
    return capacity() > 1 &&
                   (smartsupp_lender_is_driver(&database->lender, "pgsql") ||
                    smartsupp_lender_is_driver(&database->lender, "mysql"))
               ? WRITERS
               : 1;
}

static apr_interval_time_t hang(const smartsupp_database_t *database)
{
    apr_interval_time_t bound = HANG_FACTOR * database->patience;

    return bound > HANG_LEAST ? bound : HANG_LEAST;
}

/* Whether the thread that runs the cleanups holds a commit room itself. */
static int is_held(void)
{
    int i;

    for (i = 0; i < databases->nelts; i++) {
        smartsupp_database_t *database =
            APR_ARRAY_IDX(databases, i, smartsupp_database_t *);

        if (database->commit && smartsupp_commit_is_held(database->commit)) {
            return 1;
        }
    }
    return 0;
}

void smartsupp_dbd_end_if_interrupted(void)
{
    smartsupp_prefork_phase_e phase = smartsupp_prefork_interrupted();

    if (phase == SMARTSUPP_PREFORK_AT_WORK ||
        (phase == SMARTSUPP_PREFORK_WAITING && is_held())) {
        _exit(0);
    }
}

static apr_status_t stop_writers(void *unused)
{
    apr_time_t deadline = apr_time_now() + STOP_BOUND;
    int left_behind = 0;
    int i;

    (void)unused;
    smartsupp_dbd_end_if_interrupted();
    for (i = 0; i < databases->nelts; i++) {
        smartsupp_database_t *database =
            APR_ARRAY_IDX(databases, i, smartsupp_database_t *);
        apr_interval_time_t left = deadline - apr_time_now();

        if (database->commit &&
            smartsupp_commit_stop(database->commit, left) != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, database->lender.server,
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
        APR_ARRAY_IDX(databases, index, smartsupp_database_t *)->lender.turn;

    while (--index >= 0) {
        if (APR_ARRAY_IDX(databases, index, smartsupp_database_t *)
                ->lender.turn == turn) {
            return 1;
        }
    }
    return 0;
}

void smartsupp_dbd_child_init(apr_pool_t *pchild, server_rec *main_server)
{
    int i;

    (void)main_server;
    for (i = 0; i < databases->nelts; i++) {
        smartsupp_database_t *database =
            APR_ARRAY_IDX(databases, i, smartsupp_database_t *);
        smartsupp_commit_config_t config = {
            .lender = smartsupp_lender_face(&database->lender),
            .schema = database->schema,
            .writers = writers(database),
            .capacity = capacity(),
            .hang = hang(database),
            .breaker = database->breaker,
            .report = smartsupp_lender_report,
            .waits = smartsupp_prefork_waits,
        };
        apr_status_t rv = APR_SUCCESS;

        if (database->lender.turn && !turn_is_known(i)) {
            rv = apr_global_mutex_child_init(
                &database->lender.turn, database->lender.turn_file, pchild);
        }
        if (rv == APR_SUCCESS) {
            rv = smartsupp_commit_create(&database->commit, &config);
        }
        if (rv != APR_SUCCESS) {
            database->commit = NULL;
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, database->lender.server,
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

    return database && database->lender.driver ? database->breaker : NULL;
}

const char *smartsupp_dbd_label(const server_rec *server, apr_pool_t *pool)
{
    const smartsupp_database_t *database =
        smartsupp_config_runtime(server)->database;

    return database && database->lender.driver
               ? apr_psprintf(pool, "%s, tables %s*", database->lender.driver,
                              database->lender.prefix)
               : "none";
}
