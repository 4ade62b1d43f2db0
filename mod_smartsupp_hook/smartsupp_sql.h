/*
 * SQL on a lent connection. The room holds every SQL text of the module and
 * every call to apr_dbd; it opens nothing and starts no transaction of its
 * own accord.
 *
 * A database differs from another in two ways, kept apart because ODBC mixes
 * them: the *dialect* is how its SQL is spelled (a table of words that the
 * texts of smartsupp_sql_text.c are completed with), the *driver* is how
 * apr_dbd must be called for it (a table of functions, one file a driver).
 *
 * Statements are prepared when first used and kept with the connection, per
 * table prefix, in the hash that mod_dbd keeps for it. They are dropped as a
 * whole when the connection no longer knows them.
 *
 * One thread at a time may use a connection, which is what lending means.
 * Every call that fails has filled smartsupp_sql_error; after a failure the
 * only useful calls are smartsupp_sql_rollback and smartsupp_sql_forget.
 *
 * Evidence: reference/apr_dbd.md; each rule there cost someone a crash.
 */
#ifndef SMARTSUPP_SQL_H
#define SMARTSUPP_SQL_H

#include <apr_dbd.h>
#include <apr_errno.h>
#include <apr_hash.h>
#include <apr_pools.h>
#include <apr_tables.h>

/* What a failure means for what was tried. */
typedef enum smartsupp_sql_class_e {
    SMARTSUPP_SQL_TRANSIENT, /* an outage: the same may succeed later */
    SMARTSUPP_SQL_CONFLICT,  /* another transaction was in the way */
    SMARTSUPP_SQL_STALE,     /* statements or tables are not what we knew */
    SMARTSUPP_SQL_PERMANENT  /* the database refuses this data for good */
} smartsupp_sql_class_e;

/* The code of an error that has none. */
#define SMARTSUPP_SQL_NO_CODE "none"

typedef struct smartsupp_sql_error_t {
    smartsupp_sql_class_e error_class;
    char code[8];   /* SQLSTATE, or the database's own number, or NO_CODE */
    char text[256]; /* the database's words, cut before any value they quote */
} smartsupp_sql_error_t;

/* What mod_dbd hands out, without its header. */
typedef struct smartsupp_sql_loan_t {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_pool_t *pool;     /* lives as long as the connection */
    apr_hash_t *prepared; /* of the connection; our state is kept in it */
} smartsupp_sql_loan_t;

typedef struct smartsupp_sql_t smartsupp_sql_t;

/* The statements. The comment gives the values in their order. */
typedef enum smartsupp_sql_id_e {
    /* per row: all other columns of conversation, then the key; a row whose
     * key exists is left out and not counted */
    SMARTSUPP_SQL_INSERT_CONVERSATIONS,
    /* only where smartsupp_sql_inserts_at_once: conversations and all of their
     * children, a transaction by itself. For each row that many values of each
     * table as is told below, first the conversations, then messages, paths
     * and variables; what is not needed is NULL. -> the keys of the
     * conversations that were new; the others are left out with their
     * children */
    SMARTSUPP_SQL_INSERT_AT_ONCE,
    /* one row of a conversation's values */
    SMARTSUPP_SQL_UPDATE_CONVERSATION,
    /* per row: key. -> key, end_at, message_rows, received_at, updated_at,
     * body_sha256, number of children; locks the rows until the transaction
     * ends */
    SMARTSUPP_SQL_SELECT_VERSIONS,
    /* key */
    SMARTSUPP_SQL_DELETE_MESSAGES,
    SMARTSUPP_SQL_DELETE_PATHS,
    SMARTSUPP_SQL_DELETE_VARIABLES,
    /* per row: key, seq, columns */
    SMARTSUPP_SQL_INSERT_MESSAGES,
    SMARTSUPP_SQL_INSERT_PATHS,
    SMARTSUPP_SQL_INSERT_VARIABLES,
    /* event: all columns; affects 0 rows where the body is known */
    SMARTSUPP_SQL_INSERT_EVENT,
    /* -> the highest version that was applied, or NULL */
    SMARTSUPP_SQL_SELECT_SCHEMA_VERSION,
    /* version, applied_at; affects 0 rows where the version is known */
    SMARTSUPP_SQL_INSERT_SCHEMA_VERSION,
    SMARTSUPP_SQL_STATEMENTS
} smartsupp_sql_id_e;

/* How many values the statements take, per row. */
#define SMARTSUPP_SQL_KEY_VALUES 3
#define SMARTSUPP_SQL_CONVERSATION_VALUES 36
#define SMARTSUPP_SQL_MESSAGE_VALUES 12
#define SMARTSUPP_SQL_PATH_VALUES 6
#define SMARTSUPP_SQL_VARIABLE_VALUES 8
#define SMARTSUPP_SQL_EVENT_VALUES 6

/* How many rows of children a row of INSERT_AT_ONCE has room for. */
#define SMARTSUPP_SQL_MESSAGES_AT_ONCE 8
#define SMARTSUPP_SQL_PATHS_AT_ONCE 4
#define SMARTSUPP_SQL_VARIABLES_AT_ONCE 4
#define SMARTSUPP_SQL_AT_ONCE_VALUES                                           \
    (SMARTSUPP_SQL_CONVERSATION_VALUES +                                       \
     SMARTSUPP_SQL_MESSAGES_AT_ONCE * SMARTSUPP_SQL_MESSAGE_VALUES +           \
     SMARTSUPP_SQL_PATHS_AT_ONCE * SMARTSUPP_SQL_PATH_VALUES +                 \
     SMARTSUPP_SQL_VARIABLES_AT_ONCE * SMARTSUPP_SQL_VARIABLE_VALUES)

