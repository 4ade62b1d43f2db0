#include "mod_smartsupp_drain.h"

#include <apr_strings.h>
#include <ap_mpm.h>
#include <http_config.h>
#include <http_log.h>

#include "mod_smartsupp_config.h"
#include "mod_smartsupp_dbd.h"
#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_spool.h"
#include "smartsupp_commit.h"
#include "smartsupp_conversation.h"
#include "smartsupp_metrics.h"

APLOG_USE_MODULE(smartsupp_hook);

/* The longest pause, unless SmartsuppReplayInterval is longer. */
#define PAUSE_MAX apr_time_from_sec(60)

/* The most names that one look into the folder gives. */
#define NAMES_MAX 4096

/* The most deliveries in flight, so that the next batches are read and decoded
 * while one is written; and about their bytes. */
#define FLIGHTS_MAX 256
#define FLIGHT_BYTES (8 * 1024 * 1024)

/* So many failures in a row are an outage. */
#define OUTAGE 3

/* The most suspects that are remembered. */
#define SUSPECTS_MAX 10000

/* A delivery that was submitted. */
typedef struct flight_t {
    const char *name;
    const char *server;
    smartsupp_delivery_t *delivery;
    smartsupp_commit_entry_t *entry;
    int alone; /* nothing else was in flight */
} flight_t;

typedef struct pass_t {
    smartsupp_drain_t *drain;
    smartsupp_commit_t *room;
    apr_pool_t *scratch; /* for one delivery */
    flight_t flights[FLIGHTS_MAX];
    int first;
    int in_flight;
    apr_size_t bytes;
    apr_time_t progress; /* when the database last answered */
    int replayed;
    int failed;
    int failures; /* in a row */
    int over;     /* take no more */
    int again;    /* which of a batch has failed is not known: one by one */
    int blocked;
} pass_t;

static int is_stopping(const smartsupp_drain_t *drain)
{
    int state = 0;

    return __atomic_load_n(&drain->stopping, __ATOMIC_RELAXED) ||
           ap_mpm_query(AP_MPMQ_MPM_STATE, &state) != APR_SUCCESS ||
           state == AP_MPMQ_STOPPING;
}

static int is_suspect(const smartsupp_drain_t *drain, const char *name)
{
    return apr_hash_get(drain->suspects, name, APR_HASH_KEY_STRING) != NULL;
}

static void forget_suspects(smartsupp_drain_t *drain)
{
    apr_pool_clear(drain->suspects_pool);
    drain->suspects = apr_hash_make(drain->suspects_pool);
    drain->suspects_due = 0;
    drain->suspects_pause = 0;
}

/* Have it tried after all others. @return whether it was suspect before */
static int suspect(smartsupp_drain_t *drain, const char *name)
{
    if (is_suspect(drain, name)) {
        return 1;
    }
    if (apr_hash_count(drain->suspects) >= SUSPECTS_MAX) {
        forget_suspects(drain);
    }
    name = apr_pstrdup(drain->suspects_pool, name);
    apr_hash_set(drain->suspects, name, APR_HASH_KEY_STRING, name);
    return 0;
}

apr_interval_time_t smartsupp_drain_longer(apr_interval_time_t pause,
                                           apr_interval_time_t least)
{
    apr_interval_time_t most = least > PAUSE_MAX ? least : PAUSE_MAX;

    pause *= 2;
    return pause < least ? least : pause > most ? most : pause;
}

static void count(const pass_t *pass, smartsupp_metric_e metric)
{
    smartsupp_metrics_count(
        smartsupp_config_runtime(pass->drain->server)->metrics, metric);
}

/* A failure that tells nothing of the delivery, unless it was alone. */
static void fail(pass_t *pass, const flight_t *flight)
{
    smartsupp_drain_t *drain = pass->drain;

    pass->failed++;
    if (!flight->alone) {
        drain->careful = FLIGHTS_MAX;
        pass->again = 1;
        pass->over = 1;
        return;
    }
    (void)suspect(drain, flight->name);
    if (++pass->failures >= OUTAGE) {
        pass->over = 1;
    }
}

static void done(pass_t *pass, const char *name)
{
    smartsupp_drain_t *drain = pass->drain;
    apr_status_t rv = smartsupp_spool_done(drain->spool, name);

    if (rv == APR_SUCCESS) {
        apr_hash_set(drain->suspects, name, APR_HASH_KEY_STRING, NULL);
    }
    else if (!suspect(drain, name)) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, drain->server,
                     "SMARTSUPP0501: %s of the spool is done with, and cannot "
                     "be removed; it will be replayed again, which is harmless",
                     name);
    }
}

