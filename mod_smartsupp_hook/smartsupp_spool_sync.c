#include "smartsupp_spool_sync.h"

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

/* A thread that waits, on its own stack. */
typedef struct waiter_t {
    struct waiter_t *next;
    int done;
    apr_status_t status;
} waiter_t;

struct smartsupp_spool_sync_t {
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *done;
    waiter_t *waiting; /* for an fsync that has not begun */
    int at_work;       /* one of those before them is in its fsync */
};

apr_status_t smartsupp_spool_sync_create(smartsupp_spool_sync_t **sync,
                                         apr_pool_t *pool)
{
    smartsupp_spool_sync_t *made = apr_pcalloc(pool, sizeof(*made));
    apr_status_t rv =
        apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool);

    if (rv == APR_SUCCESS) {
        rv = apr_thread_cond_create(&made->done, pool);
    }
    *sync = rv == APR_SUCCESS ? made : NULL;
    return rv;
}

/* fsync for all that wait now. Under the mutex, but for the fsync itself. */
static void sync_for_all(smartsupp_spool_sync_t *sync,
                         const smartsupp_spool_folder_t *folder)
{
    waiter_t *waiter = sync->waiting;
    apr_status_t rv;

    sync->waiting = NULL;
    sync->at_work = 1;
    apr_thread_mutex_unlock(sync->mutex);
    rv = smartsupp_spool_folder_sync(folder);
    apr_thread_mutex_lock(sync->mutex);
    sync->at_work = 0;
    for (; waiter; waiter = waiter->next) {
        waiter->status = rv;
        waiter->done = 1;
    }
    apr_thread_cond_broadcast(sync->done);
}

apr_status_t smartsupp_spool_sync_folder(smartsupp_spool_sync_t *sync,
                                         const smartsupp_spool_folder_t *folder)
{
    waiter_t self = {0};

    apr_thread_mutex_lock(sync->mutex);
    self.next = sync->waiting;
    sync->waiting = &self;
    while (!self.done) {
        if (sync->at_work) {
            apr_thread_cond_wait(sync->done, sync->mutex);
        }
        else {
            sync_for_all(sync, folder);
        }
    }
    apr_thread_mutex_unlock(sync->mutex);
    return self.status;
}