/* The most of its rows. */
#define SMARTSUPP_SQL_AT_ONCE_MAX 16

/* How many columns SELECT_VERSIONS gives. */
#define SMARTSUPP_SQL_VERSION_COLUMNS 9

/* A statement with the rows of values for it, one after the other; a value
 * that is NULL is SQL NULL. */
typedef struct smartsupp_sql_call_t {
    smartsupp_sql_id_e id;
    int rows; /* at most smartsupp_sql_chunk of it; 1 for most */
    const char **values;
} smartsupp_sql_call_t;

/**
 * Take a lent connection into use for one table prefix. What was set up for
 * it before (session settings, statements) is found again; the first time,
 * the session is brought into the state that durability needs.
 *
 * @param sql the connection, usable until it is given back
 * @param error filled on failure
 * @param loan is copied
 * @param prefix of the tables; must outlive the connection
 * @param pool for what is needed only during the call
 * @return APR_SUCCESS; APR_EOF: this connection leads to the database no
 *         longer, another one may; APR_ENOTIMPL: a driver that the module does
 *         not support; APR_EGENERAL: the session could not be set up
 */
apr_status_t smartsupp_sql_lend(smartsupp_sql_t **sql,
                                smartsupp_sql_error_t *error,
                                const smartsupp_sql_loan_t *loan,
                                const char *prefix, apr_pool_t *pool);

/**
 * Leave the connection to its other users as it was found. Once for each lend,
 * with no transaction open.
 */
void smartsupp_sql_return(smartsupp_sql_t *sql);

/**
 * What should be told to an administrator of this database, once: that it does
 * not keep what it has committed, say. NULL where there is nothing, or it has
 * been asked for already.
 */
const char *smartsupp_sql_warning(smartsupp_sql_t *sql);

/**
 * A duplicate of the descriptor of the socket that leads to the database, for
 * another thread to shut down when a call on this connection does not return.
 * The caller closes it. -1 where there is none, or the client library does not
 * tell.
 */
int smartsupp_sql_socket(smartsupp_sql_t *sql);

/** The error of the last call that failed on this connection. */
const smartsupp_sql_error_t *smartsupp_sql_error(const smartsupp_sql_t *sql);

/**
 * Note a failure that the caller found, in printf's manner, so that it is
 * reported like one of the database's own.
 *
 * @return APR_EGENERAL, for `return smartsupp_sql_fail(…)`
 */
apr_status_t smartsupp_sql_fail(smartsupp_sql_t *sql,
                                smartsupp_sql_class_e error_class,
                                const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * Note a failure of the same class and code as `error`, in other words.
 *
 * @return APR_EGENERAL
 */
apr_status_t smartsupp_sql_fail_like(smartsupp_sql_t *sql,
                                     const smartsupp_sql_error_t *error,
                                     const char *text);

/**
 * Begin a transaction that may write. APR_SUCCESS, or APR_EGENERAL and no
 * transaction is open.
 */
apr_status_t smartsupp_sql_begin(smartsupp_sql_t *sql);

/**
 * Commit. APR_SUCCESS: it is durable. APR_EGENERAL: it may or may not be, the
 * transaction is rolled back as far as that is still possible.
 */
apr_status_t smartsupp_sql_commit(smartsupp_sql_t *sql);

/** Roll back; the error that led here is kept. Harmless without one open. */
void smartsupp_sql_rollback(smartsupp_sql_t *sql);

/** Drop all statements, to be prepared anew when they are next used. */
void smartsupp_sql_forget(smartsupp_sql_t *sql);

/**
 * Run a text (see smartsupp_sql_text.h for its words) that takes no values and
 * returns no rows.
 */
apr_status_t smartsupp_sql_query(smartsupp_sql_t *sql, const char *text,
                                 apr_pool_t *pool);

/**
 * Run a text that returns rows, and drop them: it either works or does not.
 */
apr_status_t smartsupp_sql_probe(smartsupp_sql_t *sql, const char *text,
                                 apr_pool_t *pool);

/** Whether INSERT_AT_ONCE works in this session. */
int smartsupp_sql_inserts_at_once(const smartsupp_sql_t *sql);

/** It does not, after all. */
void smartsupp_sql_avoid_at_once(smartsupp_sql_t *sql);

/**
 * How many of so many rows the statement takes at once: it is prepared for few
 * row counts only (1 to 8, 16, 32 and 64).
 */
int smartsupp_sql_chunk(smartsupp_sql_id_e id, int rows);

/**
 * The fewest rows that the statement takes at once and that have room for so
 * many; 0 where none have.
 */
int smartsupp_sql_room(smartsupp_sql_id_e id, int rows);

/**
 * Execute a statement.
 *
 * @param affected the rows it changed; may be NULL
 */
apr_status_t smartsupp_sql_execute(int *affected, smartsupp_sql_t *sql,
                                   const smartsupp_sql_call_t *call,
                                   apr_pool_t *pool);

/**
 * Execute an insert on any number of rows, in chunks.
 */
apr_status_t smartsupp_sql_insert_rows(smartsupp_sql_t *sql,
                                       const smartsupp_sql_call_t *call,
                                       apr_pool_t *pool);

/**
 * Select rows.
 *
 * @param rows takes an array of const char **, a row of `columns` values each,
 *        all allocated from the pool; SQL NULL is NULL
 */
apr_status_t smartsupp_sql_select(apr_array_header_t **rows,
                                  smartsupp_sql_t *sql,
                                  const smartsupp_sql_call_t *call, int columns,
                                  apr_pool_t *pool);

#endif
