/*
 * The SQL texts of the module, and how a dialect completes them.
 *
 * A text holds words in braces. {prefix} is the table prefix; the others are
 * spelled by the dialect, in the file of the driver that is native to it.
 * A word may name a column, as in {if_new version}: the spelling has $ where
 * it goes. Values are marked as apr_dbd_prepare wants them: %s text, %lld
 * integer.
 */
#ifndef SMARTSUPP_SQL_TEXT_H
#define SMARTSUPP_SQL_TEXT_H

#include <apr_pools.h>

#include "smartsupp_sql.h"

#define SMARTSUPP_SQL_WORDS_MAX 16

/* How a database spells what the databases do not agree on. */
typedef struct smartsupp_sql_dialect_t {
    const char *name;
    struct {
        const char *word;
        const char *spelling;
    } words[SMARTSUPP_SQL_WORDS_MAX];
    /*
     * text      type: unbounded text
     * key       type: up to 128 bytes, compared as bytes
     * boolean   a boolean value, bound as '0' or '1'
     * rows      table option: rows may be long
     * cluster   table option: rows lie in the order of their key
     * if_new    end of an INSERT that a known key turns into none; $ is a
     *           column
     * lock      end of a SELECT that locks its rows
     * view      create a view, whether it is there or not
     * utc       m.sent_at as 'YYYY-MM-DD HH:MM:SS'
     * take_turn a query that waits until no other session migrates
     * end_turn  a query that lets the next one
     */

    /* In SQL: bring a session into the state that durability and text need.
     * APR_SUCCESS, or a status with the error filled. */
    apr_status_t (*session)(smartsupp_sql_t *sql, apr_pool_t *pool);
} smartsupp_sql_dialect_t;

extern const smartsupp_sql_dialect_t smartsupp_sql_sqlite;
extern const smartsupp_sql_dialect_t smartsupp_sql_postgresql;
extern const smartsupp_sql_dialect_t smartsupp_sql_mysql_dialect;

/* The most rows of one statement, and so of one prepared text. */
#define SMARTSUPP_SQL_ROWS_MAX                                                 \
    (SMARTSUPP_SQL_AT_ONCE_MAX * SMARTSUPP_SQL_MESSAGES_AT_ONCE)

/**
 * The statement's text for that many rows (1 for all but those that take many).
 */
const char *smartsupp_sql_statement_text(const smartsupp_sql_dialect_t *dialect,
                                         smartsupp_sql_id_e id, int rows,
                                         const char *prefix, apr_pool_t *pool);

/** How many values a row of the statement takes. */
int smartsupp_sql_statement_values(smartsupp_sql_id_e id);

/** The most rows that the statement takes. */
int smartsupp_sql_statement_rows(smartsupp_sql_id_e id);

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
