/*
 * The inside of the commit room, for smartsupp_commit.c (those who submit and
 * wait) and this room (the thread that stores). A writer takes what waits, in
 * batches, hands out the outcomes, and tells what they show of the database.
 *
 * All of it is under the room's mutex, unless it says otherwise.
 */
#ifndef SMARTSUPP_WRITER_H
#define SMARTSUPP_WRITER_H

#include <apr_ring.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "smartsupp_commit.h"

/* The most writers of a room, and of those that are left to themselves. */
#define SMARTSUPP_WRITERS_MAX 4
#define SMARTSUPP_WRITERS_LEFT 2

typedef enum smartsupp_commit_state_e {
    SMARTSUPP_COMMIT_WAITING, /* in the queue */
    SMARTSUPP_COMMIT_TAKEN,   /* in the writer's batch */
    SMARTSUPP_COMMIT_LEFT,    /* likewise, but nobody waits for it any more */
    SMARTSUPP_COMMIT_DONE     /* outcome is set */
} smartsupp_commit_state_e;

/* How many senders each one wakes in turn. */
#define SMARTSUPP_COMMIT_WAKES 2

/* Lives in the delivery's pool. Under the room's mutex until it is done, but
 * for what submit has set for good. */
struct smartsupp_commit_entry_t {
    APR_RING_ENTRY(smartsupp_commit_entry_t) link;
    smartsupp_delivery_t *delivery;
    apr_thread_cond_t *done;
    apr_time_t since; /* when it was submitted */
    smartsupp_commit_state_e state;
    smartsupp_commit_mode_e mode;
    int over; /* was one more than the capacity when it came */
    /* others that are done, for whoever waits for this one to wake; or NULL */
    smartsupp_commit_entry_t *wakes[SMARTSUPP_COMMIT_WAKES];
    smartsupp_batch_outcome_t outcome;
};

APR_RING_HEAD(smartsupp_commit_ring_t, smartsupp_commit_entry_t);

/* A writer thread. */
typedef struct smartsupp_writer_t {
    smartsupp_commit_t *commit;
    apr_pool_t *pool;
    apr_thread_t *thread;

    /* under the room's mutex */
    apr_time_t since; /* when the batch in work was taken; 0: none is */
    int stuck;        /* a delivery has waited in vain for that batch */
    int interrupted;  /* and its connection was shut down */
    int left;         /* to itself: another has taken its place */
    int done;

    /* its own */
    smartsupp_batch_worker_t worker;
    smartsupp_batch_t batch;
    smartsupp_commit_entry_t *entries[SMARTSUPP_BATCH_MAX];
} smartsupp_writer_t;

struct smartsupp_commit_t {
    smartsupp_commit_config_t config;
    apr_pool_t *pool;
    apr_thread_mutex_t *mutex;

    /* under the mutex */
    struct smartsupp_commit_ring_t queue;
    struct smartsupp_commit_ring_t replays;
    int waiting; /* callers of wait */
    int held;    /* those of them that count for the capacity */
    int stopping;
    smartsupp_writer_t *writers[SMARTSUPP_WRITERS_MAX]; /* NULL: not started */
    smartsupp_writer_t *left[SMARTSUPP_WRITERS_LEFT];
    apr_thread_cond_t *work;
    int failing;
    smartsupp_sql_error_t reported;
};

/**
 * Start a writer of the room. Under the mutex.
 *
 * @return APR_SUCCESS, or the system's error
 */
apr_status_t smartsupp_writer_start(smartsupp_writer_t **writer,
                                    smartsupp_commit_t *commit);

/** Join a writer that is done, or about to be, and free it. */
void smartsupp_writer_end(smartsupp_writer_t *writer);

/**
 * Wake whoever may wait for an entry that the writer is done with, and let go
 * of the writer's reference to its delivery, in whose pool the entry is.
 * Without the mutex.
 */
void smartsupp_writer_wake(smartsupp_commit_entry_t *entry);

/**
 * Report a change for the worse (error) or the better (NULL); what is known
 * already is not reported again. Takes the mutex.
 */
void smartsupp_writer_report(smartsupp_commit_t *commit,
                             const smartsupp_sql_error_t *error);

#endif