/* It will never be stored as it is. */
static void reject(pass_t *pass, const flight_t *flight, const char *reason)
{
    smartsupp_drain_t *drain = pass->drain;
    apr_status_t rv = smartsupp_spool_reject(drain->spool, flight->delivery,
                                             flight->server, reason);

    if (rv == APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, drain->server,
                     "SMARTSUPP0502: a delivery of the spool is in rejected/ "
                     "now: %s; SHA-256 %s",
                     reason, flight->delivery->body_sha256);
        count(pass, SMARTSUPP_REJECTED_REPLAY);
        done(pass, flight->name);
    }
    else if (!suspect(drain, flight->name)) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, drain->server,
                     "SMARTSUPP0503: %s of the spool can never be stored (%s) "
                     "and cannot be moved to rejected/: %s",
                     flight->name, reason,
                     smartsupp_spools_words(rv, pass->scratch));
    }
}

static void set_aside(pass_t *pass, const char *name)
{
    smartsupp_drain_t *drain = pass->drain;
    apr_status_t rv = smartsupp_spool_set_aside(drain->spool, name);

    if (rv == APR_SUCCESS) {
        count(pass, SMARTSUPP_REJECTED_DAMAGED);
    }
    else if (suspect(drain, name)) {
        return; /* it was told before */
    }
    ap_log_error(APLOG_MARK, APLOG_ERR, rv, drain->server,
                 "SMARTSUPP0504: a file of the spool is no whole delivery and "
                 "%s: %s",
                 rv == APR_SUCCESS ? "is in rejected/ now"
                                   : "cannot be moved to rejected/",
                 ap_escape_logitem(pass->scratch, name));
}

/* A file that cannot be read now is no reason not to go on with the others. */
static void cannot_read(pass_t *pass, const char *name, apr_status_t rv)
{
    smartsupp_drain_t *drain = pass->drain;

    if (!suspect(drain, name)) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, drain->server,
                     "SMARTSUPP0505: %s of the spool cannot be read now",
                     ap_escape_logitem(pass->scratch, name));
    }
}

