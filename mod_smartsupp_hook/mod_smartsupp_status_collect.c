#include "mod_smartsupp_status_report.h"

#include <string.h>

#include <apr_strings.h>
#include <http_main.h>

#include "mod_smartsupp_config.h"
#include "mod_smartsupp_dbd.h"
#include "smartsupp_breaker.h"
#include "smartsupp_spool.h"

static apr_int64_t load(const apr_int64_t *shared)
{
    return __atomic_load_n(shared, __ATOMIC_RELAXED);
}

/* How many bytes a UTF-8 character has that begins here (RFC 3629), 0: none
 * does. */
static int utf8_length(const unsigned char *at)
{
    int length = at[0] < 0x80   ? 1
                 : at[0] < 0xc2 ? 0
                 : at[0] < 0xe0 ? 2
                 : at[0] < 0xf0 ? 3
                 : at[0] < 0xf5 ? 4
                                : 0;
    int i;

    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) {
        return 0;
    }
    for (i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* A text of the configuration, which may hold any bytes, as UTF-8 without
 * control characters. */
static const char *clean(const char *text, apr_pool_t *pool)
{
    char *copy = apr_pstrdup(pool, text);
    char *at = copy;

    while (*at) {
        int length = utf8_length((const unsigned char *)at);

        if (!length || (unsigned char)*at < 0x20 || *at == 0x7f) {
            *at = '?';
            length = 1;
        }
        at += length;
    }
    return copy;
}

static int is_taken(const smartsupp_status_report_t *report, const char *name)
{
    int i;

    for (i = 0; i < report->hosts->nelts; i++) {
        if (!strcmp(smartsupp_status_host(report, i)->name, name)) {
            return 1;
        }
    }
    return 0;
}

/* The server's name. Two series of one name would make Prometheus drop both.
 */
static const char *name_of(const server_rec *server,
                           const smartsupp_status_report_t *report,
                           apr_pool_t *pool)
{
    const char *base = clean(smartsupp_config_server_name(server, pool), pool);
    const char *name;
    int n = 1;

    for (name = base; is_taken(report, name);) {
        name = apr_psprintf(pool, "%s #%d", base, ++n);
    }
    return name;
}

static void collect_metrics(smartsupp_status_host_t *host,
                            const smartsupp_metrics_t *metrics)
{
    apr_uint64_t sum = 0;
    int i;

    for (i = 0; i < SMARTSUPP_METRICS; i++) {
        host->counters[i] =
            smartsupp_metrics_get(metrics, (smartsupp_metric_e)i);
    }
    for (i = 0; i <= SMARTSUPP_METRICS_BOUNDS; i++) {
        sum += __atomic_load_n(&metrics->latency[i], __ATOMIC_RELAXED);
        host->latency[i] = sum;
    }
    host->latency_sum =
        __atomic_load_n(&metrics->latency_sum, __ATOMIC_RELAXED);
}

static const char *class_name(apr_uint32_t error_class)
{
    switch (error_class) {
    case SMARTSUPP_SQL_TRANSIENT:
        return "transient";
    case SMARTSUPP_SQL_CONFLICT:
        return "conflict";
    case SMARTSUPP_SQL_STALE:
        return "stale";
    case SMARTSUPP_SQL_PERMANENT:
        return "permanent";
    default:
        return "unknown";
    }
}

static void collect_database(smartsupp_status_host_t *host,
                             const server_rec *server, apr_pool_t *pool)
{
    const smartsupp_breaker_t *breaker = smartsupp_dbd_breaker(server);
    char code[SMARTSUPP_BREAKER_CODE_SIZE];

    if (!breaker) {
        return;
    }
    host->database = clean(smartsupp_dbd_label(server, pool), pool);
    host->figures[SMARTSUPP_STATUS_DOWN_SINCE] = load(&breaker->down_since);
    host->figures[SMARTSUPP_STATUS_DATABASE_UP] =
        !host->figures[SMARTSUPP_STATUS_DOWN_SINCE];
    host->figures[SMARTSUPP_STATUS_LAST_COMMIT] = load(&breaker->last_commit);
    host->figures[SMARTSUPP_STATUS_LAST_ERROR] = load(&breaker->last_error);
    if (host->figures[SMARTSUPP_STATUS_LAST_ERROR]) {
        host->error_class =
            class_name(__atomic_load_n(&breaker->last_class, __ATOMIC_RELAXED));
        smartsupp_breaker_code(code, breaker);
        host->error_code = clean(code, pool);
    }
}

static void collect_spool(smartsupp_status_host_t *host,
                          const smartsupp_spool_t *spool, apr_time_t now,
                          apr_pool_t *pool)
{
    const smartsupp_spool_usage_t *usage = smartsupp_spool_usage(spool);
    apr_time_t oldest = apr_time_from_msec(load(&usage->oldest));

    host->spool = clean(smartsupp_spool_path(spool), pool);
    host->figures[SMARTSUPP_STATUS_DELIVERIES] = load(&usage->waiting);
    host->figures[SMARTSUPP_STATUS_BYTES] = load(&usage->waiting_bytes);
    host->figures[SMARTSUPP_STATUS_MAX_BYTES] = smartsupp_spool_max_size(spool);
    host->figures[SMARTSUPP_STATUS_OLDEST_AGE] =
        oldest && oldest < now ? now - oldest : 0;
    host->figures[SMARTSUPP_STATUS_REJECTED_DELIVERIES] =
        load(&usage->rejected);
    host->figures[SMARTSUPP_STATUS_REJECTED_BYTES] =
        load(&usage->rejected_bytes);
}

static smartsupp_status_state_e state_of(const smartsupp_status_host_t *host,
                                         const smartsupp_spool_t *spool)
{
    if (host->figures[SMARTSUPP_STATUS_DATABASE_UP]) {
        return SMARTSUPP_STATUS_STORED;
    }
    return spool && smartsupp_spool_has_room(spool) ? SMARTSUPP_STATUS_SPOOLED
                                                    : SMARTSUPP_STATUS_REFUSED;
}

/* Whether deliveries to the host can be expected to be kept. One that has
 * neither database nor spool and gets none may be what a hook outside of all
 * virtual hosts gives to the main server, or a host whose hook is gone. */
static int is_judged(const smartsupp_status_host_t *host, int receives)
{
    return host->database || host->spool ||
           (receives && host->counters[SMARTSUPP_RECEIVED]);
}

/* Add the server, unless there is nothing to tell of it. */
static void collect_host(smartsupp_status_report_t *report,
                         const server_rec *server, apr_pool_t *pool)
{
    const smartsupp_runtime_t *runtime = smartsupp_config_runtime(server);
    smartsupp_status_host_t *host;

    if (!runtime->receives &&
        !smartsupp_metrics_get(runtime->metrics, SMARTSUPP_RECEIVED)) {
        return;
    }
    host = apr_pcalloc(pool, sizeof(*host));
    host->name = name_of(server, report, pool);
    collect_metrics(host, runtime->metrics);
    collect_database(host, server, pool);
    if (runtime->spool) {
        collect_spool(host, runtime->spool, report->now, pool);
    }
    host->state = state_of(host, runtime->spool);
    host->figures[SMARTSUPP_STATUS_ACCEPTING] =
        host->state != SMARTSUPP_STATUS_REFUSED;
    APR_ARRAY_PUSH(report->hosts, const smartsupp_status_host_t *) = host;
    if (is_judged(host, runtime->receives) &&
        (!report->worst || host->state > report->worst->state)) {
        report->worst = host;
    }
}

const smartsupp_status_report_t *smartsupp_status_collect(apr_pool_t *pool)
{
    smartsupp_status_report_t *report = apr_pcalloc(pool, sizeof(*report));
    apr_array_header_t *servers =
        apr_array_make(pool, 4, sizeof(const server_rec *));
    const server_rec *server;
    const server_rec **last;

    report->now = apr_time_now();
    report->hosts =
        apr_array_make(pool, 4, sizeof(const smartsupp_status_host_t *));
    collect_host(report, ap_server_conf, pool);
    /* httpd's list has the last virtual host of the configuration first */
    for (server = ap_server_conf->next; server; server = server->next) {
        APR_ARRAY_PUSH(servers, const server_rec *) = server;
    }
    while ((last = apr_array_pop(servers)) != NULL) {
        collect_host(report, *last, pool);
    }
    return report;
}
