/*
 * What an apr_dbd driver needs that the others do not: the inner face of
 * smartsupp_sql, for smartsupp_sql.c and the files named after drivers.
 */
#ifndef SMARTSUPP_SQL_DRIVER_H
#define SMARTSUPP_SQL_DRIVER_H

#include "smartsupp_sql.h"
#include "smartsupp_sql_text.h"

typedef struct smartsupp_sql_driver_t {
    const char *name; /* apr_dbd_driver_name */

    /* What apr_dbd_select wants as `random`, so that errors show and an empty
     * result costs nothing. */
    int random;

    const char *begin; /* SQL */

    /* The dialect that the database behind this connection speaks. */
    const smartsupp_sql_dialect_t *(*dialect)(smartsupp_sql_t *sql);

    /* Whether the connection still leads to the database, told without a word
     * to it; may be NULL. Also asked before the first session. */
    int (*is_spent)(smartsupp_sql_t *sql, apr_pool_t *pool);

    /* Bring a connection's session into the state that durability needs.
     * APR_SUCCESS, or a status with the error filled. */
    apr_status_t (*session)(smartsupp_sql_t *sql, apr_pool_t *pool);

    /* Fill code and class of sql->error after an apr_dbd call returned rc. */
    void (*classify)(smartsupp_sql_t *sql, int rc);
} smartsupp_sql_driver_t;

extern const smartsupp_sql_driver_t smartsupp_sql_sqlite3;

struct smartsupp_sql_t {
    smartsupp_sql_loan_t loan;
    const smartsupp_sql_driver_t *driver;
    const smartsupp_sql_dialect_t *dialect; /* NULL: no session yet */
    const char *prefix;
    void *native; /* the driver's own */
    struct smartsupp_sql_statement_t *statements;
    smartsupp_sql_error_t error;
};

/**
 * Note that an apr_dbd call returned rc: the database's words, its code and
 * class. @return APR_EGENERAL
 */
apr_status_t smartsupp_sql_failed(smartsupp_sql_t *sql, int rc);

/**
 * Select with a completed text and no values; the first column of the first
 * row goes to *value (NULL where there is none). The result is read to its
 * end, as every driver needs.
 */
apr_status_t smartsupp_sql_select_text(const char **value, smartsupp_sql_t *sql,
                                       const char *text, apr_pool_t *pool);

/**
 * A symbol of the database's client library, or NULL. It costs memory in the
 * connection's pool: once a connection, not once an error.
 */
void *smartsupp_sql_native_symbol(smartsupp_sql_t *sql, const char *name);

#endif
