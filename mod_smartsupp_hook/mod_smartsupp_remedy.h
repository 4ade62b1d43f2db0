/*
 * What an administrator can do about a database that takes no deliveries.
 */
#ifndef MOD_SMARTSUPP_REMEDY_H
#define MOD_SMARTSUPP_REMEDY_H

#include "smartsupp_sql.h"

/**
 * The remedy for an error, as the end of a log line. For SQLite it looks at the
 * file system, with the rights of this process.
 *
 * @param driver DBDriver, or NULL
 * @param params DBDParams, or NULL
 */
const char *smartsupp_remedy(const char *driver, const char *params,
                             const smartsupp_sql_error_t *error,
                             apr_pool_t *pool);

#endif
