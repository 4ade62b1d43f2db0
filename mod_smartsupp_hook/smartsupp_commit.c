#include "smartsupp_commit.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include <apr_ring.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

/* The most bytes of one transaction. */
#define BATCH_BYTES (4 * 1024 * 1024)

/* How long a batch takes at most while the database is well; and so, how long
 * one delivery more than the capacity may wait. */
#define WELL apr_time_from_msec(100)

/* How long after its connection was shut down a writer is left to itself, and
 * how many of these there may be. */
#define GRACE apr_time_from_sec(5)
#define LEFT_MAX 2

/* How often a stop looks again whether the writer has gone. */
#define STOP_POLL apr_time_from_msec(5)

/* What a writer's scratch memory may keep between batches, in bytes. */
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
    apr_time_t since; /* when it was submitted */
    entry_state_e state;
    smartsupp_commit_mode_e mode;
    int over; /* was one more than the capacity when it came */
    smartsupp_batch_outcome_t outcome;
};

APR_RING_HEAD(entry_ring_t, smartsupp_commit_entry_t);

/* A writer thread. */
typedef struct writer_t {
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
} writer_t;

struct smartsupp_commit_t {
    smartsupp_commit_config_t config;
    apr_pool_t *pool;
    apr_thread_mutex_t *mutex;

    /* under the mutex */
    struct entry_ring_t queue;
    struct entry_ring_t replays;
    int waiting; /* callers of wait */
    int held;    /* those of them that count for the capacity */
    int stopping;
    writer_t *writer; /* NULL: not started */
    writer_t *left[LEFT_MAX];
    apr_thread_cond_t *work;
    int failing;
    smartsupp_sql_error_t reported;
};

/* Tell what a batch has shown of the database. That it refuses a delivery for
 * good shows nothing. */
static void tell(smartsupp_commit_t *commit, const writer_t *writer)
{
    const smartsupp_commit_config_t *config = &commit->config;
    const smartsupp_sql_error_t *error = NULL;
    int changed;
    int i;

    for (i = 0; i < writer->batch.count; i++) {
        const smartsupp_batch_outcome_t *outcome = &writer->batch.outcomes[i];

        if (outcome->status == APR_SUCCESS) {
            error = NULL;
            break;
        }
        if (outcome->error.error_class != SMARTSUPP_SQL_PERMANENT) {
            error = &outcome->error;
        }
    }
    if (!error && i == writer->batch.count) {
        return;
    }
    if (error) {
        smartsupp_breaker_failed(config->breaker, error, writer->since,
                                 apr_time_now());
    }
    else {
        smartsupp_breaker_closed(config->breaker, apr_time_now());
    }
    apr_thread_mutex_lock(commit->mutex);
    changed = error ? !commit->failing ||
                          strcmp(commit->reported.code, error->code) != 0 ||
                          strcmp(commit->reported.text, error->text) != 0
                    : commit->failing;
    commit->failing = error != NULL;
    if (error) {
        commit->reported = *error;
    }
    apr_thread_mutex_unlock(commit->mutex);
    if (changed) {
        config->report(error, config->lender.baton);
    }
}

/* Move entries of a queue to the writer's batch, up to its size. */
static apr_size_t take_from(struct entry_ring_t *queue, writer_t *writer,
                            apr_size_t bytes)
{
    smartsupp_batch_t *batch = &writer->batch;

    while (batch->count < SMARTSUPP_BATCH_MAX && bytes < BATCH_BYTES &&
           !APR_RING_EMPTY(queue, smartsupp_commit_entry_t, link)) {
        smartsupp_commit_entry_t *entry = APR_RING_FIRST(queue);

        APR_RING_REMOVE(entry, link);
        entry->state = ENTRY_TAKEN;
        bytes += entry->delivery->body_length;
        writer->entries[batch->count] = entry;
        batch->deliveries[batch->count] = entry->delivery;
        batch->count++;
    }
    return bytes;
}

