/*
 * The only user of mod_dbd: lends its connections to the writers of the commit
 * rooms, for as long as a batch takes, and passes on to the error log what they
 * find of the database.
 *
 * SQLite lets one connection write at a time, and apr_dbd answers the others
 * with sleeps of 100 ms; so the writers of all children take turns at a global
 * mutex per SQLite file instead (reference/apr_dbd.md, section 3).
 */
#ifndef MOD_SMARTSUPP_LENDER_H
#define MOD_SMARTSUPP_LENDER_H

#include <apr_global_mutex.h>
#include <httpd.h>

#include "smartsupp_batch.h"

/* Where a database's connections come from. Filled by its owner at the start;
 * each child has its own copy. */
typedef struct smartsupp_lender_t {
    server_rec *server; /* whose mod_dbd pool is used */
    const char *driver; /* NULL: not told by the configuration tree */
    const char *params;
    const char *prefix;       /* of the tables */
    apr_global_mutex_t *turn; /* sqlite3 only */
    const char *turn_file;    /* of the mutex */
    int spent_max;            /* see smartsupp_lender_spent_max */

    int warned; /* the lender's own */
} smartsupp_lender_t;

/** At the start, once mod_dbd is loaded. */
void smartsupp_lender_post_config(void);

/** Whether DBDriver is that, in any case. */
int smartsupp_lender_is_driver(const smartsupp_lender_t *lender,
                               const char *name);

/**
 * How many spent connections a loan may pass over: mod_dbd waits without end
 * for one more than DBDMax.
 *
 * @param dbdmax the directive's argument; NULL where there is none
 */
int smartsupp_lender_spent_max(const char *dbdmax);

/** What a commit room is given of it; the lender must outlive that room. */
smartsupp_batch_lender_t smartsupp_lender_face(smartsupp_lender_t *lender);

/** For smartsupp_commit_config_t: log that the database takes no deliveries,
 * and why, or (NULL) that it takes them again. The baton is the lender. */
void smartsupp_lender_report(const smartsupp_sql_error_t *error, void *baton);

#endif
