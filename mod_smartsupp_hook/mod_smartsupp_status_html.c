#include "mod_smartsupp_status_report.h"

#include <string.h>

#include <apr_strings.h>

/* All text goes through ap_escape_html, but for our own. Colours say nothing
 * that words do not. */

static const char head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, "
    "initial-scale=1\">\n"
    "<title>Smartsupp hook: %s</title>\n"
    "<style>\n"
    ":root { color-scheme: light dark; --line: #c8c8c8; --stored: #1b6b2f; "
    "--spooled: #8a5a00; --refused: #b00020 }\n"
    "@media (prefers-color-scheme: dark) { :root { --line: #505050; "
    "--stored: #7fd394; --spooled: #f0b849; --refused: #ff8a94 } }\n"
    "body { font: 1rem/1.5 system-ui, sans-serif; max-width: 45rem; "
    "margin: 1rem auto; padding: 0 1rem; overflow-wrap: anywhere }\n"
    ".state { border-left: .4rem solid; padding-left: .6rem }\n"
    "main > .state { font-size: 1.25rem; font-weight: bold }\n"
    ".stored { border-color: var(--stored); color: var(--stored) }\n"
    ".spooled { border-color: var(--spooled); color: var(--spooled) }\n"
    ".refused { border-color: var(--refused); color: var(--refused) }\n"
    "table { border-collapse: collapse; width: 100%%; margin: 1rem 0 }\n"
    "caption { text-align: left; font-weight: bold }\n"
    "th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem "
    ".2rem 0; text-align: left; vertical-align: top; font-weight: normal }\n"
    ".number { text-align: right; font-variant-numeric: tabular-nums; "
    "white-space: nowrap }\n"
    "</style>\n"
    "</head>\n"
    "<body>\n"
    "<main>\n";

static const char *escaped(apr_array_header_t *out, const char *text)
{
    return ap_escape_html(out->pool, text);
}

/* The sentence on a host, or on none, with the time since when. */
static const char *sentence(const smartsupp_status_report_t *report,
                            const smartsupp_status_host_t *host,
                            apr_pool_t *pool)
{
    const char *since = NULL;

    if (host && host->figures[SMARTSUPP_STATUS_DOWN_SINCE]) {
        since = smartsupp_status_value(report, host,
                                       SMARTSUPP_STATUS_DOWN_SINCE, pool);
    }
    return smartsupp_status_sentence(host, since, pool);
}

static void put_state(apr_array_header_t *out,
                      const smartsupp_status_report_t *report,
                      const smartsupp_status_host_t *host)
{
    smartsupp_status_print(out, "<p class=\"state %s\">%s</p>\n",
                           host ? smartsupp_status_state_name(host) : "",
                           escaped(out, sentence(report, host, out->pool)));
}

static void put_counters(apr_array_header_t *out,
                         const smartsupp_status_host_t *host)
{
    int i;

    smartsupp_status_print(out, "<table>\n<caption>Deliveries since httpd "
                                "started</caption>\n");
    for (i = 0; i < SMARTSUPP_METRICS; i++) {
        const smartsupp_status_counter_t *counter =
            &smartsupp_status_counters[i];

        smartsupp_status_print(out,
                               "<tr><th scope=\"row\">%s%s%s</th><td>%s</td>"
                               "<td class=\"number\">%" APR_UINT64_T_FMT
                               "</td></tr>\n",
                               counter->family->name, counter->name ? ": " : "",
                               counter->name ? counter->name : "",
                               counter->meaning, host->counters[i]);
    }
    smartsupp_status_print(out, "</table>\n");
}