static int is_idle(const smartsupp_commit_t *commit)
{
    return APR_RING_EMPTY(&commit->queue, smartsupp_commit_entry_t, link) &&
           APR_RING_EMPTY(&commit->replays, smartsupp_commit_entry_t, link);
}

/* Wait for deliveries, and take them. 0: there will be none. */
static int take(writer_t *writer)
{
    smartsupp_commit_t *commit = writer->commit;
    apr_size_t bytes;

    writer->batch.count = 0;
    apr_thread_mutex_lock(commit->mutex);
    while (!writer->left && !commit->stopping && is_idle(commit)) {
        apr_thread_cond_wait(commit->work, commit->mutex);
    }
    if (!writer->left) {
        bytes = take_from(&commit->queue, writer, 0);
        take_from(&commit->replays, writer, bytes);
        writer->since = apr_time_now();
    }
    writer->done = writer->batch.count == 0;
    apr_thread_mutex_unlock(commit->mutex);
    return writer->batch.count;
}

/* Hand the outcomes to those who wait, and let go of the deliveries. */
static void answer(writer_t *writer)
{
    smartsupp_commit_t *commit = writer->commit;
    int i;

    apr_thread_mutex_lock(commit->mutex);
    writer->since = 0;
    writer->stuck = 0;
    writer->interrupted = 0;
    for (i = 0; i < writer->batch.count; i++) {
        writer->entries[i]->outcome = writer->batch.outcomes[i];
        writer->entries[i]->state = ENTRY_DONE;
        apr_thread_cond_signal(writer->entries[i]->done);
    }
    apr_thread_mutex_unlock(commit->mutex);
    for (i = 0; i < writer->batch.count; i++) {
        smartsupp_delivery_release(writer->batch.deliveries[i]);
    }
}

static void *APR_THREAD_FUNC writer_main(apr_thread_t *thread, void *data)
{
    writer_t *writer = data;

    (void)thread;
    while (take(writer) > 0) {
        smartsupp_batch_store(&writer->worker, &writer->batch);
        tell(writer->commit, writer);
        answer(writer);
        apr_pool_clear(writer->worker.scratch);
    }
    return NULL;
}

static apr_pool_t *create_scratch(apr_pool_t *parent)
{
    apr_allocator_t *allocator;
    apr_pool_t *scratch;

    if (apr_allocator_create(&allocator) != APR_SUCCESS) {
        return NULL;
    }
    apr_allocator_max_free_set(allocator, SCRATCH_KEPT);
    if (apr_pool_create_ex(&scratch, parent, NULL, allocator) != APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return NULL;
    }
    apr_allocator_owner_set(allocator, scratch);
    apr_pool_tag(scratch, "smartsupp_commit_scratch");
    return scratch;
}

/* Its thread must take no signal: httpd's handlers belong to the thread that
 * would wait for it. */
