#include "mod_smartsupp_status_report.h"

#include <stdarg.h>
#include <string.h>

#include <apr_strings.h>

const smartsupp_status_figure_t
    smartsupp_status_figures[SMARTSUPP_STATUS_FIGURES] = {
        [SMARTSUPP_STATUS_ACCEPTING] =
            {SMARTSUPP_STATUS_HOST, SMARTSUPP_STATUS_FLAG, "accepting",
             "accepts deliveries",
             "Whether the database or the spool can take a delivery now."},
        [SMARTSUPP_STATUS_DATABASE_UP] =
            {SMARTSUPP_STATUS_DATABASE, SMARTSUPP_STATUS_FLAG, "up", "up",
             "Whether the database took what it was last given."},
        [SMARTSUPP_STATUS_DOWN_SINCE] =
            {SMARTSUPP_STATUS_DATABASE, SMARTSUPP_STATUS_TIME, "down_since",
             "down since",
             "When the database stopped taking deliveries, 0 while it is up."},
        [SMARTSUPP_STATUS_LAST_COMMIT] =
            {SMARTSUPP_STATUS_DATABASE, SMARTSUPP_STATUS_TIME, "last_commit",
             "last commit",
             "When deliveries were last committed, 0 if never yet."},
        [SMARTSUPP_STATUS_LAST_ERROR] =
            {SMARTSUPP_STATUS_DATABASE, SMARTSUPP_STATUS_TIME, "last_error",
             "last error", "When the database last failed, 0 if never yet."},
        [SMARTSUPP_STATUS_DELIVERIES] =
            {SMARTSUPP_STATUS_SPOOL, SMARTSUPP_STATUS_COUNT, "deliveries",
             "waiting", "Deliveries that wait for the database."},
        [SMARTSUPP_STATUS_BYTES] = {SMARTSUPP_STATUS_SPOOL,
                                    SMARTSUPP_STATUS_SIZE, "bytes",
                                    "size of these",
                                    "Size of the files of waiting deliveries."},
        [SMARTSUPP_STATUS_MAX_BYTES] =
            {SMARTSUPP_STATUS_SPOOL, SMARTSUPP_STATUS_SIZE, "max_bytes",
             "limit",
             "The most that the spool may hold (SmartsuppSpoolMaxSize)."},
        [SMARTSUPP_STATUS_OLDEST_AGE] =
            {SMARTSUPP_STATUS_SPOOL, SMARTSUPP_STATUS_AGE, "oldest_age",
             "the oldest waits for",
             "How long the oldest waiting delivery has waited, 0 if none "
             "waits."},
        [SMARTSUPP_STATUS_REJECTED_DELIVERIES] =
            {SMARTSUPP_STATUS_SPOOL, SMARTSUPP_STATUS_COUNT,
             "rejected_deliveries", "rejected",
             "Deliveries in rejected/, for an administrator to look at."},
        [SMARTSUPP_STATUS_REJECTED_BYTES] = {SMARTSUPP_STATUS_SPOOL,
                                             SMARTSUPP_STATUS_SIZE,
                                             "rejected_bytes", "size of these",
                                             "Size of the files in rejected/."},
};

static const smartsupp_status_family_t received = {
    "received", NULL, "received", "Deliveries whose body was read whole."};
static const smartsupp_status_family_t committed = {
    "committed", "result", "committed",
    "Deliveries answered 200, once they were committed to the database."};
static const smartsupp_status_family_t spooled = {
    "spooled", NULL, "spooled",
    "Deliveries answered 202, kept in the spool to be stored later."};
static const smartsupp_status_family_t replayed = {
    "replayed", NULL, "replayed",
    "Deliveries committed to the database from the spool."};
static const smartsupp_status_family_t rejected = {
    "rejected", "cause", "rejected",
    "Deliveries that will never be stored as they are."};
static const smartsupp_status_family_t refused = {
    "refused", "cause", "refused",
    "Requests of which nothing was kept, as their senders were told."};

const smartsupp_status_counter_t smartsupp_status_counters[SMARTSUPP_METRICS] =
    {
        [SMARTSUPP_RECEIVED] = {&received, NULL, "the body was read whole"},
        [SMARTSUPP_STORED] = {&committed, "stored", "a new conversation"},
        [SMARTSUPP_UPDATED] = {&committed, "updated",
                               "a newer version replaced the older one"},
        [SMARTSUPP_DUPLICATE] = {&committed, "duplicate",
                                 "the same bytes were stored already"},
        [SMARTSUPP_STALE] = {&committed, "stale",
                             "a newer version was stored already"},
        [SMARTSUPP_SPOOLED] = {&spooled, NULL,
                               "kept in the spool to be stored later"},
        [SMARTSUPP_REPLAYED] = {&replayed, NULL, "stored from the spool"},
        [SMARTSUPP_REJECTED_SYNTAX] = {&rejected, "syntax",
                                       "no strict JSON (400)"},
        [SMARTSUPP_REJECTED_STRUCTURE] = {&rejected, "structure",
                                          "no conversation (422)"},
        [SMARTSUPP_REJECTED_DATABASE] =
            {&rejected, "database", "the database refuses it for good (202)"},
        [SMARTSUPP_REJECTED_REPLAY] = {&rejected, "replay",
                                       "the same, of one from the spool"},
        [SMARTSUPP_REJECTED_DAMAGED] = {&rejected, "damaged",
                                        "a file of the spool was not whole"},
        [SMARTSUPP_REFUSED_SIGNATURE] = {&refused, "signature",
                                         "not signed (403)"},
        [SMARTSUPP_REFUSED_ACCOUNT] = {&refused, "account",
                                       "of another account (403)"},
        [SMARTSUPP_REFUSED_METHOD] = {&refused, "method", "not a POST (405)"},
        [SMARTSUPP_REFUSED_TIMEOUT] = {&refused, "timeout",
                                       "the body did not come in time (408)"},
        [SMARTSUPP_REFUSED_BODY] = {&refused, "body",
                                    "the body was cut off or malformed (400)"},
        [SMARTSUPP_REFUSED_TOO_LARGE] = {&refused, "too_large",
                                         "larger than SmartsuppMaxBody (413)"},
        [SMARTSUPP_REFUSED_ENCODING] =
            {&refused, "encoding", "an encoding that was not decoded (415)"},
        [SMARTSUPP_REFUSED_MEMORY] = {&refused, "memory",
                                      "out of memory (503)"},
        [SMARTSUPP_REFUSED_UNAVAILABLE] =
            {&refused, "unavailable",
             "neither database nor spool could take it (503)"},
};

