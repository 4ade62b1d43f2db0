/*
 * Deliveries to rows, and their commit.
 *
 * All in one transaction; but where one statement can insert into all tables
 * (pgsql), and the batch is small, the conversations that are new go first, by
 * that one. Known ones, and events, are left to a transaction after it.
 *
 * A conversation that is not known is inserted. One that is known is locked
 * and compared (smartsupp_version_compare): a newer version replaces the row
 * and all of its children, an older one changes nothing. There is no check
 * before the insert that another server could slip past: the insert itself
 * tells whether the key was there.
 *
 * Children of all deliveries go in together, one many-row statement a table
 * where the row counts allow.
 */
#ifndef SMARTSUPP_STORE_H
#define SMARTSUPP_STORE_H

#include <apr_errno.h>
#include <apr_pools.h>

#include "smartsupp_conversation.h"
#include "smartsupp_sql.h"

typedef enum smartsupp_store_result_e {
    SMARTSUPP_STORE_STORED,    /* it was new */
    SMARTSUPP_STORE_UPDATED,   /* it replaced an older version */
    SMARTSUPP_STORE_DUPLICATE, /* the same bytes are stored already */
    SMARTSUPP_STORE_STALE      /* a newer version is stored */
} smartsupp_store_result_e;

/**
 * Store decoded deliveries, durably. No transaction may be open, and none is
 * afterwards. Several of them may be versions of one
 * conversation: the newest is stored, the others are answered as if they had
 * come after it.
 *
 * @param results takes one result a delivery
 * @param pool for what is needed only during the call; memory grows with the
 *        number of messages, paths and variables
 * @return APR_SUCCESS; or APR_EGENERAL with smartsupp_sql_error filled: some,
 *         all or none of them may be stored, each with all that belongs to it
 *         or not at all. To store them again is right (as in promise 2 of
 *         design.md, the answer may then be DUPLICATE).
 */
apr_status_t smartsupp_store(smartsupp_store_result_e *results,
                             smartsupp_sql_t *sql,
                             smartsupp_delivery_t *const *deliveries, int count,
                             apr_pool_t *pool);

#endif
