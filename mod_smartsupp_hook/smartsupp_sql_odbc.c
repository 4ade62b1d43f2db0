/*
 * The odbc driver of apr_dbd. ODBC is no dialect: which database is behind a
 * connection is asked of it.
 */
#include "smartsupp_sql_driver.h"

#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

/* Of sql.h and sqlext.h. */
#define SQL_DBMS_NAME 17

#define SQLSTATE_LENGTH 5

/* What is needed past apr_dbd, and the transaction that is open. */
typedef struct native_t {
    short (*get_info)(void *connection, unsigned short type, void *value,
                      short size, short *length);
    apr_pool_t *pool; /* of the transaction */
    apr_dbd_transaction_t *transaction;
} native_t;

static native_t *native(smartsupp_sql_t *sql)
{
    native_t *known = sql->native;

    if (known == NULL) {
        known = apr_pcalloc(sql->loan.pool, sizeof(*known));
        *(void **)&known->get_info =
            smartsupp_sql_native_symbol(sql, "SQLGetInfo");
        apr_pool_create(&known->pool, sql->loan.pool);
        apr_pool_tag(known->pool, "smartsupp_sql_odbc");
        sql->native = known;
    }
    return known;
}

static const smartsupp_sql_dialect_t *dialect(smartsupp_sql_t *sql)
{
    static const struct {
        const char *name;
        const smartsupp_sql_dialect_t *dialect;
    } known[] = {
        {"SQLite", &smartsupp_sql_sqlite},
        {"PostgreSQL", &smartsupp_sql_postgresql},
        {"MariaDB", &smartsupp_sql_mysql_dialect},
        {"MySQL", &smartsupp_sql_mysql_dialect},
    };
    char name[64] = "";
    short length = 0;
    size_t i;

    if (native(sql)->get_info) {
        native(sql)->get_info(
            apr_dbd_native_handle(sql->loan.driver, sql->loan.handle),
            SQL_DBMS_NAME, name, (short)sizeof(name), &length);
    }
    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!strcasecmp(name, known[i].name)) {
            return known[i].dialect;
        }
    }
    smartsupp_sql_fail(sql, SMARTSUPP_SQL_TRANSIENT,
                       "the database behind ODBC calls itself \"%s\", which is "
                       "not supported",
                       name);
    return NULL;
}

/* Errors are ours to watch: in its own way apr_dbd would commit, or end,
 * transactions that it thinks have failed. */
static apr_status_t begin(smartsupp_sql_t *sql)
{
    native_t *known = native(sql);
    int rc;

    apr_pool_clear(known->pool);
    known->transaction = NULL;
    rc = apr_dbd_transaction_start(sql->loan.driver, known->pool,
                                   sql->loan.handle, &known->transaction);
    if (rc != 0 || !known->transaction) {
        return smartsupp_sql_failed(sql, rc);
    }
    apr_dbd_transaction_mode_set(sql->loan.driver, known->transaction,
                                 APR_DBD_TRANSACTION_IGNORE_ERRORS);
    return APR_SUCCESS;
}

static int end(smartsupp_sql_t *sql, int mode)
{
    native_t *known = native(sql);

    apr_dbd_transaction_mode_set(sql->loan.driver, known->transaction, mode);
    return apr_dbd_transaction_end(sql->loan.driver, known->pool,
                                   known->transaction);
}

static apr_status_t commit(smartsupp_sql_t *sql)
{
    int rc = end(sql, APR_DBD_TRANSACTION_COMMIT);

    if (rc != 0) {
        return smartsupp_sql_failed(sql, rc);
    }
    native(sql)->transaction = NULL;
    return APR_SUCCESS;
}

static void rollback(smartsupp_sql_t *sql)
{
    native_t *known = native(sql);

    if (known->transaction) {
        (void)end(sql, APR_DBD_TRANSACTION_ROLLBACK);
        known->transaction = NULL;
    }
}

/* SQL_NO_DATA: an UPDATE, DELETE or INSERT that met no row. */
static int is_success(smartsupp_sql_t *sql)
{
    const char *text = apr_dbd_error(sql->loan.driver, sql->loan.handle, 0);

    return text && strstr(text, "returned SQL_NO_DATA") != NULL;
}

/* Cut the SQLSTATE, which apr_dbd puts behind the driver's words, off them. */
static void take_sqlstate(char *state, char *words)
{
    size_t length = strlen(words);
    int i;

    while (length > 0 && apr_isspace(words[length - 1])) {
        length--;
    }
    if (length <= SQLSTATE_LENGTH) {
        return;
    }
    words += length - SQLSTATE_LENGTH;
    for (i = 0; i < SQLSTATE_LENGTH; i++) {
        if (!apr_isupper(words[i]) && !apr_isdigit(words[i])) {
            return;
        }
    }
    apr_cpystrn(state, words, SQLSTATE_LENGTH + 1);
    *words = '\0';
}

/* SQLite's ODBC driver knows one SQLSTATE, and its words end in SQLite's own
 * code: those of data that it refuses (sqlite.org/rescode.html). */
static smartsupp_sql_class_e class_of_sqlite(const char *text)
{
    if (strstr(text, "(19)") || strstr(text, "(18)") || strstr(text, "(20)")) {
        return SMARTSUPP_SQL_PERMANENT;
    }
    return strstr(text, "(1)") || strstr(text, "(17)")
               ? SMARTSUPP_SQL_STALE
               : SMARTSUPP_SQL_TRANSIENT;
}

static void classify(smartsupp_sql_t *sql, int rc)
{
    smartsupp_sql_error_t *error = &sql->error;
    /* "[dbd_odbc] … at apr_dbd_odbc.c:LINE WORDS STATE " */
    const char *text = apr_dbd_error(sql->loan.driver, sql->loan.handle, rc);
    const char *place = strstr(text, ".c:");
    char words[1024];

    place = place ? strchr(place, ' ') : NULL;
    apr_cpystrn(words, place ? place + 1 : text, sizeof(words));
    take_sqlstate(error->code, words);
    apr_cpystrn(error->text, words, sizeof(error->text));
    error->error_class = sql->dialect == &smartsupp_sql_sqlite
                             ? class_of_sqlite(words)
                             : smartsupp_sql_class_of_sqlstate(error->code);
}

const smartsupp_sql_driver_t smartsupp_sql_odbc = {
    .name = "odbc",
    .dialect = dialect,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .is_success = is_success,
    .classify = classify,
};
