/*
 * What the status shows, collected once from memory that all processes share,
 * so that every form tells the same; and the forms.
 *
 * What there is to show is told by two tables, of counters and of figures; a
 * form goes through them and knows only how a kind of value is written. A new
 * counter or figure is a row here.
 *
 * It serves mod_smartsupp_status alone. All of it lives in the pool that it
 * was collected with.
 */
#ifndef MOD_SMARTSUPP_STATUS_REPORT_H
#define MOD_SMARTSUPP_STATUS_REPORT_H

#include <httpd.h>
#include <apr_tables.h>

#include "smartsupp_metrics.h"

/* The figures beside the counters. */
typedef enum smartsupp_status_figure_e {
    SMARTSUPP_STATUS_ACCEPTING,

    SMARTSUPP_STATUS_DATABASE_UP,
    SMARTSUPP_STATUS_DOWN_SINCE,
    SMARTSUPP_STATUS_LAST_COMMIT,
    SMARTSUPP_STATUS_LAST_ERROR,

    SMARTSUPP_STATUS_DELIVERIES,
    SMARTSUPP_STATUS_BYTES,
    SMARTSUPP_STATUS_MAX_BYTES,
    SMARTSUPP_STATUS_OLDEST_AGE,
    SMARTSUPP_STATUS_REJECTED_DELIVERIES,
    SMARTSUPP_STATUS_REJECTED_BYTES,

    SMARTSUPP_STATUS_FIGURES
} smartsupp_status_figure_e;

/* What a figure is of. A host may have no database or no spool. */
typedef enum smartsupp_status_part_e {
    SMARTSUPP_STATUS_HOST,
    SMARTSUPP_STATUS_DATABASE,
    SMARTSUPP_STATUS_SPOOL
} smartsupp_status_part_e;

/* How a figure is written. */
typedef enum smartsupp_status_kind_e {
    SMARTSUPP_STATUS_FLAG, /* 0 or 1 */
    SMARTSUPP_STATUS_COUNT,
    SMARTSUPP_STATUS_SIZE, /* bytes */
    SMARTSUPP_STATUS_TIME, /* µs since the epoch, 0: never */
    SMARTSUPP_STATUS_AGE   /* µs */
} smartsupp_status_kind_e;

/* A row of the table of figures, in the order of smartsupp_status_figure_e. */
typedef struct smartsupp_status_figure_t {
    smartsupp_status_part_e part;
    smartsupp_status_kind_e kind;
    const char *name;  /* in JSON and, with its part, in Prometheus */
    const char *title; /* for people */
    const char *help;  /* a sentence */
} smartsupp_status_figure_t;

extern const smartsupp_status_figure_t
    smartsupp_status_figures[SMARTSUPP_STATUS_FIGURES];

/* Counters that make up a whole, told apart by a label. */
typedef struct smartsupp_status_family_t {
    const char *name;
    const char *label; /* NULL: it is one counter */
    const char *title;
    const char *help;
} smartsupp_status_family_t;

/* A row of the table of counters, in the order of smartsupp_metric_e; those of
 * one family follow each other. */
typedef struct smartsupp_status_counter_t {
    const smartsupp_status_family_t *family;
    const char *name;    /* the label's value; NULL: it has none */
    const char *meaning; /* for people */
} smartsupp_status_counter_t;

extern const smartsupp_status_counter_t
    smartsupp_status_counters[SMARTSUPP_METRICS];

/* What becomes of a delivery that comes now; the greater, the worse. */
typedef enum smartsupp_status_state_e {
    SMARTSUPP_STATUS_STORED,
    SMARTSUPP_STATUS_SPOOLED,
    SMARTSUPP_STATUS_REFUSED
} smartsupp_status_state_e;

/* One virtual host. Texts are UTF-8. */
typedef struct smartsupp_status_host_t {
    const char *name; /* www.example.com:443; no two have the same */
    smartsupp_status_state_e state;
    apr_uint64_t counters[SMARTSUPP_METRICS];
    apr_uint64_t latency[SMARTSUPP_METRICS_BOUNDS + 1]; /* cumulated */
    apr_uint64_t latency_sum;                           /* µs */
    const char *database;    /* driver and tables, or NULL: it has none */
    const char *error_class; /* of the last error, or NULL: there was none */
    const char *error_code;
    const char *spool; /* the path, or NULL: it has none */
    apr_int64_t figures[SMARTSUPP_STATUS_FIGURES];
} smartsupp_status_host_t;

typedef struct smartsupp_status_report_t {
    apr_time_t now;
    apr_array_header_t *hosts;            /* of smartsupp_status_host_t */
    const smartsupp_status_host_t *worst; /* NULL: none is shown */
} smartsupp_status_report_t;

/** Collect all that is shown, as it is now. */
const smartsupp_status_report_t *smartsupp_status_collect(apr_pool_t *pool);

/** The host at that place. */
const smartsupp_status_host_t *
smartsupp_status_host(const smartsupp_status_report_t *report, int index);

/** What is called by that name: the host, its database or its spool; NULL: it
 * has none, and the figures of that part mean nothing. */
const char *smartsupp_status_text(const smartsupp_status_host_t *host,
                                  smartsupp_status_part_e part);

/** "stored", "spooled" or "refused". */
const char *smartsupp_status_state_name(const smartsupp_status_host_t *host);

/**
 * What becomes of the host's deliveries now, and why, without a dot.
 *
 * @param host NULL: there is none
 * @param since is added where the database is down; NULL: nothing is
 */
const char *smartsupp_status_sentence(const smartsupp_status_host_t *host,
                                      const char *since, apr_pool_t *pool);

/** A figure as people read it, such as "2 min ago" behind a time; not escaped
 * for any form. */
const char *smartsupp_status_value(const smartsupp_status_report_t *report,
                                   const smartsupp_status_host_t *host,
                                   smartsupp_status_figure_e figure,
                                   apr_pool_t *pool);

/** µs as a decimal number of seconds, exactly. */
const char *smartsupp_status_seconds(apr_int64_t microseconds,
                                     apr_pool_t *pool);

/** The name of a part, as JSON and Prometheus have it; "" of a host's own. */
const char *smartsupp_status_part_name(smartsupp_status_part_e part);

/** Add to a text, of which `out` holds the pieces. */
void smartsupp_status_print(apr_array_header_t *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The forms. Each gives the whole of a body; `rows` what is added to httpd's
 * server-status, in the form that mod_status's flags ask for. */
const char *smartsupp_status_html(const smartsupp_status_report_t *report,
                                  apr_pool_t *pool);
const char *smartsupp_status_json(const smartsupp_status_report_t *report,
                                  apr_pool_t *pool);
const char *smartsupp_status_prometheus(const smartsupp_status_report_t *report,
                                        apr_pool_t *pool);
const char *smartsupp_status_rows(const smartsupp_status_report_t *report,
                                  int flags, apr_pool_t *pool);

#endif
