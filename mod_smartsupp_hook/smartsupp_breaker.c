#include "smartsupp_breaker.h"

#include <string.h>

/* A failure that took longer than this was slow. */
#define SLOW apr_time_from_msec(100)

/* How many times as long as the failure the pause after it is, and its bound.
 */
#define PAUSE_FACTOR 10
#define PAUSE_MAX apr_time_from_sec(10)

static apr_int64_t get(const apr_int64_t *member)
{
    return __atomic_load_n(member, __ATOMIC_RELAXED);
}

static void set(apr_int64_t *member, apr_int64_t value)
{
    __atomic_store_n(member, value, __ATOMIC_RELAXED);
}

int smartsupp_breaker_admits(smartsupp_breaker_t *breaker, apr_time_t now)
{
    apr_int64_t due = get(&breaker->next_probe);

    if (due == 0) {
        return 1;
    }
    /* a probe that is never heard of again is followed by another */
    return due <= now && __atomic_compare_exchange_n(
                             &breaker->next_probe, &due, now + PAUSE_MAX, 0,
                             __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void smartsupp_breaker_code(char code[SMARTSUPP_BREAKER_CODE_SIZE],
                            const smartsupp_breaker_t *breaker)
{
    apr_uint64_t packed =
        __atomic_load_n(&breaker->last_code, __ATOMIC_RELAXED);

    memcpy(code, &packed, sizeof(packed));
    code[sizeof(packed)] = '\0';
}

void smartsupp_breaker_closed(smartsupp_breaker_t *breaker, apr_time_t now)
{
    set(&breaker->last_commit, now);
    set(&breaker->down_since, 0);
    set(&breaker->next_probe, 0);
}

void smartsupp_breaker_failed(smartsupp_breaker_t *breaker,
                              const smartsupp_sql_error_t *error,
                              apr_time_t since, apr_time_t now)
{
    apr_interval_time_t pause = (now - since) * PAUSE_FACTOR;
    apr_uint64_t packed = 0;

    if (get(&breaker->last_commit) > since) {
        return;
    }
    memcpy(&packed, error->code, strnlen(error->code, sizeof(packed)));
    __atomic_store_n(&breaker->last_code, packed, __ATOMIC_RELAXED);
    __atomic_store_n(&breaker->last_class, (apr_uint32_t)error->error_class,
                     __ATOMIC_RELAXED);
    set(&breaker->last_error, now);
    if (get(&breaker->down_since) == 0) {
        set(&breaker->down_since, since);
    }
    set(&breaker->next_probe,
        now - since < SLOW ? 0 : now + (pause < PAUSE_MAX ? pause : PAUSE_MAX));
}
