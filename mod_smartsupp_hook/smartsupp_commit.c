#include "smartsupp_commit.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include <apr_ring.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

/* The most of one transaction: enough that its fsync costs a delivery next to
 * nothing, few enough that the first one does not wait long for the last. */
#define BATCH_DELIVERIES 64
#define BATCH_BYTES (4 * 1024 * 1024)

/* How long a batch takes at most while the database is well; and so, how long
 * one delivery more than the capacity may wait. */
#define WELL apr_time_from_msec(100)

/* How often a conflict with another transaction is tried in all, and how far
 * apart at most two of these begin again, in µs for each try before. */
#define CONFLICT_TRIES 6
#define CONFLICT_JITTER 8000

/* How often a stop looks again whether the writer has gone. */
#define STOP_POLL apr_time_from_msec(5)

/* What the writer's scratch memory may keep between batches, in bytes. */
#define SCRATCH_KEPT (1024 * 1024)

typedef enum entry_state_e {
    ENTRY_WAITING, /* in the queue */
    ENTRY_TAKEN,   /* in the writer's batch */
    ENTRY_DONE     /* outcome is set */
} entry_state_e;

/* Lives in the delivery's pool; all but `delivery` under the room's mutex. */
struct smartsupp_commit_entry_t {
    APR_RING_ENTRY(smartsupp_commit_entry_t) link;
    smartsupp_delivery_t *delivery;
    apr_thread_cond_t *done;
    entry_state_e state;
    int over; /* was one more than the capacity when it came */
    smartsupp_commit_outcome_t outcome;
};

APR_RING_HEAD(entry_ring_t, smartsupp_commit_entry_t);

struct smartsupp_commit_t {
    smartsupp_commit_config_t config;
    apr_pool_t *pool;
    apr_thread_mutex_t *mutex;

    /* under the mutex */
    struct entry_ring_t queue;
    int held;         /* entries that a caller waits for */
    apr_time_t since; /* when the batch in work was taken; 0: none is */
    int stopping;
    apr_thread_t *writer; /* NULL: not started */
    apr_thread_cond_t *work;
    int writer_done;

    /* the writer's own */
    apr_pool_t *scratch; /* cleared after each batch */
    int schema_ready;
    int failing;
    smartsupp_sql_error_t reported;
};

/* What the writer has taken. */
typedef struct batch_t {
    smartsupp_commit_entry_t *entries[BATCH_DELIVERIES];
    smartsupp_delivery_t *deliveries[BATCH_DELIVERIES];
    smartsupp_commit_outcome_t outcomes[BATCH_DELIVERIES];
    int count;
} batch_t;

/* A part of it: one transaction. */
typedef struct span_t {
    smartsupp_delivery_t *const *deliveries;
    smartsupp_commit_outcome_t *outcomes;
    int count;
} span_t;

static void report(smartsupp_commit_t *commit,
                   const smartsupp_sql_error_t *error)
{
    const smartsupp_commit_lender_t *lender = &commit->config.lender;

    if (error == NULL) {
        if (commit->failing) {
            commit->failing = 0;
            lender->report(NULL, lender->baton);
        }
        return;
    }
    if (!commit->failing || strcmp(commit->reported.code, error->code) != 0 ||
        strcmp(commit->reported.text, error->text) != 0) {
        commit->failing = 1;
        commit->reported = *error;
        lender->report(error, lender->baton);
    }
}

/* One transaction over those deliveries, on a connection that is lent. */
static apr_status_t transact(smartsupp_store_result_e *results,
                             smartsupp_sql_t *sql,
                             smartsupp_delivery_t *const *deliveries, int count,
                             apr_pool_t *pool)
{
    apr_status_t rv = smartsupp_sql_begin(sql);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = smartsupp_store(results, sql, deliveries, count, pool);
    if (rv != APR_SUCCESS) {
        smartsupp_sql_rollback(sql);
        return rv;
    }
    return smartsupp_sql_commit(sql);
}

