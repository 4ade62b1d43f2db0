#include "smartsupp_commit.h"

#include <string.h>

#include "smartsupp_writer.h"

/* How long a batch takes at most while the database is well; and so, how long
 * one delivery more than the capacity may wait. */
#define WELL apr_time_from_msec(100)

/* What part of its bound a stop gives a writer that is stuck: what it has was
 * given up by those who had waited for it. */
#define STUCK_FRACTION 4

/* How often a stop looks again whether the writer has gone. */
#define STOP_POLL apr_time_from_msec(5)

/* How often it looks whether the mutex is free. */
#define HELD_TRIES 20

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

/* Leave a writer to itself; another may take its place. Under the mutex. */
static void leave_writer(smartsupp_commit_t *commit, int index)
{
    int i = 0;

    while (commit->left[i]) {
        i++;
    }
    commit->left[i] = commit->writers[index];
    commit->left[i]->left = 1;
    commit->writers[index] = NULL;
}

/* Free writers that hang, or leave them. Under the mutex. */
static void look_after_writers(smartsupp_commit_t *commit, apr_time_t now)
{
    apr_interval_time_t hang = commit->config.hang;
    int i;

    for (i = 0; i < commit->config.writers; i++) {
        smartsupp_writer_t *writer = commit->writers[i];

        if (!writer || !writer->stuck || now - writer->since < hang) {
            continue;
        }
        if (!writer->interrupted) {
            writer->interrupted = 1;
            smartsupp_batch_interrupt(&writer->worker);
        }
        else if (now - writer->since > hang + hang / 2 &&
                 count_left(commit) < SMARTSUPP_WRITERS_LEFT) {
            leave_writer(commit, i);
        }
    }
}

/* Whether all writers there may be are stuck. Under the mutex. */
static int is_stuck(const smartsupp_commit_t *commit)
{
    int i;

    for (i = 0; i < commit->config.writers; i++) {
        if (!commit->writers[i] || !commit->writers[i]->stuck) {
            return 0;
        }
    }
    return 1;
}

/* Whether one more must be refused at once: the capacity is taken, and the
 * database does not look well. Under the mutex. */
static int is_full(const smartsupp_commit_t *commit, apr_time_t now)
{
    int i;

    if (commit->held < commit->config.capacity) {
        return 0;
    }
    for (i = 0; i < commit->config.writers; i++) {
        const smartsupp_writer_t *writer = commit->writers[i];

        if (!writer || !writer->since || now - writer->since <= WELL) {
            return 0;
        }
    }
    return 1;
}

/* See that a writer will take what is submitted: one that has nothing to do,
 * a new one, or, with no more to be had, one that is at work. Under the
 * mutex. */
static apr_status_t ensure_writer(smartsupp_commit_t *commit)
{
    int working = 0;
    apr_status_t rv;
    int i;

    for (i = 0; i < commit->config.writers; i++) {
        if (!commit->writers[i]) {
            rv = smartsupp_writer_start(&commit->writers[i], commit);
            return working ? APR_SUCCESS : rv;
        }
        if (!commit->writers[i]->since) {
            return APR_SUCCESS;
        }
        working = 1;
    }
    return APR_SUCCESS;
}

