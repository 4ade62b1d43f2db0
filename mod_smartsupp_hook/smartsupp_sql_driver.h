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

    /* Statements have names in the session, which must differ. */
    int named;

    /* Whether the connection still leads to the database, told without a word
     * to it; may be NULL. Also asked before the first session. */
    int (*is_spent)(smartsupp_sql_t *sql, apr_pool_t *pool);

    /* At each loan, without a word to the database; may be NULL.
     * @return whether this is another session than last time */
    int (*enter)(smartsupp_sql_t *sql);

    /* At the end of each loan; may be NULL. */
    void (*leave)(smartsupp_sql_t *sql);

    /* The descriptor of its socket, or -1; may be NULL. */
    int (*socket)(smartsupp_sql_t *sql);

    /* The dialect that the database behind this connection speaks; NULL, with
     * the error filled, where that is none we know. */
    const smartsupp_sql_dialect_t *(*dialect)(smartsupp_sql_t *sql);

    /* As in smartsupp_sql.h. */
    apr_status_t (*begin)(smartsupp_sql_t *sql);
    apr_status_t (*commit)(smartsupp_sql_t *sql);
    void (*rollback)(smartsupp_sql_t *sql);

    /* Whether the call that apr_dbd says has failed did all there was to do;
     * may be NULL. */
    int (*is_success)(smartsupp_sql_t *sql);

    /* Fill code and class of sql->error after an apr_dbd call returned rc.
     * sql->error.text holds the database's words, whole as far as they fit. */
    void (*classify)(smartsupp_sql_t *sql, int rc);
} smartsupp_sql_driver_t;

extern const smartsupp_sql_driver_t smartsupp_sql_sqlite3;
extern const smartsupp_sql_driver_t smartsupp_sql_pgsql;
extern const smartsupp_sql_driver_t smartsupp_sql_mysql;
extern const smartsupp_sql_driver_t smartsupp_sql_odbc;

struct smartsupp_sql_t {
    smartsupp_sql_loan_t loan;
    const smartsupp_sql_driver_t *driver;
    const smartsupp_sql_dialect_t *dialect; /* NULL: no session yet */
    const char *prefix;
    const char *warning;     /* for smartsupp_sql_warning */
    void *native;            /* the driver's own */
    unsigned int generation; /* of the statements: in their names */
    int at_once;             /* INSERT_AT_ONCE works in this session */
    struct smartsupp_sql_statement_t *statements;
    smartsupp_sql_error_t error;
};

/**
 * Note that an apr_dbd call returned rc: the database's words, its code and
 * class. @return APR_EGENERAL
 */
apr_status_t smartsupp_sql_failed(smartsupp_sql_t *sql, int rc);

/** Run a completed text that returns no rows. */
apr_status_t smartsupp_sql_run(smartsupp_sql_t *sql, const char *text);

/** begin, commit and rollback where these are SQL. */
apr_status_t smartsupp_sql_run_commit(smartsupp_sql_t *sql);
void smartsupp_sql_run_rollback(smartsupp_sql_t *sql);

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

/** What an SQLSTATE (ISO/IEC 9075-2) means, as PostgreSQL uses them. */
smartsupp_sql_class_e smartsupp_sql_class_of_sqlstate(const char *state);

#endif