/* Read and decode. APR_SUCCESS, or what there was to do is done. */
static apr_status_t load(flight_t *flight, pass_t *pass, const char *name)
{
    smartsupp_drain_t *drain = pass->drain;
    smartsupp_problems_t *errors;
    apr_status_t rv =
        smartsupp_spool_read(&flight->delivery, &flight->server, drain->spool,
                             name, drain->deliveries);

    if (rv == SMARTSUPP_ESPOOL_DAMAGED || APR_STATUS_IS_EACCES(rv)) {
        set_aside(pass, name); /* or another user's: nobody will make it ours */
    }
    else if (rv != APR_SUCCESS && !APR_STATUS_IS_ENOENT(rv)) {
        cannot_read(pass, name, rv);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    flight->name = name;
    errors = smartsupp_problems_make(4, pass->scratch);
    /* of a body that was received once, no count of values is too high */
    rv = smartsupp_conversation_decode(flight->delivery, errors,
                                       flight->delivery->body_length + 1);
    if (rv == SMARTSUPP_ESYNTAX || rv == SMARTSUPP_ESTRUCTURE) {
        reject(pass, flight,
               apr_psprintf(pass->scratch, "%d %s",
                            rv == SMARTSUPP_ESYNTAX ? HTTP_BAD_REQUEST
                                                    : HTTP_UNPROCESSABLE_ENTITY,
                            smartsupp_problems_text(errors, pass->scratch)));
    }
    if (rv != APR_SUCCESS) {
        smartsupp_delivery_release(flight->delivery);
    }
    return rv;
}

static void launch(pass_t *pass, const char *name, int alone)
{
    flight_t *flight =
        &pass->flights[(pass->first + pass->in_flight) % FLIGHTS_MAX];
    apr_status_t rv;

    apr_pool_clear(pass->scratch);
    if (load(flight, pass, name) != APR_SUCCESS) {
        return;
    }
    flight->alone = alone;
    rv = smartsupp_commit_submit(&flight->entry, pass->room, flight->delivery,
                                 SMARTSUPP_COMMIT_REPLAY);
    if (rv != APR_SUCCESS) {
        smartsupp_delivery_release(flight->delivery);
        pass->blocked = 1;
        pass->over = 1;
        return;
    }
    if (pass->in_flight++ == 0) {
        pass->progress = apr_time_now();
    }
    pass->bytes += flight->delivery->body_length;
}

/* Wait for the one that was launched first; as long as the database goes on
 * answering, for however long it takes to come to it. */
static void land(pass_t *pass)
{
    smartsupp_drain_t *drain = pass->drain;
    flight_t *flight = &pass->flights[pass->first];
    smartsupp_batch_outcome_t outcome;
    apr_status_t rv = smartsupp_commit_wait(
        &outcome, pass->room, flight->entry,
        pass->progress + smartsupp_config_database_wait(drain->server));

    if (rv != APR_TIMEUP) {
        pass->progress = apr_time_now();
    }
    apr_pool_clear(pass->scratch);
    pass->first = (pass->first + 1) % FLIGHTS_MAX;
    pass->in_flight--;
    pass->bytes -= flight->delivery->body_length;
    if (rv == APR_SUCCESS) {
        pass->replayed++;
        pass->failures = 0;
        drain->careful -= drain->careful > 0;
        drain->suspects_pause = 0;
        count(pass, SMARTSUPP_REPLAYED);
        done(pass, flight->name);
    }
    else if (rv == APR_EGENERAL &&
             outcome.error.error_class == SMARTSUPP_SQL_PERMANENT) {
        reject(pass, flight,
               apr_psprintf(pass->scratch, "database %s %s", outcome.error.code,
                            outcome.error.text));
    }
    else {
        fail(pass, flight);
    }
    smartsupp_delivery_release(flight->delivery);
}

/* Those of the names that are suspect, or those that are not. */
static void fly(pass_t *pass, const apr_array_header_t *names, int suspects)
{
    smartsupp_drain_t *drain = pass->drain;
    int next = 0;

    for (;;) {
        int most = suspects || drain->careful ? 1 : FLIGHTS_MAX;

        while (next < names->nelts && !pass->over && !is_stopping(drain) &&
               pass->in_flight < most && pass->bytes < FLIGHT_BYTES) {
            const char *name = APR_ARRAY_IDX(names, next++, const char *);

            if (is_suspect(drain, name) == suspects) {
                launch(pass, name, most == 1);
            }
        }
        if (pass->in_flight == 0) {
            return;
        }
        land(pass);
    }
}

/* First those that are not suspect. The suspects wait for their time, unless
 * the whole database was down: then nothing is held against them. */
static void fly_all(pass_t *pass, const apr_array_header_t *names)
{
    smartsupp_drain_t *drain = pass->drain;
    const smartsupp_breaker_t *breaker = smartsupp_dbd_breaker(drain->server);
    int was_up = __atomic_load_n(&breaker->down_since, __ATOMIC_RELAXED) == 0;
    int failed;

    fly(pass, names, 0);
    failed = pass->failed;
    if (pass->over || apr_hash_count(drain->suspects) == 0 ||
        (was_up && apr_time_now() < drain->suspects_due)) {
        return;
    }
    fly(pass, names, 1);
    if (was_up && pass->failed > failed) {
        drain->suspects_pause = smartsupp_drain_longer(
            drain->suspects_pause,
            smartsupp_config_replay_interval(drain->server));
        drain->suspects_due = apr_time_now() + drain->suspects_pause;
    }
}

static smartsupp_drain_e ended(const pass_t *pass,
                               const apr_array_header_t *names)
{
    if (pass->blocked) {
        return SMARTSUPP_DRAIN_BLOCKED;
    }
    if (pass->again) {
        return SMARTSUPP_DRAIN_MORE;
    }
    if (pass->failures >= OUTAGE || (pass->failed > 0 && !pass->replayed)) {
        /* no delivery is to blame: one shows whether it is over */
        pass->drain->careful = 1;
        return SMARTSUPP_DRAIN_OUTAGE;
    }
    return names->nelts == NAMES_MAX && pass->replayed > 0 && !pass->over
               ? SMARTSUPP_DRAIN_MORE
               : SMARTSUPP_DRAIN_DONE;
}

static pass_t *make_pass(smartsupp_drain_t *drain, apr_pool_t *pool)
{
    pass_t *pass = apr_pcalloc(pool, sizeof(*pass));

    pass->drain = drain;
    pass->room = smartsupp_dbd_commit(drain->server);
    apr_pool_create(&pass->scratch, pool);
    apr_pool_tag(pass->scratch, "smartsupp_drain_scratch");
    return pass;
}

apr_status_t smartsupp_drain_prepare(smartsupp_drain_t *drain)
{
    apr_allocator_t *deliveries = NULL;
    apr_pool_t *pool;
    /* not the watchdog's: the writer may hold a delivery for longer */
    apr_status_t rv = apr_pool_create(&pool, NULL);

    if (rv == APR_SUCCESS) {
        apr_pool_tag(pool, "smartsupp_drain");
        apr_pool_create(&drain->suspects_pool, pool);
        apr_pool_tag(drain->suspects_pool, "smartsupp_drain_suspects");
        forget_suspects(drain);
        rv = smartsupp_delivery_allocator(&deliveries, pool);
    }
    drain->deliveries = deliveries;
    return rv;
}

smartsupp_drain_e smartsupp_drain_pass(smartsupp_drain_t *drain,
                                       apr_pool_t *pool)
{
    pass_t *pass = make_pass(drain, pool);
    apr_array_header_t *names = NULL;
    int left = 0;
    apr_status_t rv =
        smartsupp_spool_scan(&names, &left, drain->spool, NAMES_MAX, pool);

    smartsupp_spools_tell_left(drain->server, left);
    if (rv != APR_SUCCESS || !pass->room) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, drain->server,
                     "SMARTSUPP0507: the spool %s cannot be drained",
                     smartsupp_spool_path(drain->spool));
        return SMARTSUPP_DRAIN_OUTAGE;
    }
    if (names->nelts == 0) {
        forget_suspects(drain);
        return SMARTSUPP_DRAIN_DONE;
    }
    fly_all(pass, names);
    if (pass->replayed > 0) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, drain->server,
                     "SMARTSUPP0508: %d deliveries of the spool are stored now",
                     pass->replayed);
    }
    return ended(pass, names);
}