/* Whether the room takes one more in that mode. Under the mutex. */
static apr_status_t admit(smartsupp_commit_t *commit,
                          smartsupp_commit_mode_e mode, apr_time_t now)
{
    look_after_writers(commit, now);
    if (commit->stopping) {
        return APR_EOF;
    }
    if (mode != SMARTSUPP_COMMIT_REPLAY && is_full(commit, now)) {
        return APR_EAGAIN;
    }
    if (mode != SMARTSUPP_COMMIT_PATIENT && is_stuck(commit)) {
        return APR_EAGAIN;
    }
    if (mode == SMARTSUPP_COMMIT_SPOOLABLE &&
        !smartsupp_breaker_admits(commit->config.breaker, now)) {
        return APR_EAGAIN;
    }
    return ensure_writer(commit);
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
    /* under the mutex, so that a signal handler that stops the room can tell
     * from it whether its thread is in here (smartsupp_commit_is_held) */
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
        memset(made, 0, sizeof(*made));
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

/* Mark the batches in work that are to blame that an entry has waited in vain.
 * Under the mutex. @return whether nothing was known of it before */
static int blame(smartsupp_commit_t *commit,
                 const smartsupp_commit_entry_t *entry, apr_time_t now)
{
    int is_news = 0;
    int i;

    for (i = 0; i < commit->config.writers; i++) {
        smartsupp_writer_t *writer = commit->writers[i];

        if (writer && writer->since && !writer->stuck &&
            now - writer->since >= (now - entry->since) / 2) {
            writer->stuck = 1;
            is_news = 1;
        }
    }
    return is_news;
}

/* Take an entry out of the queue, unless the writer has it. Under the mutex.
 * @return whether the delivery is to be let go of */
static int withdraw(smartsupp_commit_entry_t *entry)
{
    entry->outcome.status = entry->over ? APR_EAGAIN : APR_TIMEUP;
    if (entry->state != SMARTSUPP_COMMIT_WAITING) {
        entry->state = SMARTSUPP_COMMIT_LEFT;
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

static void say_wait(const smartsupp_commit_t *commit, int begins)
{
    if (commit->config.waits) {
        commit->config.waits(begins);
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
    int i;

    if (entry->over) {
        apr_time_t soon = apr_time_now() + WELL;

        deadline = soon < deadline ? soon : deadline;
    }
    say_wait(commit, 1);
    apr_thread_mutex_lock(commit->mutex);
    while (entry->state != SMARTSUPP_COMMIT_DONE) {
        apr_time_t now = apr_time_now();

        if (now >= deadline) {
            is_news = !entry->over && blame(commit, entry, now);
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
    say_wait(commit, 0);
    for (i = 0; i < SMARTSUPP_COMMIT_WAKES && entry->wakes[i]; i++) {
        smartsupp_writer_wake(entry->wakes[i]);
    }
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
    ROOM_STUCK,   /* with what nobody waits for any more */
    ROOM_WAITED,  /* the writers have ended; some have not read the answer */
    ROOM_DESERTED /* nobody knows it any more */
} room_state_e;

/* Whether all writers have ended. Under the mutex. */
static int are_done(smartsupp_commit_t *commit)
{
    int i;

    for (i = 0; i < commit->config.writers; i++) {
        if (commit->writers[i] && !commit->writers[i]->done) {
            return 0;
        }
    }
    return count_left(commit) == 0;
}

/* Interrupt the writers that are stuck, or all. Under the mutex.
 * @return whether all that are at work are stuck */
static int interrupt_writers(smartsupp_commit_t *commit, int all)
{
    int are_stuck = 1;
    int i;

    for (i = 0; i < commit->config.writers; i++) {
        smartsupp_writer_t *writer = commit->writers[i];

        if (!writer || writer->done) {
            continue;
        }
        are_stuck = are_stuck && writer->stuck;
        if (writer->stuck || all) {
            smartsupp_batch_interrupt(&writer->worker);
        }
    }
    return are_stuck;
}

/* Close the room, and tell its state without ever blocking: a prefork child is
 * stopped inside a signal handler, whose thread may itself hold the mutex, or
 * be the one that will never read its answer. */
static room_state_e close_room(smartsupp_commit_t *commit, int hurry)
{
    room_state_e state = ROOM_BUSY;

    if (apr_thread_mutex_trylock(commit->mutex) != APR_SUCCESS) {
        return ROOM_BUSY;
    }
    commit->stopping = 1;
    apr_thread_cond_broadcast(commit->work);
    if (are_done(commit)) {
        state = commit->waiting > 0 ? ROOM_WAITED : ROOM_DESERTED;
    }
    else if (interrupt_writers(commit, hurry) && commit->waiting == 0) {
        state = ROOM_STUCK;
    }
    apr_thread_mutex_unlock(commit->mutex);
    return state;
}

int smartsupp_commit_is_held(smartsupp_commit_t *commit)
{
    int tries = HELD_TRIES;

    while (apr_thread_mutex_trylock(commit->mutex) != APR_SUCCESS) {
        if (--tries == 0) {
            return 1;
        }
        apr_sleep(STOP_POLL);
    }
    apr_thread_mutex_unlock(commit->mutex);
    return 0;
}

apr_status_t smartsupp_commit_stop(smartsupp_commit_t *commit,
                                   apr_interval_time_t bound)
{
    apr_time_t start = apr_time_now();
    room_state_e state;
    int i;

    while ((state = close_room(commit, apr_time_now() - start > bound / 2)) ==
               ROOM_BUSY ||
           state == ROOM_STUCK) {
        if (apr_time_now() - start >
            (state == ROOM_STUCK ? bound / STUCK_FRACTION : bound)) {
            return APR_TIMEUP;
        }
        apr_sleep(STOP_POLL);
    }
    for (i = 0; i < commit->config.writers; i++) {
        if (commit->writers[i]) {
            smartsupp_writer_end(commit->writers[i]);
            commit->writers[i] = NULL;
        }
    }
    if (state == ROOM_DESERTED) {
        apr_pool_destroy(commit->pool);
    }
    return APR_SUCCESS;
}
