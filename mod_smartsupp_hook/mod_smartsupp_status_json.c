#include "mod_smartsupp_status_report.h"

#include <apr_strings.h>

#include "smartsupp_problem.h"

static const char *quoted(const char *text, apr_pool_t *pool)
{
    return text ? smartsupp_problem_json_string(text, pool) : "null";
}

/* Counters: a number, or for a family with a label an object of numbers. */
static void put_counters(apr_array_header_t *out,
                         const smartsupp_status_host_t *host)
{
    const smartsupp_status_family_t *family = NULL;
    int i;

    for (i = 0; i < SMARTSUPP_METRICS; i++) {
        const smartsupp_status_counter_t *counter =
            &smartsupp_status_counters[i];

        if (counter->family != family) {
            smartsupp_status_print(
                out, "%s,\"%s\":%s", family && family->label ? "}" : "",
                counter->family->name, counter->family->label ? "{" : "");
        }
        else {
            smartsupp_status_print(out, ",");
        }
        if (counter->name) {
            smartsupp_status_print(out, "\"%s\":", counter->name);
        }
        smartsupp_status_print(out, "%" APR_UINT64_T_FMT, host->counters[i]);
        family = counter->family;
    }
    smartsupp_status_print(out, "%s", family && family->label ? "}" : "");
}

static void put_latency(apr_array_header_t *out,
                        const smartsupp_status_host_t *host)
{
    int i;

    smartsupp_status_print(
        out,
        ",\"commit_duration\":{\"count\":%" APR_UINT64_T_FMT
        ",\"sum_seconds\":%s,\"buckets\":[",
        host->latency[SMARTSUPP_METRICS_BOUNDS],
        smartsupp_status_seconds((apr_int64_t)host->latency_sum, out->pool));
    for (i = 0; i < SMARTSUPP_METRICS_BOUNDS; i++) {
        smartsupp_status_print(
            out, "{\"le_seconds\":%s,\"count\":%" APR_UINT64_T_FMT "},",
            smartsupp_status_seconds(smartsupp_metrics_bound(i), out->pool),
            host->latency[i]);
    }
    smartsupp_status_print(
        out, "{\"le_seconds\":null,\"count\":%" APR_UINT64_T_FMT "}]}",
        host->latency[i]);
}

static void put_figure(apr_array_header_t *out,
                       const smartsupp_status_host_t *host,
                       smartsupp_status_figure_e figure)
{
    const smartsupp_status_figure_t *row = &smartsupp_status_figures[figure];
    apr_int64_t value = host->figures[figure];

    smartsupp_status_print(out, ",\"%s%s\":", row->name,
                           row->kind == SMARTSUPP_STATUS_AGE ? "_seconds" : "");
    switch (row->kind) {
    case SMARTSUPP_STATUS_FLAG:
        smartsupp_status_print(out, "%s", value ? "true" : "false");
        break;
    case SMARTSUPP_STATUS_TIME:
        if (!value) {
            smartsupp_status_print(out, "null");
            break;
        }
        smartsupp_status_print(out, "%" APR_INT64_T_FMT,
                               (apr_int64_t)apr_time_as_msec(value));
        break;
    case SMARTSUPP_STATUS_AGE:
        smartsupp_status_print(out, "%s",
                               smartsupp_status_seconds(value, out->pool));
        break;
    default:
        smartsupp_status_print(out, "%" APR_INT64_T_FMT, value);
        break;
    }
}

static void put_figures(apr_array_header_t *out,
                        const smartsupp_status_host_t *host,
                        smartsupp_status_part_e part)
{
    int i;

    for (i = 0; i < SMARTSUPP_STATUS_FIGURES; i++) {
        if (smartsupp_status_figures[i].part == part) {
            put_figure(out, host, (smartsupp_status_figure_e)i);
        }
    }
}

static void put_database(apr_array_header_t *out,
                         const smartsupp_status_host_t *host)
{
    if (!host->database) {
        smartsupp_status_print(out, ",\"database\":null");
        return;
    }
    smartsupp_status_print(out, ",\"database\":{\"label\":%s",
                           quoted(host->database, out->pool));
    put_figures(out, host, SMARTSUPP_STATUS_DATABASE);
    smartsupp_status_print(out,
                           ",\"last_error_class\":%s,\"last_error_code\":%s}",
                           quoted(host->error_class, out->pool),
                           quoted(host->error_code, out->pool));
}

static void put_spool(apr_array_header_t *out,
                      const smartsupp_status_host_t *host)
{
    if (!host->spool) {
        smartsupp_status_print(out, ",\"spool\":null");
        return;
    }
    smartsupp_status_print(out, ",\"spool\":{\"path\":%s",
                           quoted(host->spool, out->pool));
    put_figures(out, host, SMARTSUPP_STATUS_SPOOL);
    smartsupp_status_print(out, "}");
}

static void put_host(apr_array_header_t *out,
                     const smartsupp_status_host_t *host)
{
    smartsupp_status_print(out, "{\"server\":%s,\"state\":\"%s\"",
                           quoted(host->name, out->pool),
                           smartsupp_status_state_name(host));
    put_figures(out, host, SMARTSUPP_STATUS_HOST);
    put_counters(out, host);
    put_latency(out, host);
    put_database(out, host);
    put_spool(out, host);
    smartsupp_status_print(out, "}");
}

const char *smartsupp_status_json(const smartsupp_status_report_t *report,
                                  apr_pool_t *pool)
{
    apr_array_header_t *out = apr_array_make(pool, 256, sizeof(const char *));
    int i;

    smartsupp_status_print(
        out, "{\"time\":%" APR_INT64_T_FMT ",\"state\":%s",
        (apr_int64_t)apr_time_as_msec(report->now),
        report->worst ? quoted(smartsupp_status_state_name(report->worst), pool)
                      : "null");
    smartsupp_status_print(out, ",\"servers\":[");
    for (i = 0; i < report->hosts->nelts; i++) {
        smartsupp_status_print(out, "%s", i ? ",\n" : "\n");
        put_host(out, smartsupp_status_host(report, i));
    }
    smartsupp_status_print(out, "\n]}\n");
    return apr_array_pstrcat(pool, out, 0);
}
