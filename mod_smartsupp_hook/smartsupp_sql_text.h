/*
 * The SQL texts of the module, and how a dialect completes them.
 *
 * A text holds words in braces. {prefix} is the table prefix; the others are
 * spelled by the dialect, in the table of smartsupp_sql_text.c. Values are
 * marked as apr_dbd_prepare wants them: %s text, %lld integer.
 */
#ifndef SMARTSUPP_SQL_TEXT_H
#define SMARTSUPP_SQL_TEXT_H

#include <apr_pools.h>

#include "smartsupp_sql.h"

typedef struct smartsupp_sql_dialect_t smartsupp_sql_dialect_t;

extern const smartsupp_sql_dialect_t smartsupp_sql_sqlite;

/* The most rows of one statement, and so of one prepared text. */
#define SMARTSUPP_SQL_ROWS_MAX 64

/**
 * The statement's text for that many rows (1 for all but the many-row
 * inserts).
 */
const char *smartsupp_sql_statement_text(const smartsupp_sql_dialect_t *dialect,
                                         smartsupp_sql_id_e id, int rows,
                                         const char *prefix, apr_pool_t *pool);

/** How many values a row of the statement takes. */
int smartsupp_sql_statement_values(smartsupp_sql_id_e id);

/** The text with its words replaced. */
const char *smartsupp_sql_complete(const smartsupp_sql_dialect_t *dialect,
                                   const char *text, const char *prefix,
                                   apr_pool_t *pool);

/* One table or view: its name, and what a reader or writer of it needs. */
typedef struct smartsupp_sql_table_t {
    const char *name;
    const char *columns;
} smartsupp_sql_table_t;

/** All of them; the last one's name is NULL. */
extern const smartsupp_sql_table_t smartsupp_sql_tables[];

/**
 * The migrations, oldest first; the last one is NULL. Number i (from 1) takes
 * a database from version i-1 to i; it may meet its own work half done. A text
 * that has been released is never changed: what comes later is a new one.
 */
extern const char *const smartsupp_sql_migrations[];

/** The table that records them; created before the first. */
extern const char smartsupp_sql_schema_version_table[];

#endif
