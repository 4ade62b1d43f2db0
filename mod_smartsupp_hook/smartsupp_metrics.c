#include "smartsupp_metrics.h"

static const apr_interval_time_t bounds[SMARTSUPP_METRICS_BOUNDS] = {
    1000,   2500,   5000,    10000,   25000,   50000,   100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000};

/* No counter says anything of another one, so nothing has to be ordered. */
static void add(apr_uint64_t *counter, apr_uint64_t more)
{
    __atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

void smartsupp_metrics_count(smartsupp_metrics_t *metrics,
                             smartsupp_metric_e metric)
{
    add(&metrics->counters[metric], 1);
}

void smartsupp_metrics_time(smartsupp_metrics_t *metrics,
                            apr_interval_time_t took)
{
    int bucket = 0;

    if (took < 0) { /* the clock was set back meanwhile */
        took = 0;
    }
    while (bucket < SMARTSUPP_METRICS_BOUNDS && took > bounds[bucket]) {
        bucket++;
    }
    add(&metrics->latency[bucket], 1);
    add(&metrics->latency_sum, (apr_uint64_t)took);
}

apr_uint64_t smartsupp_metrics_get(const smartsupp_metrics_t *metrics,
                                   smartsupp_metric_e metric)
{
    return __atomic_load_n(&metrics->counters[metric], __ATOMIC_RELAXED);
}

apr_interval_time_t smartsupp_metrics_bound(int bucket)
{
    return bounds[bucket];
}
