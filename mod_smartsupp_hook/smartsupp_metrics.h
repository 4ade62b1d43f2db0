/*
 * What has become of the deliveries of one virtual host since httpd started,
 * counted in memory that all processes share.
 *
 * Counters only grow, and are added to with the compiler's atomics; a reader
 * may see two of them a moment apart. Zeros are a host that has had none.
 */
#ifndef SMARTSUPP_METRICS_H
#define SMARTSUPP_METRICS_H

#include <apr_time.h>

typedef enum smartsupp_metric_e {
    SMARTSUPP_RECEIVED, /* POSTs whose body was read whole */

    /* committed: 200 */
    SMARTSUPP_STORED,
    SMARTSUPP_UPDATED,
    SMARTSUPP_DUPLICATE,
    SMARTSUPP_STALE,
    /* kept in the spool: 202 */
    SMARTSUPP_SPOOLED,

    /* committed from the spool, later */
    SMARTSUPP_REPLAYED,

    /* rejected: will never be stored as it is. While received, kept or not: */
    SMARTSUPP_REJECTED_SYNTAX,    /* 400 */
    SMARTSUPP_REJECTED_STRUCTURE, /* 422 */
    SMARTSUPP_REJECTED_DATABASE,  /* 202, refused by the database for good */
    SMARTSUPP_REJECTED_REPLAY,    /* the same, found in replaying */
    SMARTSUPP_REJECTED_DAMAGED,   /* a file of the spool that was not whole */

    /* refused: the sender was told so and nothing was kept */
    SMARTSUPP_REFUSED_SIGNATURE,   /* 403 */
    SMARTSUPP_REFUSED_ACCOUNT,     /* 403 */
    SMARTSUPP_REFUSED_METHOD,      /* 405 */
    SMARTSUPP_REFUSED_TIMEOUT,     /* 408 */
    SMARTSUPP_REFUSED_BODY,        /* 400: cut off, or refused by httpd */
    SMARTSUPP_REFUSED_TOO_LARGE,   /* 413 */
    SMARTSUPP_REFUSED_ENCODING,    /* 415 */
    SMARTSUPP_REFUSED_MEMORY,      /* 503 */
    SMARTSUPP_REFUSED_UNAVAILABLE, /* 503: neither database nor spool */

    SMARTSUPP_METRICS
} smartsupp_metric_e;

/* Upper bounds of the histogram's buckets, in µs; one more takes the rest. */
#define SMARTSUPP_METRICS_BOUNDS 13

typedef struct smartsupp_metrics_t {
    apr_uint64_t counters[SMARTSUPP_METRICS];
    /* from the body read to the answer 200 */
    apr_uint64_t latency[SMARTSUPP_METRICS_BOUNDS + 1]; /* not cumulated */
    apr_uint64_t latency_sum;                           /* µs */
} smartsupp_metrics_t;

/** Count one more. */
void smartsupp_metrics_count(smartsupp_metrics_t *metrics,
                             smartsupp_metric_e metric);

/** Note how long a delivery took until it was committed. */
void smartsupp_metrics_time(smartsupp_metrics_t *metrics,
                            apr_interval_time_t took);

/** Read a counter. */
apr_uint64_t smartsupp_metrics_get(const smartsupp_metrics_t *metrics,
                                   smartsupp_metric_e metric);

/** The upper bound of a bucket, in µs: 1 ms to 10 s. */
apr_interval_time_t smartsupp_metrics_bound(int bucket);

#endif
