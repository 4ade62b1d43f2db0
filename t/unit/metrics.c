/*
 * Counters and the histogram of durations.
 */
#include <apr_thread_proc.h>

#include "smartsupp_metrics.h"
#include "tap.h"

#define THREADS 4
#define ROUNDS 10000

/* The bucket that a duration alone is noted in, or -1: not in one only. */
static int bucket_of(apr_interval_time_t took)
{
    smartsupp_metrics_t metrics = {{0}, {0}, 0};
    int found = -1;
    int i;

    smartsupp_metrics_time(&metrics, took);
    for (i = 0; i <= SMARTSUPP_METRICS_BOUNDS; i++) {
        if (metrics.latency[i]) {
            found = found < 0 && metrics.latency[i] == 1 ? i : -2;
        }
    }
    return found;
}

static void test_bounds(void)
{
    int i;

    tap_is_int(smartsupp_metrics_bound(0), 1000, "the first bound is 1 ms");
    tap_is_int(smartsupp_metrics_bound(SMARTSUPP_METRICS_BOUNDS - 1), 10000000,
               "the last one is 10 s");
    for (i = 0; i < SMARTSUPP_METRICS_BOUNDS; i++) {
        apr_interval_time_t bound = smartsupp_metrics_bound(i);

        tap_is_int(bucket_of(bound), i, "a bound is in its bucket");
        tap_is_int(bucket_of(bound + 1), i + 1, "what is more, in the next");
    }
    tap_is_int(bucket_of(0), 0, "no time at all");
    tap_is_int(bucket_of(APR_INT64_C(86400000000)), SMARTSUPP_METRICS_BOUNDS,
               "a day");
}

static void test_sum(void)
{
    smartsupp_metrics_t metrics = {{0}, {0}, 0};

    smartsupp_metrics_time(&metrics, 1500);
    smartsupp_metrics_time(&metrics, 2500000);
    smartsupp_metrics_time(&metrics, -5);
    tap_is_int((long long)metrics.latency_sum, 2501500,
               "durations are summed up, a clock set back takes nothing away");
    tap_is_int((long long)metrics.latency[0], 1, "and counts as no time");
}

static void *APR_THREAD_FUNC count(apr_thread_t *thread, void *baton)
{
    int i;

    (void)thread;
    for (i = 0; i < ROUNDS; i++) {
        smartsupp_metrics_count(baton, SMARTSUPP_STORED);
        smartsupp_metrics_time(baton, 10);
    }
    return NULL;
}

static void test_threads(apr_pool_t *pool)
{
    smartsupp_metrics_t metrics = {{0}, {0}, 0};
    apr_thread_t *threads[THREADS];
    apr_status_t rv;
    int i;

    for (i = 0; i < THREADS; i++) {
        apr_thread_create(&threads[i], NULL, count, &metrics, pool);
    }
    for (i = 0; i < THREADS; i++) {
        apr_thread_join(&rv, threads[i]);
    }
    tap_is_int((long long)smartsupp_metrics_get(&metrics, SMARTSUPP_STORED),
               THREADS * ROUNDS, "threads count together");
    tap_is_int((long long)smartsupp_metrics_get(&metrics, SMARTSUPP_STALE), 0,
               "and touch no other counter");
    tap_is_int((long long)metrics.latency_sum, 10LL * THREADS * ROUNDS,
               "nor lose a duration");
}

int main(void)
{
    apr_pool_t *pool;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    test_bounds();
    test_sum();
    test_threads(pool);
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
