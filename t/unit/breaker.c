/*
 * The breaker: when it opens, who may probe, what closes it. Time is told to
 * it, so that nothing here waits.
 */
#include <string.h>

#include "smartsupp_breaker.h"
#include "tap.h"

#define NOW apr_time_from_sec(1000000)
#define MS apr_time_from_msec(1)

static const smartsupp_sql_error_t refused = {
    .error_class = SMARTSUPP_SQL_TRANSIENT, .code = "08006"};

static void test_fast_failure(void)
{
    smartsupp_breaker_t breaker = {0};
    char code[SMARTSUPP_BREAKER_CODE_SIZE];

    tap_ok(smartsupp_breaker_admits(&breaker, NOW), "zeros are closed");
    smartsupp_breaker_failed(&breaker, &refused, NOW, NOW + 5 * MS);
    tap_ok(smartsupp_breaker_admits(&breaker, NOW + 6 * MS),
           "a fast failure leaves it closed");
    tap_is_int(breaker.down_since, NOW, "but the database is down since");
    smartsupp_breaker_code(code, &breaker);
    tap_is(code, "08006", "for a reason");
    smartsupp_breaker_failed(&breaker, &refused, NOW + 90 * MS, NOW + 95 * MS);
    tap_is_int(breaker.down_since, NOW, "since the first failure");
    smartsupp_breaker_closed(&breaker, NOW + 100 * MS);
    tap_is_int(breaker.down_since, 0, "until a commit");
    tap_is_int(breaker.last_commit, NOW + 100 * MS, "which is noted");
}

static void test_slow_failure(void)
{
    smartsupp_breaker_t breaker = {0};
    apr_time_t failed = NOW + 500 * MS;

    smartsupp_breaker_failed(&breaker, &refused, NOW, failed);
    tap_ok(!smartsupp_breaker_admits(&breaker, failed), "a slow one opens it");
    tap_ok(!smartsupp_breaker_admits(&breaker, failed + 4999 * MS),
           "for ten times as long");
    tap_ok(smartsupp_breaker_admits(&breaker, failed + 5000 * MS),
           "then one may probe");
    tap_ok(!smartsupp_breaker_admits(&breaker, failed + 5001 * MS),
           "and no other");
    tap_ok(smartsupp_breaker_admits(&breaker, failed + 15001 * MS),
           "unless the probe is never heard of again");
    smartsupp_breaker_failed(&breaker, &refused, NOW, NOW + 60000 * MS);
    tap_ok(!smartsupp_breaker_admits(&breaker, NOW + 69999 * MS) &&
               smartsupp_breaker_admits(&breaker, NOW + 70000 * MS),
           "ten seconds are the longest pause");
    smartsupp_breaker_closed(&breaker, NOW + 70001 * MS);
    tap_ok(smartsupp_breaker_admits(&breaker, NOW + 70002 * MS) &&
               smartsupp_breaker_admits(&breaker, NOW + 70002 * MS),
           "a commit closes it");
}

static void test_late_failure(void)
{
    smartsupp_breaker_t breaker = {0};

    smartsupp_breaker_closed(&breaker, NOW + 50 * MS);
    smartsupp_breaker_failed(&breaker, &refused, NOW, NOW + 9000 * MS);
    tap_ok(smartsupp_breaker_admits(&breaker, NOW + 9001 * MS) &&
               breaker.down_since == 0,
           "who was slower than a commit of another blames nobody");
}

int main(void)
{
    test_fast_failure();
    test_slow_failure();
    test_late_failure();
    return tap_done();
}
