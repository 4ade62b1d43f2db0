#include "mod_smartsupp_status_report.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <mod_status.h>

/* "last_commit" as mod_status writes its keys, "LastCommit". */
static const char *key_of(const char *name, apr_pool_t *pool)
{
    char *key = apr_pstrdup(pool, name);
    char *to = key;
    int begins = 1;

    for (; *name; name++) {
        if (*name == '_') {
            begins = 1;
            continue;
        }
        *to++ = (char)(begins ? apr_toupper(*name) : *name);
        begins = 0;
    }
    *to = '\0';
    return key;
}

/* A line of ?auto. Texts hold no control character, and so are one line. */
static void put_line(apr_array_header_t *out, int host, const char *key,
                     const char *value)
{
    smartsupp_status_print(out, "Smartsupp[%d]%s: %s\n", host, key, value);
}

static void put_figure_line(apr_array_header_t *out,
                            const smartsupp_status_report_t *report, int index,
                            smartsupp_status_figure_e figure)
{
    const smartsupp_status_host_t *host = smartsupp_status_host(report, index);
    const smartsupp_status_figure_t *row = &smartsupp_status_figures[figure];
    const char *key = apr_pstrcat(
        out->pool, key_of(smartsupp_status_part_name(row->part), out->pool),
        key_of(row->name, out->pool), NULL);
    apr_int64_t value = host->figures[figure];

    if (row->kind == SMARTSUPP_STATUS_TIME ||
        row->kind == SMARTSUPP_STATUS_AGE) {
        put_line(out, index, key, smartsupp_status_seconds(value, out->pool));
    }
    else {
        put_line(out, index, key,
                 apr_psprintf(out->pool, "%" APR_INT64_T_FMT, value));
    }
}

static void put_lines(apr_array_header_t *out,
                      const smartsupp_status_report_t *report, int index)
{
    const smartsupp_status_host_t *host = smartsupp_status_host(report, index);
    int i;

    put_line(out, index, "Server", host->name);
    put_line(out, index, "State", smartsupp_status_state_name(host));
    for (i = 0; i < SMARTSUPP_METRICS; i++) {
        const smartsupp_status_counter_t *counter =
            &smartsupp_status_counters[i];
        const char *key =
            key_of(apr_pstrcat(out->pool, counter->family->name, "_",
                               counter->name ? counter->name : "", NULL),
                   out->pool);

        put_line(
            out, index, key,
            apr_psprintf(out->pool, "%" APR_UINT64_T_FMT, host->counters[i]));
    }
    for (i = 0; i < SMARTSUPP_STATUS_FIGURES; i++) {
        if (smartsupp_status_text(host, smartsupp_status_figures[i].part)) {
            put_figure_line(out, report, index, (smartsupp_status_figure_e)i);
        }
    }
}

/* The sum of a family's counters. */
static apr_uint64_t sum_of(const smartsupp_status_host_t *host,
                           const smartsupp_status_family_t *family)
{
    apr_uint64_t sum = 0;
    int i;

    for (i = 0; i < SMARTSUPP_METRICS; i++) {
        if (smartsupp_status_counters[i].family == family) {
            sum += host->counters[i];
        }
    }
    return sum;
}

/* The families' titles, or one host's sums of them, between two texts. */
static void put_families(apr_array_header_t *out,
                         const smartsupp_status_host_t *host,
                         const char *before, const char *after)
{
    int i;

    for (i = 0; i < SMARTSUPP_METRICS; i++) {
        const smartsupp_status_family_t *family =
            smartsupp_status_counters[i].family;

        if (i && smartsupp_status_counters[i - 1].family == family) {
            continue;
        }
        if (host) {
            smartsupp_status_print(out, "%s%" APR_UINT64_T_FMT "%s", before,
                                   sum_of(host, family), after);
        }
        else {
            smartsupp_status_print(out, "%s%s%s", before, family->name, after);
        }
    }
}

static void put_table(apr_array_header_t *out,
                      const smartsupp_status_report_t *report)
{
    int i;

    smartsupp_status_print(out, "<table border=\"0\">\n<tr><th>Server</th>");
    put_families(out, NULL, "<th>", "</th>");
    smartsupp_status_print(out, "<th>waiting</th><th>State</th></tr>\n");
    for (i = 0; i < report->hosts->nelts; i++) {
        const smartsupp_status_host_t *host = smartsupp_status_host(report, i);

        smartsupp_status_print(out, "<tr><td>%s</td>",
                               ap_escape_html(out->pool, host->name));
        put_families(out, host, "<td>", "</td>");
        smartsupp_status_print(
            out, "<td>%" APR_INT64_T_FMT "</td><td>%s</td></tr>\n",
            host->figures[SMARTSUPP_STATUS_DELIVERIES],
            smartsupp_status_sentence(host, NULL, out->pool));
    }
    smartsupp_status_print(out, "</table>\n");
}

/* For browsers without tables. */
static void put_list(apr_array_header_t *out,
                     const smartsupp_status_report_t *report)
{
    int i;

    smartsupp_status_print(out, "<dl>\n");
    for (i = 0; i < report->hosts->nelts; i++) {
        const smartsupp_status_host_t *host = smartsupp_status_host(report, i);
        int metric;

        smartsupp_status_print(
            out, "<dt>%s: %s</dt>\n", ap_escape_html(out->pool, host->name),
            smartsupp_status_sentence(host, NULL, out->pool));
        smartsupp_status_print(out, "<dd>");
        for (metric = 0; metric < SMARTSUPP_METRICS; metric++) {
            const smartsupp_status_family_t *family =
                smartsupp_status_counters[metric].family;

            if (metric &&
                smartsupp_status_counters[metric - 1].family == family) {
                continue;
            }
            smartsupp_status_print(out, "%s %" APR_UINT64_T_FMT ", ",
                                   family->name, sum_of(host, family));
        }
        smartsupp_status_print(out, "waiting %" APR_INT64_T_FMT "</dd>\n",
                               host->figures[SMARTSUPP_STATUS_DELIVERIES]);
    }
    smartsupp_status_print(out, "</dl>\n");
}

const char *smartsupp_status_rows(const smartsupp_status_report_t *report,
                                  int flags, apr_pool_t *pool)
{
    apr_array_header_t *out = apr_array_make(pool, 256, sizeof(const char *));
    int i;

    if (flags & AP_STATUS_SHORT) {
        for (i = 0; i < report->hosts->nelts; i++) {
            put_lines(out, report, i);
        }
        return apr_array_pstrcat(pool, out, 0);
    }
    smartsupp_status_print(out, "<hr />\n<h1>Smartsupp hook</h1>\n");
    if (flags & AP_STATUS_NOTABLE) {
        put_list(out, report);
    }
    else {
        put_table(out, report);
    }
    return apr_array_pstrcat(pool, out, 0);
}
