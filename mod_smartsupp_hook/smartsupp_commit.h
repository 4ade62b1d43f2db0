/*
 * The only threads that talk SQL for deliveries.
 *
 * No call of apr_dbd can be interrupted, so a thread that serves a request
 * never makes one. It submits its delivery to the commit room of the database
 * and table prefix, and waits with a deadline. A writer thread, started at the
 * first delivery, takes all that waits into one transaction (group commit, see
 * smartsupp_batch.h), and answers each delivery only after COMMIT. Where there
 * may be several, another is started when all are at work.
 *
 * Who waits: the thread that submitted, on a condition of its own, until the
 * writer answers or the deadline has passed. Senders of one batch wake one
 * another, while the writer goes on with the next. `capacity` is the most
 * threads that a database which hangs can hold: one more may wait for the
 * moment that a batch takes while all is well (100 ms), and is refused at once
 * where the batch in work has taken longer than that already. Deliveries from
 * the spool are not counted, and wait behind those that a sender waits for.
 *
 * Who owns: submit takes a reference of its own to the delivery; the caller
 * keeps its one. Neither thread needs the other to live: when the caller gives
 * up, the writer's reference keeps the delivery until it is done with it; it
 * goes to the sender that is to wake the caller.
 *
 * On timeout: a delivery that still waits is taken out of the queue and was
 * not stored. One that the writer has already taken may yet be committed;
 * whoever sends or replays it again is answered `duplicate`.
 *
 * A database that hangs: the delivery that has waited in vain opens the
 * breaker, which all processes share, and marks the batch in work as stuck:
 * until that one is back, deliveries that could be spooled are refused at once.
 * After `hang` the writer's connection is shut down under it, which ends the
 * call. Where that does not help within half of `hang` more (there was no
 * connection yet, or the driver tells no socket) the writer is left to itself,
 * and another takes its place; twice at most at a time.
 *
 * On shutdown: submit refuses, the writer finishes what waits, and
 * smartsupp_commit_stop returns when it has, or when its bound has passed.
 */
#ifndef SMARTSUPP_COMMIT_H
#define SMARTSUPP_COMMIT_H

#include <apr_errno.h>
#include <apr_time.h>

#include "smartsupp_batch.h"
#include "smartsupp_breaker.h"

typedef struct smartsupp_commit_config_t {
    smartsupp_batch_lender_t lender;
    smartsupp_schema_mode_e schema;
    int writers;  /* at most so many threads, 1 to 4 */
    int capacity; /* deliveries that may wait to their deadline, at least 1 */
    apr_interval_time_t hang;     /* the longest that one batch may take */
    smartsupp_breaker_t *breaker; /* outlives the room */

    /* The database has stopped working, or fails in another way than before
     * (error), or works again (NULL). Called with the lender's baton, by the
     * writer or who waited in vain; once a change, not once a delivery. */
    void (*report)(const smartsupp_sql_error_t *error, void *baton);

    /* The calling thread begins to wait in smartsupp_commit_wait (1), where it
     * may hold the room's mutex; or it has ended (0). NULL: nobody asks. */
    void (*waits)(int begins);
} smartsupp_commit_config_t;

/* What else could become of a delivery. */
typedef enum smartsupp_commit_mode_e {
    SMARTSUPP_COMMIT_PATIENT,   /* nothing: it waits, however bad it looks */
    SMARTSUPP_COMMIT_SPOOLABLE, /* it can be spooled: the breaker may refuse */
    SMARTSUPP_COMMIT_REPLAY     /* it is in the spool, nobody waits for it */
} smartsupp_commit_mode_e;

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
 *        be called exactly once for it; and at once, unless it is a replay:
 *        other senders may depend on it to be woken
 * @return APR_SUCCESS; APR_EAGAIN: the database does not look as if it would
 *         take it in time (stuck, breaker open, or the capacity is taken);
 *         APR_EOF: the room is closing; otherwise the system's error in
 *         starting the writer
 */
apr_status_t smartsupp_commit_submit(smartsupp_commit_entry_t **entry,
                                     smartsupp_commit_t *commit,
                                     smartsupp_delivery_t *delivery,
                                     smartsupp_commit_mode_e mode);

/**
 * Wait for the outcome until the deadline. The entry is gone afterwards.
 *
 * @return outcome->status: APR_SUCCESS; APR_EGENERAL: the database did not
 *         take it; APR_TIMEUP: the deadline passed; APR_EAGAIN: it was one
 *         more than the capacity, and its moment passed
 */
apr_status_t smartsupp_commit_wait(smartsupp_batch_outcome_t *outcome,
                                   smartsupp_commit_t *commit,
                                   smartsupp_commit_entry_t *entry,
                                   apr_time_t deadline);

/**
 * Whether the room's mutex is held for longer than any thread of it ever does:
 * then its holder is the caller itself, which was interrupted by a signal. From
 * a signal handler, before it waits for any thread. Takes 100 ms at most.
 */
int smartsupp_commit_is_held(smartsupp_commit_t *commit);

/**
 * Refuse new deliveries, finish those that wait and end the writers. The
 * connection of one that is not done after half of the bound, or is stuck, is
 * shut down; for one that is stuck a quarter of the bound is enough. The room
 * is freed unless someone has yet to read an answer: then it is left to the end
 * of the process.
 *
 * @return APR_SUCCESS; APR_TIMEUP: a writer was not done within the bound
 *         and was left as it is, with all that it uses
 */
apr_status_t smartsupp_commit_stop(smartsupp_commit_t *commit,
                                   apr_interval_time_t bound);

#endif
