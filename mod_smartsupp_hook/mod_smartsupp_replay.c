#include "mod_smartsupp_replay.h"

#include <apr_optional.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_log.h>
#include <mod_watchdog.h>

#include "mod_smartsupp_config.h"
#include "mod_smartsupp_dbd.h"
#include "mod_smartsupp_drain.h"
#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_spool.h"

APLOG_USE_MODULE(smartsupp_hook);

/* How often mod_watchdog asks whether there is something to do. */
#define TICK AP_WD_TM_SLICE

/* How often a child that is not the one that drains tries to become it. */
#define LOCK_PAUSE apr_time_from_sec(1)

/* The drainer of one spool. Made in the parent; each child has its own copy,
 * which only its watchdog thread uses, but for what is atomic. */
typedef struct replay_t {
    smartsupp_drain_t drain;
    int lock; /* atomic; -1: another process drains */
    apr_time_t due;
    apr_interval_time_t pause; /* after an outage; 0: it is over */
} replay_t;

static void release_lock(replay_t *replay)
{
    smartsupp_spool_unlock(
        __atomic_exchange_n(&replay->lock, -1, __ATOMIC_ACQ_REL));
}

static int is_up(const replay_t *replay)
{
    const smartsupp_breaker_t *breaker =
        smartsupp_dbd_breaker(replay->drain.server);

    return __atomic_load_n(&breaker->down_since, __ATOMIC_RELAXED) == 0;
}

/* The interval has passed, or the database has come back before. */
static int is_due(const replay_t *replay)
{
    return apr_time_now() >= replay->due ||
           (replay->pause > 0 && is_up(replay));
}

/* Whether this child is the one that drains. */
static int hold_lock(replay_t *replay)
{
    int lock;

    if (replay->lock >= 0) {
        return 1;
    }
    if (smartsupp_spool_lock(&lock, replay->drain.spool) != APR_SUCCESS) {
        replay->due = apr_time_now() + LOCK_PAUSE;
        replay->pause = 0;
        return 0;
    }
    __atomic_store_n(&replay->lock, lock, __ATOMIC_RELEASE);
    return 1;
}

/* Make a pass, and plan the next one. */
static void replay_some(replay_t *replay, apr_pool_t *pool)
{
    apr_interval_time_t interval =
        smartsupp_config_replay_interval(replay->drain.server);

    switch (smartsupp_drain_pass(&replay->drain, pool)) {
    case SMARTSUPP_DRAIN_MORE:
        replay->pause = 0;
        replay->due = 0;
        return;
    case SMARTSUPP_DRAIN_BLOCKED:
        if (is_up(replay)) {
            /* for others: one of them shall drain */
            release_lock(replay);
        }
        /* fall through */
    case SMARTSUPP_DRAIN_OUTAGE:
        replay->pause = smartsupp_drain_longer(replay->pause, interval);
        replay->due = apr_time_now() + replay->pause;
        return;
    case SMARTSUPP_DRAIN_DONE:
        replay->pause = 0;
        replay->due = apr_time_now() + interval;
        return;
    }
}

/* mod_watchdog's callback. Anything but APR_SUCCESS would end it for good. */
static apr_status_t tick(int state, void *data, apr_pool_t *pool)
{
    replay_t *replay = data;
    smartsupp_drain_t *drain = &replay->drain;

    if (state == AP_WATCHDOG_STATE_STOPPING) {
        /* may come from another thread, in the middle of a pass, which is
         * joined next */
        smartsupp_dbd_end_if_interrupted();
        __atomic_store_n(&drain->stopping, 1, __ATOMIC_RELAXED);
        release_lock(replay);
        return APR_SUCCESS;
    }
    if (state != AP_WATCHDOG_STATE_RUNNING || !is_due(replay)) {
        return APR_SUCCESS;
    }
    if (!drain->deliveries && smartsupp_drain_prepare(drain) != APR_SUCCESS) {
        return APR_SUCCESS; /* no memory; and again at the next tick */
    }
    if (hold_lock(replay)) {
        replay_some(replay, pool);
    }
    return APR_SUCCESS;
}

/* Whether a server before this one has the same spool. */
static int is_known(const server_rec *server, const server_rec *main_server)
{
    const server_rec *before;

    for (before = main_server; before != server; before = before->next) {
        if (smartsupp_spools_of(before) == smartsupp_spools_of(server)) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t watch(server_rec *server, apr_pool_t *pconf)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get_instance =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *register_callback =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    smartsupp_spool_t *spool = smartsupp_spools_of(server);
    replay_t *replay = apr_pcalloc(pconf, sizeof(*replay));
    ap_watchdog_t *watchdog;
    apr_status_t rv;

    if (!get_instance || !register_callback) {
        return APR_ENOTIMPL;
    }
    replay->drain.server = server;
    replay->drain.spool = spool;
    replay->lock = -1;
    rv = get_instance(&watchdog,
                      apr_pstrcat(pconf, "_smartsupp_",
                                  smartsupp_spool_path(spool), "_", NULL),
                      0, 0, pconf);
    return rv == APR_SUCCESS ? register_callback(watchdog, TICK, replay, tick)
                             : rv;
}

int smartsupp_replay_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                 apr_pool_t *ptemp, server_rec *main_server)
{
    server_rec *server;

    (void)plog;
    (void)ptemp;
    for (server = main_server; server; server = server->next) {
        apr_status_t rv = APR_SUCCESS;

        if (smartsupp_spools_of(server) && !is_known(server, main_server)) {
            rv = watch(server, pconf);
        }
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, server,
                         "SMARTSUPP0509: mod_watchdog does not drain the spool "
                         "%s",
                         smartsupp_spool_path(smartsupp_spools_of(server)));
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}