const smartsupp_status_host_t *
smartsupp_status_host(const smartsupp_status_report_t *report, int index)
{
    return APR_ARRAY_IDX(report->hosts, index, const smartsupp_status_host_t *);
}

const char *smartsupp_status_text(const smartsupp_status_host_t *host,
                                  smartsupp_status_part_e part)
{
    switch (part) {
    case SMARTSUPP_STATUS_DATABASE:
        return host->database;
    case SMARTSUPP_STATUS_SPOOL:
        return host->spool;
    default:
        return host->name;
    }
}

const char *smartsupp_status_part_name(smartsupp_status_part_e part)
{
    static const char *const names[] = {
        [SMARTSUPP_STATUS_HOST] = "",
        [SMARTSUPP_STATUS_DATABASE] = "database",
        [SMARTSUPP_STATUS_SPOOL] = "spool",
    };

    return names[part];
}

const char *smartsupp_status_state_name(const smartsupp_status_host_t *host)
{
    static const char *const names[] = {
        [SMARTSUPP_STATUS_STORED] = "stored",
        [SMARTSUPP_STATUS_SPOOLED] = "spooled",
        [SMARTSUPP_STATUS_REFUSED] = "refused",
    };

    return names[host->state];
}

const char *smartsupp_status_sentence(const smartsupp_status_host_t *host,
                                      const char *since, apr_pool_t *pool)
{
    const char *reason;

    if (!host) {
        return "no server has a hook";
    }
    if (host->state == SMARTSUPP_STATUS_STORED) {
        return "deliveries are accepted and stored";
    }
    reason = !host->database ? "there is no database"
             : since
                 ? apr_pstrcat(pool, "the database is down since ", since, NULL)
                 : "the database is down";
    if (host->state == SMARTSUPP_STATUS_SPOOLED) {
        return apr_pstrcat(pool, reason, ", deliveries are spooled", NULL);
    }
    return apr_pstrcat(pool, reason,
                       host->spool ? " and the spool is full"
                                   : " and there is no spool",
                       ", deliveries are refused", NULL);
}

const char *smartsupp_status_seconds(apr_int64_t microseconds, apr_pool_t *pool)
{
    char *text = apr_psprintf(pool, "%" APR_INT64_T_FMT ".%06" APR_INT64_T_FMT,
                              microseconds / APR_USEC_PER_SEC,
                              microseconds % APR_USEC_PER_SEC);
    char *end = text + strlen(text);

    while (end[-1] == '0') {
        *--end = '\0';
    }
    if (end[-1] == '.') {
        *--end = '\0';
    }
    return text;
}

/* A duration as people say it. */
static const char *age(apr_int64_t microseconds, apr_pool_t *pool)
{
    static const struct {
        apr_int64_t seconds;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    apr_int64_t seconds = apr_time_sec(microseconds);
    size_t i = 0;

    while (i < 3 && seconds < 2 * units[i].seconds) {
        i++;
    }
    return apr_psprintf(pool, "%" APR_INT64_T_FMT " %s",
                        seconds / units[i].seconds, units[i].unit);
}

static const char *moment(apr_time_t time, apr_time_t now, apr_pool_t *pool)
{
    apr_time_exp_t utc;

    if (!time) {
        return "never";
    }
    apr_time_exp_gmt(&utc, time);
    return apr_psprintf(pool, "%04d-%02d-%02d %02d:%02d:%02d UTC (%s ago)",
                        utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                        utc.tm_hour, utc.tm_min, utc.tm_sec,
                        age(now > time ? now - time : 0, pool));
}

const char *smartsupp_status_value(const smartsupp_status_report_t *report,
                                   const smartsupp_status_host_t *host,
                                   smartsupp_status_figure_e figure,
                                   apr_pool_t *pool)
{
    apr_int64_t value = host->figures[figure];

    switch (smartsupp_status_figures[figure].kind) {
    case SMARTSUPP_STATUS_FLAG:
        return value ? "yes" : "no";
    case SMARTSUPP_STATUS_SIZE:
        return apr_psprintf(pool, "%" APR_INT64_T_FMT " bytes", value);
    case SMARTSUPP_STATUS_TIME:
        return moment(value, report->now, pool);
    case SMARTSUPP_STATUS_AGE:
        return value ? age(value, pool) : "none waits";
    default:
        return apr_psprintf(pool, "%" APR_INT64_T_FMT, value);
    }
}

void smartsupp_status_print(apr_array_header_t *out, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    APR_ARRAY_PUSH(out, const char *) =
        apr_pvsprintf(out->pool, format, arguments);
    va_end(arguments);
}
