#include "smartsupp_batch.h"

#include <unistd.h>
#include <sys/socket.h>

#include <apr_time.h>

/* How often a conflict with another transaction is tried in all, and how far
 * apart at most two of these begin again, in µs for each try before. */
#define CONFLICT_TRIES 6
#define CONFLICT_JITTER 8000

/* A part of a batch: what is stored together. */
typedef struct span_t {
    smartsupp_delivery_t *const *deliveries;
    smartsupp_batch_outcome_t *outcomes;
    int count;
} span_t;

/* Whoever takes the socket out of its place closes it. */
static int take_socket(smartsupp_batch_worker_t *worker)
{
    return __atomic_exchange_n(&worker->socket, -1, __ATOMIC_ACQ_REL);
}

void smartsupp_batch_interrupt(smartsupp_batch_worker_t *worker)
{
    int socket = take_socket(worker);

    __atomic_store_n(&worker->hurry, 1, __ATOMIC_RELAXED);
    if (socket >= 0) {
        (void)shutdown(socket, SHUT_RDWR);
        (void)close(socket);
    }
}

static apr_status_t borrow(smartsupp_batch_loan_t *loan,
                           smartsupp_sql_error_t *error,
                           smartsupp_batch_worker_t *worker)
{
    apr_status_t rv = worker->lender.borrow(loan, error, worker->lender.baton,
                                            worker->scratch);

    if (rv == APR_SUCCESS) {
        __atomic_store_n(&worker->socket, smartsupp_sql_socket(loan->sql),
                         __ATOMIC_RELEASE);
    }
    return rv;
}

static void give_back(smartsupp_batch_loan_t *loan,
                      smartsupp_batch_worker_t *worker)
{
    int socket = take_socket(worker);

    if (socket >= 0) {
        (void)close(socket);
    }
    worker->lender.give_back(loan, worker->lender.baton);
}

/*
 * The unit of work on a lent connection: tables that fit, then the rows. What
 * the drivers register on the pool is released before this returns: the next
 * loan may close this connection.
 */
static apr_status_t work_on(smartsupp_store_result_e *results,
                            smartsupp_batch_worker_t *worker,
                            smartsupp_sql_t *sql, const span_t *span)
{
    apr_pool_t *pool;
    apr_status_t rv = apr_pool_create(&pool, worker->scratch);

    if (rv != APR_SUCCESS) {
        return smartsupp_sql_fail(sql, SMARTSUPP_SQL_TRANSIENT,
                                  "out of memory");
    }
    apr_pool_tag(pool, "smartsupp_batch_work");
    if (!worker->schema_ready) {
        rv = smartsupp_schema_ensure(sql, worker->schema, pool);
        worker->schema_ready = rv == APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = smartsupp_store(results, sql, span->deliveries, span->count, pool);
    }
    if (rv != APR_SUCCESS &&
        smartsupp_sql_error(sql)->error_class == SMARTSUPP_SQL_STALE) {
        /* tables or statements were changed under our feet */
        smartsupp_sql_forget(sql);
        worker->schema_ready = 0;
    }
    apr_pool_destroy(pool);
    return rv;
}

/* Try to store the span, and set its outcomes: the same status for all. */
static apr_status_t attempt(smartsupp_batch_worker_t *worker,
                            const span_t *span)
{
    smartsupp_store_result_e results[SMARTSUPP_BATCH_MAX] = {0};
    smartsupp_sql_error_t error = {.error_class = SMARTSUPP_SQL_TRANSIENT,
                                   .code = SMARTSUPP_SQL_NO_CODE};
    smartsupp_batch_loan_t loan = {0};
    apr_status_t rv = borrow(&loan, &error, worker);
    int i;

    if (rv == APR_SUCCESS) {
        rv = work_on(results, worker, loan.sql, span);
        if (rv != APR_SUCCESS) {
            error = *smartsupp_sql_error(loan.sql);
        }
        give_back(&loan, worker);
    }
    for (i = 0; i < span->count; i++) {
        span->outcomes[i].status =
            rv == APR_SUCCESS ? APR_SUCCESS : APR_EGENERAL;
        if (rv == APR_SUCCESS) {
            span->outcomes[i].result = results[i];
        }
        else {
            span->outcomes[i].error = error;
        }
    }
    return span->outcomes[0].status;
}

/* Whether storing the span again, for the nth time, can help: once for most
 * failures, but not for a refusal that must be told apart one by one first; a
 * few times where another transaction was in the way, and was told the same. */
static int is_worth_another(const span_t *span, int tries)
{
    switch (span->outcomes[0].error.error_class) {
    case SMARTSUPP_SQL_CONFLICT:
        if (tries < CONFLICT_TRIES) {
            /* not all at the same moment again */
            apr_sleep(tries * (1000 + apr_time_now() % CONFLICT_JITTER));
        }
        return tries < CONFLICT_TRIES;
    case SMARTSUPP_SQL_PERMANENT:
        return tries < 2 && span->count == 1;
    default:
        return tries < 2;
    }
}

static apr_status_t persist(smartsupp_batch_worker_t *worker,
                            const span_t *span)
{
    apr_status_t rv;
    int tries = 0;

    do {
        rv = attempt(worker, span);
        tries++;
    } while (rv != APR_SUCCESS &&
             !__atomic_load_n(&worker->hurry, __ATOMIC_RELAXED) &&
             is_worth_another(span, tries));
    return rv;
}

/* One by one, after the batch as a whole has failed. Stops at an outage: it
 * would fail the rest as well, each after its own wait. */
static void persist_singly(smartsupp_batch_worker_t *worker,
                           smartsupp_batch_t *batch)
{
    int i;

    for (i = 0; i < batch->count; i++) {
        span_t single = {&batch->deliveries[i], &batch->outcomes[i], 1};

        if (persist(worker, &single) != APR_SUCCESS &&
            single.outcomes->error.error_class == SMARTSUPP_SQL_TRANSIENT) {
            while (++i < batch->count) {
                batch->outcomes[i] = *single.outcomes;
            }
        }
    }
}

void smartsupp_batch_store(smartsupp_batch_worker_t *worker,
                           smartsupp_batch_t *batch)
{
    span_t span = {batch->deliveries, batch->outcomes, batch->count};

    if (persist(worker, &span) != APR_SUCCESS && batch->count > 1 &&
        batch->outcomes[0].error.error_class != SMARTSUPP_SQL_TRANSIENT) {
        persist_singly(worker, batch);
    }
}