static apr_status_t start_thread(writer_t *writer)
{
    sigset_t all;
    sigset_t before;
    apr_status_t rv;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = apr_thread_create(&writer->thread, NULL, writer_main, writer,
                           writer->pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv;
}

/* At the first delivery, or the first after a writer was left. Under the
 * mutex. */
static apr_status_t start_writer(smartsupp_commit_t *commit)
{
    writer_t *writer;
    apr_pool_t *pool;
    apr_status_t rv = apr_pool_create(&pool, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_tag(pool, "smartsupp_commit_writer");
    writer = apr_pcalloc(pool, sizeof(*writer));
    writer->commit = commit;
    writer->pool = pool;
    writer->worker.lender = commit->config.lender;
    writer->worker.schema = commit->config.schema;
    writer->worker.socket = -1;
    writer->worker.scratch = create_scratch(pool);
    rv = writer->worker.scratch ? start_thread(writer) : APR_ENOMEM;
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return rv;
    }
    commit->writer = writer;
    return APR_SUCCESS;
}

static void end_writer(writer_t *writer)
{
    apr_status_t rv;

    (void)apr_thread_join(&rv, writer->thread);
    apr_pool_destroy(writer->pool);
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
    APR_RING_INIT(&made->replays, smartsupp_commit_entry_t, link);
    rv = apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);
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

/* End writers that were left and have come back since. Under the mutex.
 * @return how many are still away */
static int count_left(smartsupp_commit_t *commit)
{
    int count = 0;
    int i;

    for (i = 0; i < LEFT_MAX; i++) {
        if (commit->left[i] && commit->left[i]->done) {
            end_writer(commit->left[i]);
            commit->left[i] = NULL;
        }
        count += commit->left[i] != NULL;
    }
    return count;
}

static void leave_writer(smartsupp_commit_t *commit)
{
    int i = 0;

    while (commit->left[i]) {
        i++;
    }
    commit->left[i] = commit->writer;
    commit->left[i]->left = 1;
    commit->writer = NULL;
}

/* Free a writer that hangs, or leave it. Under the mutex. */
static void look_after_writer(smartsupp_commit_t *commit, apr_time_t now)
{
    writer_t *writer = commit->writer;
    apr_interval_time_t hang = commit->config.hang;

    if (!writer || !writer->stuck || now - writer->since < hang) {
        return;
    }
    if (!writer->interrupted) {
        writer->interrupted = 1;
        smartsupp_batch_interrupt(&writer->worker);
    }
    else if (now - writer->since > hang + GRACE &&
             count_left(commit) < LEFT_MAX) {
        leave_writer(commit);
    }
}

/* Whether one more must be refused at once: the capacity is taken, and the
 * database does not look well. Under the mutex. */
static int is_full(const smartsupp_commit_t *commit, apr_time_t now)
{
    return commit->held >= commit->config.capacity && commit->writer &&
           commit->writer->since && now - commit->writer->since > WELL;
}

/* Whether the room takes one more in that mode. Under the mutex. */
static apr_status_t admit(smartsupp_commit_t *commit,
                          smartsupp_commit_mode_e mode, apr_time_t now)
{
    look_after_writer(commit, now);
    if (commit->stopping) {
        return APR_EOF;
    }
    if (mode != SMARTSUPP_COMMIT_REPLAY && is_full(commit, now)) {
        return APR_EAGAIN;
    }
    if (mode != SMARTSUPP_COMMIT_PATIENT && commit->writer &&
        commit->writer->stuck) {
        return APR_EAGAIN;
    }
    if (mode == SMARTSUPP_COMMIT_SPOOLABLE &&
        !smartsupp_breaker_admits(commit->config.breaker, now)) {
        return APR_EAGAIN;
    }
    return commit->writer ? APR_SUCCESS : start_writer(commit);
}

/* Into its queue. Under the mutex. */
static void enqueue(smartsupp_commit_t *commit, smartsupp_commit_entry_t *entry)
{
    int replay = entry->mode == SMARTSUPP_COMMIT_REPLAY;

    smartsupp_delivery_retain(entry->delivery);
    entry->over = !replay && commit->held >= commit->config.capacity;
    commit->held += !replay;
    commit->waiting++;
    APR_RING_INSERT_TAIL(replay ? &commit->replays : &commit->queue, entry,
                         smartsupp_commit_entry_t, link);
    apr_thread_cond_signal(commit->work);
}

apr_status_t smartsupp_commit_submit(smartsupp_commit_entry_t **entry,
                                     smartsupp_commit_t *commit,
                                     smartsupp_delivery_t *delivery,
                                     smartsupp_commit_mode_e mode)
{
    smartsupp_commit_entry_t *made = apr_palloc(delivery->pool, sizeof(*made));
    apr_status_t rv = APR_ENOMEM;

    if (made) {
        made->delivery = delivery;
        made->state = ENTRY_WAITING;
        made->mode = mode;
        made->since = apr_time_now();
        rv = apr_thread_cond_create(&made->done, delivery->pool);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_thread_mutex_lock(commit->mutex);
    rv = admit(commit, mode, made->since);
    if (rv == APR_SUCCESS) {
        enqueue(commit, made);
        *entry = made;
    }
    apr_thread_mutex_unlock(commit->mutex);
    return rv;
}

/* An entry's deadline has passed: mark the batch that it has waited for most of
 * its time, and tell all processes. Under the mutex. */
static void blame(smartsupp_commit_t *commit,
                  const smartsupp_commit_entry_t *entry)
{
    apr_time_t now = apr_time_now();
    writer_t *writer = commit->writer;

    if (writer && writer->since &&
        now - writer->since >= (now - entry->since) / 2) {
        writer->stuck = 1;
    }
    smartsupp_breaker_failed(commit->config.breaker, NULL, entry->since, now);
}

/* Take back an entry that is not done. @return whether the writer has not
 * taken it, and the delivery is to be let go of. Under the mutex. */
static int withdraw(smartsupp_commit_t *commit, smartsupp_commit_entry_t *entry)
{
    if (entry->over) {
        entry->outcome.status = APR_EAGAIN;
    }
    else {
        entry->outcome.status = APR_TIMEUP;
        blame(commit, entry);
    }
    if (entry->state != ENTRY_WAITING) {
        return 0;
    }
    APR_RING_REMOVE(entry, link);
    return 1;
}

apr_status_t smartsupp_commit_wait(smartsupp_batch_outcome_t *outcome,
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
            withdrawn = withdraw(commit, entry);
            break;
        }
        (void)apr_thread_cond_timedwait(entry->done, commit->mutex, left);
    }
    *outcome = entry->outcome;
    commit->held -= entry->mode != SMARTSUPP_COMMIT_REPLAY;
    commit->waiting--;
    apr_thread_mutex_unlock(commit->mutex);
    if (withdrawn) {
        smartsupp_delivery_release(entry->delivery);
    }
    return outcome->status;
}

