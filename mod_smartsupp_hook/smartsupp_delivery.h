/*
 * A delivery is the bytes as received, and later what they were decoded to.
 *
 * It has a pool of its own, in which its body and all that is decoded from it
 * live, and is reference-counted, because the thread that received it may stop
 * waiting while the writer still works on it. Whoever holds a reference may
 * read; only the creator may write, before it hands the delivery to anyone
 * else. The counting is atomic, all else is plain memory.
 *
 * The pool does not abort the process when memory is short: apr_palloc from it
 * may give NULL, which apr_pcalloc, apr_pstrdup and their kin would write to.
 */
#ifndef SMARTSUPP_DELIVERY_H
#define SMARTSUPP_DELIVERY_H

#include <apr_allocator.h>
#include <apr_errno.h>
#include <apr_pools.h>

#include "smartsupp_problem.h"

/* The length of a SHA-256 in hex, in characters. */
#define SMARTSUPP_SHA256_HEX 64

typedef struct smartsupp_delivery_t {
    apr_pool_t *pool;
    const char *body; /* the bytes as received, and a NUL after them */
    apr_size_t body_length;
    char body_sha256[SMARTSUPP_SHA256_HEX + 1]; /* lower-case hex */
    apr_int64_t received_at;                    /* epoch ms */

    /* After decoding exactly one of these two is set. */
    const struct smartsupp_conversation_t *conversation;
    const struct smartsupp_event_t *event;
    const smartsupp_problems_t *warnings;

    apr_uint32_t references; /* private: use the calls below */
} smartsupp_delivery_t;

/**
 * Make the allocator that deliveries take their memory from, safe for threads,
 * which keeps some MiB of what is freed. It lives as long as the process: a
 * delivery may outlive every pool but that.
 *
 * @param pool of its mutex; must live as long as threads use it
 * @return APR_SUCCESS or the system's error
 */
apr_status_t smartsupp_delivery_allocator(apr_allocator_t **allocator,
                                          apr_pool_t *pool);

/**
 * Make an empty delivery with one reference, in a new pool that belongs to no
 * other and takes its memory from the allocator (which must be safe for
 * threads and outlive it).
 *
 * @return APR_SUCCESS or APR_ENOMEM
 */
apr_status_t smartsupp_delivery_create(smartsupp_delivery_t **delivery,
                                       apr_allocator_t *allocator);

/** Take a further reference. */
void smartsupp_delivery_retain(smartsupp_delivery_t *delivery);

/** Give a reference back; the last one destroys the delivery and its pool. */
void smartsupp_delivery_release(smartsupp_delivery_t *delivery);

#endif
