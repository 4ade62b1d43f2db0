#include "mod_smartsupp_status_report.h"

#include <string.h>

#include <apr_strings.h>

/* The text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats):
 * all series of a family follow its HELP and TYPE, so each family goes through
 * the hosts. */

#define PREFIX "smartsupp_"

/* A label's value: \, " and newline are escaped. */
static const char *escaped(const char *text, apr_pool_t *pool)
{
    char *copy = apr_palloc(pool, 2 * strlen(text) + 1);
    char *to = copy;

    for (; *text; text++) {
        if (strchr("\\\"\n", *text)) {
            *to++ = '\\';
        }
        *to++ = (char)(*text == '\n' ? 'n' : *text);
    }
    *to = '\0';
    return copy;
}

static void put_head(apr_array_header_t *out, const char *name,
                     const char *type, const char *help)
{
    smartsupp_status_print(out,
                           "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n",
                           name, help, name, type);
}

/* A series up to its value; `more` are its further labels, or "". */
static void put_series(apr_array_header_t *out, const char *name,
                       const smartsupp_status_host_t *host, const char *more)
{
    smartsupp_status_print(out, PREFIX "%s{server=\"%s\"%s} ", name,
                           escaped(host->name, out->pool), more);
}

/* Whether any host has that part: a family has no head without a series. */
static int is_anywhere(const smartsupp_status_report_t *report,
                       smartsupp_status_part_e part)
{
    int i;

    for (i = 0; i < report->hosts->nelts; i++) {
        if (smartsupp_status_text(smartsupp_status_host(report, i), part)) {
            return 1;
        }
    }
    return 0;
}

static void put_counter(apr_array_header_t *out,
                        const smartsupp_status_report_t *report, int metric)
{
    const smartsupp_status_counter_t *counter =
        &smartsupp_status_counters[metric];
    const char *name =
        apr_pstrcat(out->pool, counter->family->name, "_total", NULL);
    const char *label = "";
    int i;

    if (!metric || counter[-1].family != counter->family) {
        put_head(out, name, "counter", counter->family->help);
    }
    if (counter->name) {
        label = apr_psprintf(out->pool, ",%s=\"%s\"", counter->family->label,
                             counter->name);
    }
    for (i = 0; i < report->hosts->nelts; i++) {
        const smartsupp_status_host_t *host = smartsupp_status_host(report, i);

        put_series(out, name, host, label);
        smartsupp_status_print(out, "%" APR_UINT64_T_FMT "\n",
                               host->counters[metric]);
    }
}

static void put_histogram(apr_array_header_t *out, const char *name,
                          const smartsupp_status_host_t *host)
{
    const char *buckets = apr_pstrcat(out->pool, name, "_bucket", NULL);
    int i;

    for (i = 0; i <= SMARTSUPP_METRICS_BOUNDS; i++) {
        const char *bound = i < SMARTSUPP_METRICS_BOUNDS
                                ? smartsupp_status_seconds(
                                      smartsupp_metrics_bound(i), out->pool)
                                : "+Inf";

        put_series(out, buckets, host,
                   apr_psprintf(out->pool, ",le=\"%s\"", bound));
        smartsupp_status_print(out, "%" APR_UINT64_T_FMT "\n",
                               host->latency[i]);
    }
    put_series(out, apr_pstrcat(out->pool, name, "_sum", NULL), host, "");
    smartsupp_status_print(
        out, "%s\n",
        smartsupp_status_seconds((apr_int64_t)host->latency_sum, out->pool));
    put_series(out, apr_pstrcat(out->pool, name, "_count", NULL), host, "");
    smartsupp_status_print(out, "%" APR_UINT64_T_FMT "\n",
                           host->latency[SMARTSUPP_METRICS_BOUNDS]);
}

static void put_latency(apr_array_header_t *out,
                        const smartsupp_status_report_t *report)
{
    static const char name[] = "commit_duration_seconds";
    int i;

    put_head(out, name, "histogram",
             "How long deliveries answered 200 took, from the body read to the "
             "answer.");
    for (i = 0; i < report->hosts->nelts; i++) {
        put_histogram(out, name, smartsupp_status_host(report, i));
    }
}

/* The name of a figure's family, with its part before and its unit behind. */
static const char *family_name(const smartsupp_status_figure_t *row,
                               apr_pool_t *pool)
{
    const char *part = smartsupp_status_part_name(row->part);
    const char *unit = row->kind == SMARTSUPP_STATUS_TIME ? "_timestamp_seconds"
                       : row->kind == SMARTSUPP_STATUS_AGE ? "_seconds"
                                                           : "";

    return apr_pstrcat(pool, part, *part ? "_" : "", row->name, unit, NULL);
}

static void put_figure(apr_array_header_t *out,
                       const smartsupp_status_report_t *report, int figure)
{
    const smartsupp_status_figure_t *row = &smartsupp_status_figures[figure];
    const char *name = family_name(row, out->pool);
    int in_seconds =
        row->kind == SMARTSUPP_STATUS_TIME || row->kind == SMARTSUPP_STATUS_AGE;
    int i;

    if (!is_anywhere(report, row->part)) {
        return;
    }
    put_head(out, name, "gauge", row->help);
    for (i = 0; i < report->hosts->nelts; i++) {
        const smartsupp_status_host_t *host = smartsupp_status_host(report, i);
        apr_int64_t value = host->figures[figure];

        if (!smartsupp_status_text(host, row->part)) {
            continue;
        }
        put_series(out, name, host, "");
        smartsupp_status_print(
            out, "%s\n",
            in_seconds ? smartsupp_status_seconds(value, out->pool)
                       : apr_psprintf(out->pool, "%" APR_INT64_T_FMT, value));
    }
}

/* What is no number stands in a label of a series that is always 1. */
static void put_info(apr_array_header_t *out,
                     const smartsupp_status_report_t *report,
                     smartsupp_status_part_e part, const char *label)
{
    const char *name =
        apr_pstrcat(out->pool, smartsupp_status_part_name(part), "_info", NULL);
    int i;

    if (!is_anywhere(report, part)) {
        return;
    }
    put_head(out, name, "gauge",
             apr_pstrcat(out->pool, "The ", smartsupp_status_part_name(part),
                         " of the server, as a label.", NULL));
    for (i = 0; i < report->hosts->nelts; i++) {
        const smartsupp_status_host_t *host = smartsupp_status_host(report, i);
        const char *text = smartsupp_status_text(host, part);

        if (text) {
            put_series(out, name, host,
                       apr_psprintf(out->pool, ",%s=\"%s\"", label,
                                    escaped(text, out->pool)));
            smartsupp_status_print(out, "1\n");
        }
    }
}

const char *smartsupp_status_prometheus(const smartsupp_status_report_t *report,
                                        apr_pool_t *pool)
{
    apr_array_header_t *out = apr_array_make(pool, 256, sizeof(const char *));
    int i;

    if (!is_anywhere(report, SMARTSUPP_STATUS_HOST)) {
        return "";
    }
    for (i = 0; i < SMARTSUPP_METRICS; i++) {
        put_counter(out, report, i);
    }
    put_latency(out, report);
    for (i = 0; i < SMARTSUPP_STATUS_FIGURES; i++) {
        put_figure(out, report, i);
    }
    put_info(out, report, SMARTSUPP_STATUS_DATABASE, "database");
    put_info(out, report, SMARTSUPP_STATUS_SPOOL, "path");
    return apr_array_pstrcat(pool, out, 0);
}
