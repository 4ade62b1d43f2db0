/*
 * A batch of deliveries into the database: together where that works
 * (smartsupp_store), one by one where it does not.
 *
 * After an error a batch of many is repeated one by one, so that one bad
 * delivery does not fail the others; a single delivery is repeated once, on
 * fresh statements and with the schema ensured anew, and then has the
 * database's error for its outcome. A commit whose answer was lost is repaired
 * by the same repetition, because storing twice is harmless. Deadlocks and
 * serialization failures are tried a few times more. An outage (nothing can be
 * stored now) fails all of the batch without trying each.
 */
#ifndef SMARTSUPP_BATCH_H
#define SMARTSUPP_BATCH_H

#include <apr_errno.h>
#include <apr_pools.h>

#include "smartsupp_delivery.h"
#include "smartsupp_schema.h"
#include "smartsupp_sql.h"
#include "smartsupp_store.h"

/* The most deliveries of one batch: enough that its fsync costs a
 * delivery next to nothing, few enough that the first one does not wait long
 * for the last. */
#define SMARTSUPP_BATCH_MAX 64

/* A connection for as short as one batch, or a part of it. */
typedef struct smartsupp_batch_loan_t {
    smartsupp_sql_t *sql;
    void *connection; /* the lender's own */
} smartsupp_batch_loan_t;

/* Where connections come from. Called by the thread that stores, and by
 * several at once where several store. */
typedef struct smartsupp_batch_lender_t {
    /* APR_SUCCESS and the loan filled, or a status and the error filled. The
     * pool outlives the loan, and is cleared after it. */
    apr_status_t (*borrow)(smartsupp_batch_loan_t *loan,
                           smartsupp_sql_error_t *error, void *baton,
                           apr_pool_t *pool);

    /* Take it back. No transaction is open on it. */
    void (*give_back)(smartsupp_batch_loan_t *loan, void *baton);

    void *baton;
} smartsupp_batch_lender_t;

/* What became of a delivery. */
typedef struct smartsupp_batch_outcome_t {
    apr_status_t status; /* APR_SUCCESS: durable, and result says how */
    smartsupp_store_result_e result;
    smartsupp_sql_error_t error; /* where status is APR_EGENERAL */
} smartsupp_batch_outcome_t;

typedef struct smartsupp_batch_t {
    smartsupp_delivery_t *deliveries[SMARTSUPP_BATCH_MAX];
    smartsupp_batch_outcome_t outcomes[SMARTSUPP_BATCH_MAX];
    int count;
} smartsupp_batch_t;

/* The thread that stores, with what it keeps from one batch to the next. */
typedef struct smartsupp_batch_worker_t {
    smartsupp_batch_lender_t lender;
    smartsupp_schema_mode_e schema;
    apr_pool_t *scratch; /* cleared by its owner after each batch */
    int schema_ready;
    int socket; /* of the connection in use, or -1: see the interrupt */
    int hurry;  /* atomic, cleared by its owner: try nothing again */
} smartsupp_batch_worker_t;

/** Store the batch and set all of its outcomes. */
void smartsupp_batch_store(smartsupp_batch_worker_t *worker,
                           smartsupp_batch_t *batch);

/**
 * Make the call to the database fail in which a worker hangs, by closing the
 * connection under it, and let it not try again. From any thread, also inside a
 * signal handler. Where the worker has no connection (it may be waiting for
 * one), or the driver has no socket to tell, the call goes on.
 */
void smartsupp_batch_interrupt(smartsupp_batch_worker_t *worker);

#endif
