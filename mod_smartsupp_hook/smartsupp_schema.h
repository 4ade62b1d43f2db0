/*
 * The tables, brought up to date or only looked at, before the first store of
 * a process. Any number of processes may do it at once: each migration can
 * meet its own work done, and records itself without minding that another has.
 */
#ifndef SMARTSUPP_SCHEMA_H
#define SMARTSUPP_SCHEMA_H

#include <apr_errno.h>
#include <apr_pools.h>

#include "smartsupp_sql.h"

typedef enum smartsupp_schema_mode_e {
    SMARTSUPP_SCHEMA_CREATE, /* apply what is missing, then check */
    SMARTSUPP_SCHEMA_CHECK   /* change nothing */
} smartsupp_schema_mode_e;

/**
 * Make sure that every table, column and view of this release is there.
 * Outside of a transaction.
 *
 * @return APR_SUCCESS, or APR_EGENERAL with smartsupp_sql_error telling which
 *         migration failed, which table or column is missing, or that the
 *         database is newer than the module
 */
apr_status_t smartsupp_schema_ensure(smartsupp_sql_t *sql,
                                     smartsupp_schema_mode_e mode,
                                     apr_pool_t *pool);

#endif
