#include "smartsupp_delivery.h"

#include <apr_atomic.h>

apr_status_t smartsupp_delivery_create(smartsupp_delivery_t **delivery,
                                       apr_allocator_t *allocator)
{
    apr_pool_t *pool;
    apr_status_t status = apr_pool_create_unmanaged_ex(&pool, NULL, allocator);

    if (status != APR_SUCCESS) {
        return status;
    }
    apr_pool_tag(pool, "smartsupp_delivery");
    *delivery = apr_pcalloc(pool, sizeof(**delivery));
    if (!*delivery) {
        apr_pool_destroy(pool);
        return APR_ENOMEM;
    }
    (*delivery)->pool = pool;
    apr_atomic_set32(&(*delivery)->references, 1);
    return APR_SUCCESS;
}

void smartsupp_delivery_retain(smartsupp_delivery_t *delivery)
{
    apr_atomic_inc32(&delivery->references);
}

void smartsupp_delivery_release(smartsupp_delivery_t *delivery)
{
    if (!apr_atomic_dec32(&delivery->references)) {
        apr_pool_destroy(delivery->pool);
    }
}
