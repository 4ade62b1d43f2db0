/*
 * The few lines of TAP that the unit tests print.
 */
#ifndef SMARTSUPP_TAP_H
#define SMARTSUPP_TAP_H

#include <stdio.h>
#include <string.h>

static int tap_tests;
static int tap_failures;

/* One test: ok is what must hold, name says it in words. */
static int tap_ok(int ok, const char *name)
{
    printf("%sok %d - %s\n", ok ? "" : "not ", ++tap_tests, name);
    fflush(stdout);
    tap_failures += !ok;
    return ok;
}

/* One test: the two strings are equal (both may be NULL). */
static inline int tap_is(const char *got, const char *expected,
                         const char *name)
{
    int ok = got && expected ? !strcmp(got, expected) : got == expected;

    if (!tap_ok(ok, name)) {
        printf("#      got: %s\n# expected: %s\n", got ? got : "(null)",
               expected ? expected : "(null)");
    }
    return ok;
}

/* One test: the two integers are equal. */
static inline int tap_is_int(long long got, long long expected,
                             const char *name)
{
    if (!tap_ok(got == expected, name)) {
        printf("#      got: %lld\n# expected: %lld\n", got, expected);
        return 0;
    }
    return 1;
}

/* The plan, last: main returns what this returns. */
static int tap_done(void)
{
    printf("1..%d\n", tap_tests);
    return tap_failures ? 1 : 0;
}

#endif
