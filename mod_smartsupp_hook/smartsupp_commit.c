#include "smartsupp_commit.h"

#include "smartsupp_writer.h"

/* How long a batch takes at most while the database is well; and so, how long
 * one delivery more than the capacity may wait. */
#define WELL apr_time_from_msec(100)

/* How often a stop looks again whether the writer has gone. */
#define STOP_POLL apr_time_from_msec(5)

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

    for (i = 0; i < SMARTSUPP_WRITERS_LEFT; i++) {
        if (commit->left[i] && commit->left[i]->done) {
            smartsupp_writer_end(commit->left[i]);
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
    smartsupp_writer_t *writer = commit->writer;
    apr_interval_time_t hang = commit->config.hang;

    if (!writer || !writer->stuck || now - writer->since < hang) {
        return;
    }
    if (!writer->interrupted) {
        writer->interrupted = 1;
        smartsupp_batch_interrupt(&writer->worker);
    }
    else if (now - writer->since > hang + hang / 2 &&
             count_left(commit) < SMARTSUPP_WRITERS_LEFT) {
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
    return commit->writer ? APR_SUCCESS : smartsupp_writer_start(commit);
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
        made->state = SMARTSUPP_COMMIT_WAITING;
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

/* Whether the batch in work is to blame that an entry has waited in vain. Under
 * the mutex. @return whether nothing was known of it before */
static int blame(smartsupp_writer_t *writer,
                 const smartsupp_commit_entry_t *entry, apr_time_t now)
{
    if (!writer || !writer->since || writer->stuck ||
        now - writer->since < (now - entry->since) / 2) {
        return 0;
    }
    writer->stuck = 1;
    return 1;
}

/* Take an entry out of the queue, unless the writer has it. Under the mutex.
 * @return whether the delivery is to be let go of */
static int withdraw(smartsupp_commit_entry_t *entry)
{
    entry->outcome.status = entry->over ? APR_EAGAIN : APR_TIMEUP;
    if (entry->state != SMARTSUPP_COMMIT_WAITING) {
        return 0;
    }
    APR_RING_REMOVE(entry, link);
    return 1;
}

/* A delivery has waited in vain: all processes shall know. */
static void tell_timeout(smartsupp_commit_t *commit, apr_time_t since,
                         int is_news)
{
    static const smartsupp_sql_error_t error = {
        .error_class = SMARTSUPP_SQL_TRANSIENT,
        .code = "timeout",
        .text = "it does not answer within SmartsuppDatabaseWait",
    };

    smartsupp_breaker_failed(commit->config.breaker, &error, since,
                             apr_time_now());
    if (is_news) {
        smartsupp_writer_report(commit, &error);
    }
}

apr_status_t smartsupp_commit_wait(smartsupp_batch_outcome_t *outcome,
                                   smartsupp_commit_t *commit,
                                   smartsupp_commit_entry_t *entry,
                                   apr_time_t deadline)
{
    apr_time_t since = entry->since;
    int withdrawn = 0;
    int is_news = 0;

    if (entry->over) {
        apr_time_t soon = apr_time_now() + WELL;

        deadline = soon < deadline ? soon : deadline;
    }
    apr_thread_mutex_lock(commit->mutex);
    while (entry->state != SMARTSUPP_COMMIT_DONE) {
        apr_time_t now = apr_time_now();

        if (now >= deadline) {
            is_news = !entry->over && blame(commit->writer, entry, now);
            withdrawn = withdraw(entry);
            break;
        }
        (void)apr_thread_cond_timedwait(entry->done, commit->mutex,
                                        deadline - now);
    }
    *outcome = entry->outcome;
    commit->held -= entry->mode != SMARTSUPP_COMMIT_REPLAY;
    commit->waiting--;
    apr_thread_mutex_unlock(commit->mutex);
    if (withdrawn) {
        smartsupp_delivery_release(entry->delivery);
    }
    if (outcome->status == APR_TIMEUP) {
        tell_timeout(commit, since, is_news);
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
    smartsupp_writer_t *writer;

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
        smartsupp_writer_end(commit->writer);
        commit->writer = NULL;
    }
    if (state == ROOM_DESERTED) {
        apr_pool_destroy(commit->pool);
    }
    return APR_SUCCESS;
}
