/*
 * The only threads that talk SQL for deliveries.
 *
 * No call of apr_dbd can be interrupted, so a thread that serves a request
 * never makes one. It submits its delivery to the commit room of the database
 * and table prefix, and waits with a deadline. One writer thread, started at
 * the first delivery, takes all that waits into one transaction (group
 * commit), and answers each delivery only after COMMIT.
 *
 * Who waits: the thread that submitted, on a condition of its own, until the
 * writer answers or the deadline has passed. `capacity` is the most threads
 * that a database which hangs can hold: one more may wait for the moment that
 * a batch takes while all is well (100 ms), and is refused at once where the
 * batch in work has taken longer than that already.
 *
 * Who owns: submit takes a reference of its own to the delivery; the caller
 * keeps its one. Neither thread needs the other to live: when the caller gives
 * up, the writer's reference keeps the delivery until it is done with it.
 *
 * On error: the transaction is rolled back. A batch of many is then repeated
 * one by one, so that one bad delivery does not fail the others; a single
 * delivery is repeated once, on fresh statements and with the schema ensured
 * anew, and then answered with the database's error. A commit whose answer was
 * lost is repaired by the same repetition, because storing twice is harmless.
 * Deadlocks and serialization failures are tried a few times more.
 * An outage (nothing can be stored now) fails all that wait without trying
 * each.
 *
 * On timeout: a delivery that still waits is taken out of the queue and was
 * not stored. One that the writer has already taken may yet be committed;
 * whoever sends or replays it again is answered `duplicate`.
 *
 * On shutdown: submit refuses, the writer finishes what waits, and
 * smartsupp_commit_stop returns when it has, or when its bound has passed.
 */
#ifndef SMARTSUPP_COMMIT_H
#define SMARTSUPP_COMMIT_H

#include <apr_errno.h>
#include <apr_pools.h>
#include <apr_time.h>

#include "smartsupp_conversation.h"
#include "smartsupp_schema.h"
#include "smartsupp_sql.h"
#include "smartsupp_store.h"

/* Where connections come from, and where news of the database goes. All of it
 * is called by the writer only. */
typedef struct smartsupp_commit_lender_t {
    /* Lend a connection, for as short as one batch. APR_SUCCESS, or a status
     * with the error filled. The pool outlives the loan, and is cleared after
     * it. */
    apr_status_t (*borrow)(smartsupp_sql_t **sql, smartsupp_sql_error_t *error,
                           void *baton, apr_pool_t *pool);

    /* Take it back. No transaction is open on it. */
    void (*give_back)(smartsupp_sql_t *sql, void *baton);

    /* The database has stopped working, or fails in another way than before
     * (error), or works again (NULL). Once a change, not once a delivery. */
    void (*report)(const smartsupp_sql_error_t *error, void *baton);

    void *baton;
} smartsupp_commit_lender_t;

typedef struct smartsupp_commit_config_t {
    smartsupp_commit_lender_t lender;
    smartsupp_schema_mode_e schema;
    int capacity; /* deliveries that may wait to their deadline, at least 1 */
} smartsupp_commit_config_t;

/* What became of a delivery. */
typedef struct smartsupp_commit_outcome_t {
    apr_status_t status; /* APR_SUCCESS: durable, and result says how */
    smartsupp_store_result_e result;
    smartsupp_sql_error_t error; /* where status is APR_EGENERAL */
} smartsupp_commit_outcome_t;

typedef struct smartsupp_commit_t smartsupp_commit_t;
typedef struct smartsupp_commit_entry_t smartsupp_commit_entry_t;

/**
 * Make the room of one database and table prefix. Starts no thread.
 *
 * @param config is copied
 * @return APR_SUCCESS, or the system's error
 */
apr_status_t smartsupp_commit_create(smartsupp_commit_t **commit,
                                     const smartsupp_commit_config_t *config);

/**
 * Queue a decoded delivery.
 *
 * @param entry its place in the queue, for smartsupp_commit_wait, which must
 *        be called exactly once for it
 * @return APR_SUCCESS; APR_EAGAIN: the capacity is taken by deliveries that
 *         the database keeps waiting; APR_EOF: the room is closing; otherwise
 *         the system's error in starting the writer
 */
apr_status_t smartsupp_commit_submit(smartsupp_commit_entry_t **entry,
                                     smartsupp_commit_t *commit,
                                     smartsupp_delivery_t *delivery);

/**
 * Wait for the outcome until the deadline. The entry is gone afterwards.
 *
 * @return outcome->status: APR_SUCCESS; APR_EGENERAL: the database did not
 *         take it; APR_TIMEUP: the deadline passed; APR_EAGAIN: it was one
 *         more than the capacity, and its moment passed
 */
apr_status_t smartsupp_commit_wait(smartsupp_commit_outcome_t *outcome,
                                   smartsupp_commit_t *commit,
                                   smartsupp_commit_entry_t *entry,
                                   apr_time_t deadline);

/**
 * Refuse new deliveries, finish those that wait and end the writer. The room
 * is freed unless someone has yet to read an answer: then it is left to the end
 * of the process.
 *
 * @return APR_SUCCESS; APR_TIMEUP: the writer was not done within the bound
 *         and was left as it is, with all that it uses
 */
apr_status_t smartsupp_commit_stop(smartsupp_commit_t *commit,
                                   apr_interval_time_t bound);

#endif