typedef enum room_state_e {
    ROOM_BUSY,    /* or not to be told */
    ROOM_WAITED,  /* the writers have ended; some have not read the answer */
    ROOM_DESERTED /* nobody knows it any more */
} room_state_e;

/* Close the room, and tell its state without ever blocking: a prefork child is
 * stopped inside a signal handler, whose thread may itself hold the mutex, or
 * be the one that will never read its answer. */
static room_state_e close_room(smartsupp_commit_t *commit, int hurry)
{
    room_state_e state = ROOM_BUSY;
    writer_t *writer;

    if (apr_thread_mutex_trylock(commit->mutex) != APR_SUCCESS) {
        return ROOM_BUSY;
    }
    writer = commit->writer;
    commit->stopping = 1;
    apr_thread_cond_broadcast(commit->work);
    if (count_left(commit) == 0 && (!writer || writer->done)) {
        state = commit->waiting > 0 ? ROOM_WAITED : ROOM_DESERTED;
    }
    else if (writer && hurry) {
        smartsupp_batch_interrupt(&writer->worker);
    }
    apr_thread_mutex_unlock(commit->mutex);
    return state;
}

apr_status_t smartsupp_commit_stop(smartsupp_commit_t *commit,
                                   apr_interval_time_t bound)
{
    apr_time_t start = apr_time_now();
    room_state_e state;

    while ((state = close_room(commit, apr_time_now() - start > bound / 2)) ==
           ROOM_BUSY) {
        if (apr_time_now() - start > bound) {
            return APR_TIMEUP;
        }
        apr_sleep(STOP_POLL);
    }
    if (commit->writer) {
        end_writer(commit->writer);
        commit->writer = NULL;
    }
    if (state == ROOM_DESERTED) {
        apr_pool_destroy(commit->pool);
    }
    return APR_SUCCESS;
}
