/*
 * One pass over a spool: its deliveries, oldest first, into the commit room, as
 * a request thread would submit them, with many in flight at a time. A file
 * goes when its delivery is committed. No SQL is called here, and none is
 * waited for longer than SmartsuppDatabaseWait.
 *
 * One delivery that fails never blocks the others. What the database refuses
 * for good goes to rejected/, with its words; so does what can no longer be
 * decoded, and a file that is damaged. Where a batch fails as if the database
 * were down, the deliveries are tried one by one: one that fails is suspect,
 * and tried after all others from then on, less and less often while the
 * database is well; three in a row that fail are taken for an outage.
 */
#ifndef MOD_SMARTSUPP_DRAIN_H
#define MOD_SMARTSUPP_DRAIN_H

#include <httpd.h>
#include <apr_hash.h>

#include "smartsupp_spool.h"

/* What is remembered of a spool from one pass to the next, in a child. */
typedef struct smartsupp_drain_t {
    server_rec *server;
    smartsupp_spool_t *spool;
    int stopping; /* atomic: end the pass soon */

    /* the pass's own */
    apr_allocator_t *deliveries; /* NULL: not prepared yet */
    int careful;                 /* so many are to be committed one by one */
    apr_pool_t *suspects_pool;
    apr_hash_t *suspects; /* names */
    apr_time_t suspects_due;
    apr_interval_time_t suspects_pause;
} smartsupp_drain_t;

/* How a pass ended. */
typedef enum smartsupp_drain_e {
    SMARTSUPP_DRAIN_DONE,    /* all that could be done is done */
    SMARTSUPP_DRAIN_MORE,    /* and there is more: at once again */
    SMARTSUPP_DRAIN_OUTAGE,  /* the database takes nothing now */
    SMARTSUPP_DRAIN_BLOCKED, /* nor does this child's writer: it is stuck */
} smartsupp_drain_e;

/** Prepare, once in each child. @return APR_SUCCESS or the system's error */
apr_status_t smartsupp_drain_prepare(smartsupp_drain_t *drain);

/** Make one pass. The pool is for it alone. */
smartsupp_drain_e smartsupp_drain_pass(smartsupp_drain_t *drain,
                                       apr_pool_t *pool);

/**
 * The next pause after one that has not helped: twice as long, at least
 * `least`, and at most a minute, or `least` where that is longer.
 */
apr_interval_time_t smartsupp_drain_longer(apr_interval_time_t pause,
                                           apr_interval_time_t least);

#endif