/*
 * The unit of work on a lent connection: tables that fit, then the rows. What
 * the drivers register on the pool is released before this returns: the next
 * loan may close this connection.
 */
static apr_status_t work_on(smartsupp_store_result_e *results,
                            smartsupp_commit_t *commit, smartsupp_sql_t *sql,
                            const span_t *span)
{
    apr_pool_t *pool;
    apr_status_t rv = apr_pool_create(&pool, commit->scratch);

    if (rv != APR_SUCCESS) {
        return smartsupp_sql_fail(sql, SMARTSUPP_SQL_TRANSIENT,
                                  "out of memory");
    }
    apr_pool_tag(pool, "smartsupp_commit_work");
    if (!commit->schema_ready) {
        rv = smartsupp_schema_ensure(sql, commit->config.schema, pool);
        commit->schema_ready = rv == APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = transact(results, sql, span->deliveries, span->count, pool);
    }
    if (rv != APR_SUCCESS &&
        smartsupp_sql_error(sql)->error_class == SMARTSUPP_SQL_STALE) {
        /* tables or statements were changed under our feet */
        smartsupp_sql_forget(sql);
        commit->schema_ready = 0;
    }
    apr_pool_destroy(pool);
    return rv;
}

/* Try to store the span, and set its outcomes: the same status for all. */
static apr_status_t attempt(smartsupp_commit_t *commit, const span_t *span)
{
    const smartsupp_commit_lender_t *lender = &commit->config.lender;
    smartsupp_store_result_e results[BATCH_DELIVERIES] = {0};
    smartsupp_sql_error_t error = {.error_class = SMARTSUPP_SQL_TRANSIENT,
                                   .code = SMARTSUPP_SQL_NO_CODE};
    smartsupp_sql_t *sql = NULL;
    apr_status_t rv =
        lender->borrow(&sql, &error, lender->baton, commit->scratch);
    int i;

    if (rv == APR_SUCCESS) {
        rv = work_on(results, commit, sql, span);
        if (rv != APR_SUCCESS) {
            error = *smartsupp_sql_error(sql);
        }
        lender->give_back(sql, lender->baton);
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

/* Store the span, and report what that tells of the database. */
static apr_status_t persist(smartsupp_commit_t *commit, const span_t *span)
{
    const smartsupp_sql_error_t *error = &span->outcomes[0].error;
    apr_status_t rv;
    int tries = 0;

    do {
        rv = attempt(commit, span);
        tries++;
    } while (rv != APR_SUCCESS && is_worth_another(span, tries));
    if (rv == APR_SUCCESS) {
        report(commit, NULL);
    }
    else if (error->error_class != SMARTSUPP_SQL_PERMANENT) {
        report(commit, error);
    }
    return rv;
}

/* One by one, after the batch as a whole has failed. Stops at an outage: it
 * would fail the rest as well, each after its own wait. */
static void persist_singly(smartsupp_commit_t *commit, batch_t *batch)
{
    int i;

    for (i = 0; i < batch->count; i++) {
        span_t single = {&batch->deliveries[i], &batch->outcomes[i], 1};

        if (persist(commit, &single) != APR_SUCCESS &&
            single.outcomes->error.error_class == SMARTSUPP_SQL_TRANSIENT) {
            while (++i < batch->count) {
                batch->outcomes[i] = *single.outcomes;
            }
        }
    }
}

/* All that waits, up to the size of a batch. Under the mutex. */
static void take(batch_t *batch, smartsupp_commit_t *commit)
{
    apr_size_t bytes = 0;

    commit->since = apr_time_now();
    batch->count = 0;
    while (batch->count < BATCH_DELIVERIES && bytes < BATCH_BYTES &&
           !APR_RING_EMPTY(&commit->queue, smartsupp_commit_entry_t, link)) {
        smartsupp_commit_entry_t *entry = APR_RING_FIRST(&commit->queue);

        APR_RING_REMOVE(entry, link);
        entry->state = ENTRY_TAKEN;
        bytes += entry->delivery->body_length;
        batch->entries[batch->count] = entry;
        batch->deliveries[batch->count] = entry->delivery;
        batch->count++;
    }
}

/* Hand the outcomes to those who wait, and let go of the deliveries. */
static void answer(smartsupp_commit_t *commit, batch_t *batch)
{
    int i;

    apr_thread_mutex_lock(commit->mutex);
    commit->since = 0;
    for (i = 0; i < batch->count; i++) {
        batch->entries[i]->outcome = batch->outcomes[i];
        batch->entries[i]->state = ENTRY_DONE;
        apr_thread_cond_signal(batch->entries[i]->done);
    }
    apr_thread_mutex_unlock(commit->mutex);
    for (i = 0; i < batch->count; i++) {
        smartsupp_delivery_release(batch->deliveries[i]);
    }
}

static apr_pool_t *create_scratch(smartsupp_commit_t *commit)
{
    apr_allocator_t *allocator;
    apr_pool_t *scratch;

    if (apr_allocator_create(&allocator) != APR_SUCCESS) {
        return NULL;
    }
    apr_allocator_max_free_set(allocator, SCRATCH_KEPT);
    if (apr_pool_create_ex(&scratch, commit->pool, NULL, allocator) !=
        APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return NULL;
    }
    apr_allocator_owner_set(allocator, scratch);
    apr_pool_tag(scratch, "smartsupp_commit_scratch");
    return scratch;
}

static void *APR_THREAD_FUNC writer_main(apr_thread_t *thread, void *data)
{
    smartsupp_commit_t *commit = data;
    batch_t batch;

    (void)thread;
    for (;;) {
        span_t span = {batch.deliveries, batch.outcomes, 0};

        apr_thread_mutex_lock(commit->mutex);
        while (APR_RING_EMPTY(&commit->queue, smartsupp_commit_entry_t, link) &&
               !commit->stopping) {
            apr_thread_cond_wait(commit->work, commit->mutex);
        }
        take(&batch, commit);
        commit->writer_done = batch.count == 0;
        apr_thread_mutex_unlock(commit->mutex);
        if (batch.count == 0) {
            return NULL;
        }
        span.count = batch.count;
        if (persist(commit, &span) != APR_SUCCESS && batch.count > 1 &&
            batch.outcomes[0].error.error_class != SMARTSUPP_SQL_TRANSIENT) {
            persist_singly(commit, &batch);
        }
        answer(commit, &batch);
        apr_pool_clear(commit->scratch);
    }
}

/*
 * Start the writer, at the first delivery. Under the mutex. It must take no
 * signal: httpd's handlers belong to the thread that would wait for it.
 */
static apr_status_t start_writer(smartsupp_commit_t *commit)
{
    sigset_t all;
    sigset_t before;
    apr_status_t rv;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = apr_thread_create(&commit->writer, NULL, writer_main, commit,
                           commit->pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rv != APR_SUCCESS) {
        commit->writer = NULL;
    }
    return rv;
}

apr_status_t smartsupp_commit_create(smartsupp_commit_t **commit,
                                     const smartsupp_commit_config_t *config)
{
    smartsupp_commit_t *made;
    apr_pool_t *pool;
    apr_status_t rv = apr_pool_create(&pool, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_tag(pool, "smartsupp_commit");
    made = apr_pcalloc(pool, sizeof(*made));
    made->config = *config;
    made->pool = pool;
    APR_RING_INIT(&made->queue, smartsupp_commit_entry_t, link);
    made->scratch = create_scratch(made);
    rv = made->scratch ? APR_SUCCESS : APR_ENOMEM;
    if (rv == APR_SUCCESS) {
        rv = apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT,
                                     pool);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_thread_cond_create(&made->work, pool);
    }
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return rv;
    }
    *commit = made;
    return APR_SUCCESS;
}

/* Whether one more must be refused at once: the capacity is taken, and the
 * database does not look well. Under the mutex. */
static int is_full(const smartsupp_commit_t *commit)
{
    return commit->held >= commit->config.capacity && commit->since &&
           apr_time_now() - commit->since > WELL;
}

apr_status_t smartsupp_commit_submit(smartsupp_commit_entry_t **entry,
                                     smartsupp_commit_t *commit,
                                     smartsupp_delivery_t *delivery)
{
    smartsupp_commit_entry_t *made = apr_palloc(delivery->pool, sizeof(*made));
    apr_status_t rv = APR_ENOMEM;

    if (made) {
        made->delivery = delivery;
        made->state = ENTRY_WAITING;
        rv = apr_thread_cond_create(&made->done, delivery->pool);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_thread_mutex_lock(commit->mutex);
    if (commit->stopping) {
        rv = APR_EOF;
    }
    else if (is_full(commit)) {
        rv = APR_EAGAIN;
    }
    else if (commit->writer == NULL) {
        rv = start_writer(commit);
    }
    if (rv == APR_SUCCESS) {
        smartsupp_delivery_retain(delivery);
        APR_RING_INSERT_TAIL(&commit->queue, made, smartsupp_commit_entry_t,
                             link);
        made->over = commit->held++ >= commit->config.capacity;
        apr_thread_cond_signal(commit->work);
        *entry = made;
    }
    apr_thread_mutex_unlock(commit->mutex);
    return rv;
}

apr_status_t smartsupp_commit_wait(smartsupp_commit_outcome_t *outcome,
                                   smartsupp_commit_t *commit,
                                   smartsupp_commit_entry_t *entry,
                                   apr_time_t deadline)
{
    int withdrawn = 0;

    if (entry->over) {
        apr_time_t soon = apr_time_now() + WELL;

        deadline = soon < deadline ? soon : deadline;
    }
    apr_thread_mutex_lock(commit->mutex);
    while (entry->state != ENTRY_DONE) {
        apr_interval_time_t left = deadline - apr_time_now();

        if (left <= 0) {
            break;
        }
        (void)apr_thread_cond_timedwait(entry->done, commit->mutex, left);
    }
    if (entry->state == ENTRY_DONE) {
        *outcome = entry->outcome;
    }
    else {
        outcome->status = entry->over ? APR_EAGAIN : APR_TIMEUP;
        withdrawn = entry->state == ENTRY_WAITING;
        if (withdrawn) {
            APR_RING_REMOVE(entry, link);
        }
    }
    commit->held--;
    apr_thread_mutex_unlock(commit->mutex);
    if (withdrawn) {
        smartsupp_delivery_release(entry->delivery);
    }
    return outcome->status;
}

typedef enum room_state_e {
    ROOM_BUSY,    /* or not to be told */
    ROOM_WAITED,  /* the writer has ended; some have not read its answer */
    ROOM_DESERTED /* nobody knows it any more */
} room_state_e;

/* Close the room, and tell its state without ever blocking: a prefork child is
 * stopped inside a signal handler, whose thread may itself hold the mutex, or
 * be the one that will never read its answer. */
static room_state_e close_room(smartsupp_commit_t *commit)
{
    room_state_e state = ROOM_BUSY;

    if (apr_thread_mutex_trylock(commit->mutex) == APR_SUCCESS) {
        commit->stopping = 1;
        apr_thread_cond_signal(commit->work);
        if (!commit->writer || commit->writer_done) {
            state = commit->held > 0 ? ROOM_WAITED : ROOM_DESERTED;
        }
        apr_thread_mutex_unlock(commit->mutex);
    }
    return state;
}

apr_status_t smartsupp_commit_stop(smartsupp_commit_t *commit,
                                   apr_interval_time_t bound)
{
    apr_time_t deadline = apr_time_now() + bound;
    room_state_e state;
    apr_status_t rv;

    while ((state = close_room(commit)) == ROOM_BUSY) {
        if (apr_time_now() > deadline) {
            return APR_TIMEUP;
        }
        apr_sleep(STOP_POLL);
    }
    if (commit->writer) {
        (void)apr_thread_join(&rv, commit->writer);
        commit->writer = NULL;
    }
    if (state == ROOM_DESERTED) {
        apr_pool_destroy(commit->pool);
    }
    return APR_SUCCESS;
}
