#include "smartsupp_delivery.h"

#include <string.h>

#include <apr_thread_mutex.h>

/* What an allocator may keep of freed memory, in bytes. */
#define FREED_KEPT (8 * 1024 * 1024)

/* The compiler's atomics, not APR's: ThreadSanitizer cannot see into libapr,
 * and would take the order that they give for a race. */

apr_status_t smartsupp_delivery_allocator(apr_allocator_t **allocator,
                                          apr_pool_t *pool)
{
    apr_thread_mutex_t *mutex;
    apr_status_t rv =
        apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, pool);

    if (rv == APR_SUCCESS) {
        rv = apr_allocator_create(allocator);
    }
    if (rv == APR_SUCCESS) {
        apr_allocator_max_free_set(*allocator, FREED_KEPT);
        apr_allocator_mutex_set(*allocator, mutex);
    }
    return rv;
}

apr_status_t smartsupp_delivery_create(smartsupp_delivery_t **delivery,
                                       apr_allocator_t *allocator)
{
    apr_pool_t *pool;
    apr_status_t status = apr_pool_create_unmanaged_ex(&pool, NULL, allocator);

    if (status != APR_SUCCESS) {
        return status;
    }
    apr_pool_tag(pool, "smartsupp_delivery");
    *delivery = apr_palloc(pool, sizeof(**delivery));
    if (!*delivery) {
        apr_pool_destroy(pool);
        return APR_ENOMEM;
    }
    memset(*delivery, 0, sizeof(**delivery));
    (*delivery)->pool = pool;
    (*delivery)->references = 1;
    return APR_SUCCESS;
}

void smartsupp_delivery_retain(smartsupp_delivery_t *delivery)
{
    __atomic_add_fetch(&delivery->references, 1, __ATOMIC_RELAXED);
}

void smartsupp_delivery_release(smartsupp_delivery_t *delivery)
{
    if (!__atomic_sub_fetch(&delivery->references, 1, __ATOMIC_ACQ_REL)) {
        apr_pool_destroy(delivery->pool);
    }
}