/* The figures of one part, and what has no number of it. */
static void put_figures(apr_array_header_t *out,
                        const smartsupp_status_report_t *report,
                        const smartsupp_status_host_t *host,
                        smartsupp_status_part_e part)
{
    const char *name = smartsupp_status_part_name(part);
    const char *text = smartsupp_status_text(host, part);
    int i;

    if (!text) {
        smartsupp_status_print(out, "<p>There is no %s.</p>\n", name);
        return;
    }
    smartsupp_status_print(out, "<table>\n<caption>The %s: %s</caption>\n",
                           name, escaped(out, text));
    for (i = 0; i < SMARTSUPP_STATUS_FIGURES; i++) {
        const smartsupp_status_figure_t *row = &smartsupp_status_figures[i];
        const char *value = smartsupp_status_value(
            report, host, (smartsupp_status_figure_e)i, out->pool);

        if (row->part != part) {
            continue;
        }
        if (i == SMARTSUPP_STATUS_LAST_ERROR && host->error_class) {
            value = apr_pstrcat(out->pool, value, ": ", host->error_class,
                                ", code ", host->error_code, NULL);
        }
        smartsupp_status_print(
            out, "<tr><th scope=\"row\">%s</th><td>%s</td></tr>\n", row->title,
            escaped(out, value));
    }
    smartsupp_status_print(out, "</table>\n");
}

static void put_latency(apr_array_header_t *out,
                        const smartsupp_status_host_t *host)
{
    int i;

    smartsupp_status_print(
        out, "<details>\n<summary>How long commits took</summary>\n<table>\n"
             "<thead><tr><th scope=\"col\">at most</th>"
             "<th scope=\"col\" class=\"number\">deliveries</th></tr></thead>\n"
             "<tbody>\n");
    for (i = 0; i <= SMARTSUPP_METRICS_BOUNDS; i++) {
        const char *bound = "any time";

        if (i < SMARTSUPP_METRICS_BOUNDS) {
            bound = apr_pstrcat(
                out->pool,
                smartsupp_status_seconds(smartsupp_metrics_bound(i), out->pool),
                " s", NULL);
        }
        smartsupp_status_print(out,
                               "<tr><th scope=\"row\">%s</th>"
                               "<td class=\"number\">%" APR_UINT64_T_FMT
                               "</td></tr>\n",
                               bound, host->latency[i]);
    }
    smartsupp_status_print(
        out,
        "<tr><th scope=\"row\">all together</th>"
        "<td class=\"number\">%s s</td></tr>\n</tbody>\n</table>\n"
        "</details>\n",
        smartsupp_status_seconds((apr_int64_t)host->latency_sum, out->pool));
}

/* Where there are several, which of them is how, before all the figures. */
static void put_contents(apr_array_header_t *out,
                         const smartsupp_status_report_t *report)
{
    int i;

    if (report->hosts->nelts < 2) {
        return;
    }
    smartsupp_status_print(out, "<nav>\n<ul>\n");
    for (i = 0; i < report->hosts->nelts; i++) {
        const smartsupp_status_host_t *host = smartsupp_status_host(report, i);

        smartsupp_status_print(out,
                               "<li><a href=\"#server-%d\">%s</a>: %s</li>\n",
                               i, escaped(out, host->name),
                               escaped(out, sentence(report, host, out->pool)));
    }
    smartsupp_status_print(out, "</ul>\n</nav>\n");
}

const char *smartsupp_status_html(const smartsupp_status_report_t *report,
                                  apr_pool_t *pool)
{
    apr_array_header_t *out = apr_array_make(pool, 256, sizeof(const char *));
    int i;

    smartsupp_status_print(
        out, head,
        escaped(out, smartsupp_status_sentence(report->worst, NULL, pool)));
    put_state(out, report, report->worst);
    smartsupp_status_print(out, "<h1>Smartsupp hook</h1>\n");
    put_contents(out, report);
    for (i = 0; i < report->hosts->nelts; i++) {
        const smartsupp_status_host_t *host = smartsupp_status_host(report, i);

        smartsupp_status_print(out, "<section>\n<h2 id=\"server-%d\">%s</h2>\n",
                               i, escaped(out, host->name));
        put_state(out, report, host);
        put_counters(out, host);
        put_latency(out, host);
        put_figures(out, report, host, SMARTSUPP_STATUS_DATABASE);
        put_figures(out, report, host, SMARTSUPP_STATUS_SPOOL);
        smartsupp_status_print(out, "</section>\n");
    }
    smartsupp_status_print(out, "</main>\n</body>\n</html>\n");
    return apr_array_pstrcat(pool, out, 0);
}
