#include "smartsupp_writer.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

/* The most bytes of one transaction. */
#define BATCH_BYTES (4 * 1024 * 1024)

/* What a writer's scratch memory may keep between batches, in bytes. */
#define SCRATCH_KEPT (1024 * 1024)

void smartsupp_writer_report(smartsupp_commit_t *commit,
                             const smartsupp_sql_error_t *error)
{
    int changed;

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
        commit->config.report(error, commit->config.lender.baton);
    }
}

/* Tell what a batch has shown of the database. That it refuses a delivery for
 * good shows nothing. */
static void tell(smartsupp_commit_t *commit, const smartsupp_writer_t *writer)
{
    smartsupp_breaker_t *breaker = commit->config.breaker;
    const smartsupp_sql_error_t *error = NULL;
    int i;

    for (i = 0; i < writer->batch.count; i++) {
        const smartsupp_batch_outcome_t *outcome = &writer->batch.outcomes[i];

        if (outcome->status == APR_SUCCESS) {
            smartsupp_breaker_closed(breaker, apr_time_now());
            smartsupp_writer_report(commit, NULL);
            return;
        }
        if (outcome->error.error_class != SMARTSUPP_SQL_PERMANENT) {
            error = &outcome->error;
        }
    }
    if (error) {
        smartsupp_breaker_failed(breaker, error, writer->since, apr_time_now());
        smartsupp_writer_report(commit, error);
    }
}

/* Move entries of a queue to the writer's batch, up to its size. */
static apr_size_t take_from(struct smartsupp_commit_ring_t *queue,
                            smartsupp_writer_t *writer, apr_size_t bytes)
{
    smartsupp_batch_t *batch = &writer->batch;

    while (batch->count < SMARTSUPP_BATCH_MAX && bytes < BATCH_BYTES &&
           !APR_RING_EMPTY(queue, smartsupp_commit_entry_t, link)) {
        smartsupp_commit_entry_t *entry = APR_RING_FIRST(queue);

        APR_RING_REMOVE(entry, link);
        entry->state = SMARTSUPP_COMMIT_TAKEN;
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
static int take(smartsupp_writer_t *writer)
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

/*
 * Set the outcomes, and who wakes whom. The writer wakes one sender, and each
 * sender two more: it would lose its processor to nearly everyone whom it woke
 * itself, while the next batch waits for it. Whoever replays has several on
 * the way and may be late to wait for one, so no other depends on it. Under
 * the mutex.
 *
 * @return how many of the entries, put first, are the writer's to wake
 */
static int settle(smartsupp_writer_t *writer)
{
    smartsupp_commit_entry_t *senders[SMARTSUPP_BATCH_MAX];
    int count = 0;
    int own = 0;
    int i;

    for (i = 0; i < writer->batch.count; i++) {
        smartsupp_commit_entry_t *entry = writer->entries[i];
        int is_left = entry->state == SMARTSUPP_COMMIT_LEFT;

        if (!is_left) {
            entry->outcome = writer->batch.outcomes[i];
            entry->state = SMARTSUPP_COMMIT_DONE;
        }
        if (is_left || entry->mode == SMARTSUPP_COMMIT_REPLAY) {
            writer->entries[own++] = entry;
            continue;
        }
        if (count == 0) {
            writer->entries[own++] = entry;
        }
        else {
            senders[(count - 1) / SMARTSUPP_COMMIT_WAKES]
                ->wakes[(count - 1) % SMARTSUPP_COMMIT_WAKES] = entry;
        }
        senders[count++] = entry;
    }
    return own;
}

void smartsupp_writer_wake(smartsupp_commit_entry_t *entry)
{
    apr_thread_cond_signal(entry->done);
    smartsupp_delivery_release(entry->delivery);
}

/* Hand the outcomes to those who wait. */
static void answer(smartsupp_writer_t *writer)
{
    smartsupp_commit_t *commit = writer->commit;
    int count;
    int i;

    apr_thread_mutex_lock(commit->mutex);
    writer->since = 0;
    writer->stuck = 0;
    writer->interrupted = 0;
    __atomic_store_n(&writer->worker.hurry, 0, __ATOMIC_RELAXED);
    count = settle(writer);
    apr_thread_mutex_unlock(commit->mutex);
    for (i = 0; i < count; i++) {
        smartsupp_writer_wake(writer->entries[i]);
    }
}

static void *APR_THREAD_FUNC writer_main(apr_thread_t *thread, void *data)
{
    smartsupp_writer_t *writer = data;

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
static apr_status_t start_thread(smartsupp_writer_t *writer)
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

apr_status_t smartsupp_writer_start(smartsupp_writer_t **writer,
                                    smartsupp_commit_t *commit)
{
    smartsupp_writer_t *made;
    apr_pool_t *pool;
    apr_status_t rv = apr_pool_create(&pool, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_tag(pool, "smartsupp_commit_writer");
    made = apr_pcalloc(pool, sizeof(*made));
    made->commit = commit;
    made->pool = pool;
    made->worker.lender = commit->config.lender;
    made->worker.schema = commit->config.schema;
    made->worker.socket = -1;
    made->worker.scratch = create_scratch(pool);
    rv = made->worker.scratch ? start_thread(made) : APR_ENOMEM;
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return rv;
    }
    *writer = made;
    return APR_SUCCESS;
}

void smartsupp_writer_end(smartsupp_writer_t *writer)
{
    apr_status_t rv;

    (void)apr_thread_join(&rv, writer->thread);
    apr_pool_destroy(writer->pool);
}
