/*
 * What all processes know together of one database: whether it is up, since
 * when not, and when one of them should try it again.
 *
 * The breaker opens when a failure was slow: the next delivery would only wait
 * as long. While it is open, one delivery at a time is let through to probe,
 * after a pause of ten times what the failure took, 10 s at most, so that a
 * database that hangs costs no more than a tenth of the time. A fast failure (a
 * refused connection, say) leaves it closed: each delivery is its own probe.
 * Any commit closes it.
 *
 * The struct lies in shared memory; zeros are a database that nothing is known
 * of, which is taken for up. Every member is read and written atomically and by
 * itself; nothing waits, and a process may die at any point of it.
 */
#ifndef SMARTSUPP_BREAKER_H
#define SMARTSUPP_BREAKER_H

#include <apr_time.h>

#include "smartsupp_sql.h"

/* A code and its NUL. */
#define SMARTSUPP_BREAKER_CODE_SIZE 9

typedef struct smartsupp_breaker_t {
    apr_int64_t last_commit; /* µs since the epoch, 0: none yet */
    apr_int64_t down_since;  /* µs since the epoch, 0: up */
    apr_int64_t next_probe;  /* µs since the epoch, 0: closed */
    apr_int64_t last_error;  /* µs since the epoch, 0: none yet */
    apr_uint64_t last_code;  /* of that error: see smartsupp_breaker_code */
    apr_uint32_t last_class; /* and its smartsupp_sql_class_e */
} smartsupp_breaker_t;

/**
 * Whether a delivery should be sent to the database now. Where the breaker is
 * open and a probe is due, the first caller gets it, and becomes the probe.
 */
int smartsupp_breaker_admits(smartsupp_breaker_t *breaker, apr_time_t now);

/** The code of the last error as text. */
void smartsupp_breaker_code(char code[SMARTSUPP_BREAKER_CODE_SIZE],
                            const smartsupp_breaker_t *breaker);

/** A transaction was committed. */
void smartsupp_breaker_closed(smartsupp_breaker_t *breaker, apr_time_t now);

/**
 * The database could not take what was begun at `since`. Where another process
 * has committed since then, it is not the database that is to blame, and the
 * breaker stays as it is.
 */
void smartsupp_breaker_failed(smartsupp_breaker_t *breaker,
                              const smartsupp_sql_error_t *error,
                              apr_time_t since, apr_time_t now);

#endif
