#include "smartsupp_sql.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include <apr_dso.h>
#include <apr_strings.h>

#include "smartsupp_sql_driver.h"

/* The row counts that many-row inserts are prepared for. Few, because MySQL
 * allows 16,382 prepared statements a server (design.md, Round trips). */
static const int row_counts[] = {64, 32, 16, 8, 7, 6, 5, 4, 3, 2, 1};

/* The class of SQLSTATEs that tell of values (ISO/IEC 9075-2). */
#define DATA_EXCEPTION "22"

#define ROW_COUNTS (sizeof(row_counts) / sizeof(row_counts[0]))

typedef struct smartsupp_sql_statement_t {
    apr_dbd_prepared_t *prepared[ROW_COUNTS];
} smartsupp_sql_statement_t;

static const smartsupp_sql_driver_t *const drivers[] = {
    &smartsupp_sql_sqlite3,
    &smartsupp_sql_pgsql,
    &smartsupp_sql_mysql,
    &smartsupp_sql_odbc,
};

apr_status_t smartsupp_sql_fail(smartsupp_sql_t *sql,
                                smartsupp_sql_class_e error_class,
                                const char *format, ...)
{
    va_list arguments;

    sql->error.error_class = error_class;
    strcpy(sql->error.code, SMARTSUPP_SQL_NO_CODE);
    va_start(arguments, format);
    apr_vsnprintf(sql->error.text, sizeof(sql->error.text), format, arguments);
    va_end(arguments);
    return APR_EGENERAL;
}

apr_status_t smartsupp_sql_fail_like(smartsupp_sql_t *sql,
                                     const smartsupp_sql_error_t *error,
                                     const char *text)
{
    char words[sizeof(sql->error.text)];

    apr_cpystrn(words, text, sizeof(words)); /* it may be the error's own */
    sql->error = *error;
    apr_cpystrn(sql->error.text, words, sizeof(sql->error.text));
    return APR_EGENERAL;
}

/*
 * Cut a database's words before the first value that they quote, and after
 * their first line, where details begin: PostgreSQL `…: "value"`, MySQL
 * `… entry 'value' …` and `… value: 'value' …`.
 */
static void redact(smartsupp_sql_error_t *error)
{
    static const char *const before_values[] = {": \"", "entry '", "value: '",
                                                "value '", "=("};
    char *text = error->text;
    size_t i;

    text[strcspn(text, "\r\n")] = '\0';
    if (strlen(error->code) == strlen("22000") &&
        !strncmp(error->code, DATA_EXCEPTION, strlen(DATA_EXCEPTION))) {
        /* whatever these quote is a value */
        text[strcspn(text, "\"'")] = '\0';
    }
    for (i = 0; i < sizeof(before_values) / sizeof(before_values[0]); i++) {
        char *found = strstr(text, before_values[i]);

        if (found) {
            *found = '\0';
        }
    }
}

apr_status_t smartsupp_sql_failed(smartsupp_sql_t *sql, int rc)
{
    const char *text = apr_dbd_error(sql->loan.driver, sql->loan.handle, rc);

    apr_cpystrn(sql->error.text, text ? text : "", sizeof(sql->error.text));
    strcpy(sql->error.code, SMARTSUPP_SQL_NO_CODE);
    sql->driver->classify(sql, rc);
    redact(&sql->error);
    return APR_EGENERAL;
}

smartsupp_sql_class_e smartsupp_sql_class_of_sqlstate(const char *state)
{
    static const struct {
        const char *state; /* or the two characters of its class */
        smartsupp_sql_class_e error_class;
    } classes[] = {
        /* a privilege that is missing is no fault of the delivery */
        {"42501", SMARTSUPP_SQL_TRANSIENT},
        /* no such statement or name for one; plan, table or column is not what
         * the statement was written for */
        {"26", SMARTSUPP_SQL_STALE},
        {"0A", SMARTSUPP_SQL_STALE},
        {"42", SMARTSUPP_SQL_STALE},
        /* serialization failure, deadlock */
        {"40001", SMARTSUPP_SQL_CONFLICT},
        {"40P01", SMARTSUPP_SQL_CONFLICT},
        /* data, constraint */
        {"21", SMARTSUPP_SQL_PERMANENT},
        {"22", SMARTSUPP_SQL_PERMANENT},
        {"23", SMARTSUPP_SQL_PERMANENT},
        {"44", SMARTSUPP_SQL_PERMANENT},
        {"54", SMARTSUPP_SQL_PERMANENT},
        {"P0", SMARTSUPP_SQL_PERMANENT}, /* raised by a trigger */
    };
    size_t i;

    for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (!strncmp(state, classes[i].state, strlen(classes[i].state))) {
            return classes[i].error_class;
        }
    }
    /* connection, resources, read-only, shutdown; and unknown */
    return SMARTSUPP_SQL_TRANSIENT;
}

int smartsupp_sql_socket(smartsupp_sql_t *sql)
{
    int socket = sql->driver->socket ? sql->driver->socket(sql) : -1;

    return socket >= 0 ? fcntl(socket, F_DUPFD_CLOEXEC, 0) : -1;
}

void *smartsupp_sql_native_symbol(smartsupp_sql_t *sql, const char *name)
{
    apr_dso_handle_t *dso;
    apr_dso_handle_sym_t symbol;

    if (apr_dso_load(&dso, NULL, sql->loan.pool) != APR_SUCCESS ||
        apr_dso_sym(&symbol, dso, name) != APR_SUCCESS) {
        return NULL;
    }
    return symbol;
}

/* Read a result to its end, which every driver needs. */
static apr_array_header_t *read_rows(int columns, smartsupp_sql_t *sql,
                                     apr_dbd_results_t *results,
                                     apr_pool_t *pool)
{
    apr_array_header_t *rows = apr_array_make(pool, 1, sizeof(const char **));
    apr_dbd_row_t *row = NULL;
    int i;

    while (apr_dbd_get_row(sql->loan.driver, pool, results, &row, -1) == 0) {
        const char **values =
            apr_pcalloc(pool, (apr_size_t)columns * sizeof(*values));

        for (i = 0; i < columns; i++) {
            char *value = NULL;

            /* not get_entry: on pgsql it makes "" of SQL NULL */
            if (apr_dbd_datum_get(sql->loan.driver, row, i, APR_DBD_TYPE_STRING,
                                  &value) == APR_SUCCESS) {
                values[i] = apr_pstrdup(pool, value);
            }
        }
        APR_ARRAY_PUSH(rows, const char **) = values;
    }
    return rows;
}

apr_status_t smartsupp_sql_select_text(const char **value, smartsupp_sql_t *sql,
                                       const char *text, apr_pool_t *pool)
{
    apr_dbd_results_t *results = NULL;
    apr_array_header_t *rows;
    int rc = apr_dbd_select(sql->loan.driver, pool, sql->loan.handle, &results,
                            text, sql->driver->random);

    *value = NULL;
    if (rc != 0) {
        return smartsupp_sql_failed(sql, rc);
    }
    rows = read_rows(1, sql, results, pool);
    if (rows->nelts > 0) {
        *value = APR_ARRAY_IDX(rows, 0, const char **)[0];
    }
    return APR_SUCCESS;
}

apr_status_t smartsupp_sql_run(smartsupp_sql_t *sql, const char *text)
{
    int affected = 0;
    int rc = apr_dbd_query(sql->loan.driver, sql->loan.handle, &affected, text);

    return rc == 0 ? APR_SUCCESS : smartsupp_sql_failed(sql, rc);
}

apr_status_t smartsupp_sql_run_commit(smartsupp_sql_t *sql)
{
    return smartsupp_sql_run(sql, "COMMIT");
}

void smartsupp_sql_run_rollback(smartsupp_sql_t *sql)
{
    int affected = 0;

    /* it fails where the database has rolled back by itself: no matter */
    (void)apr_dbd_query(sql->loan.driver, sql->loan.handle, &affected,
                        "ROLLBACK");
}

apr_status_t smartsupp_sql_begin(smartsupp_sql_t *sql)
{
    return sql->driver->begin(sql);
}

apr_status_t smartsupp_sql_commit(smartsupp_sql_t *sql)
{
    apr_status_t rv = sql->driver->commit(sql);

    if (rv != APR_SUCCESS) {
        smartsupp_sql_rollback(sql);
    }
    return rv;
}

void smartsupp_sql_rollback(smartsupp_sql_t *sql)
{
    sql->driver->rollback(sql);
}

void smartsupp_sql_forget(smartsupp_sql_t *sql)
{
    /* not closed: on SQLite they end with the connection, elsewhere they are
     * most often gone already */
    sql->generation++;
    memset(sql->statements, 0,
           SMARTSUPP_SQL_STATEMENTS * sizeof(sql->statements[0]));
}

apr_status_t smartsupp_sql_query(smartsupp_sql_t *sql, const char *text,
                                 apr_pool_t *pool)
{
    return smartsupp_sql_run(
        sql, smartsupp_sql_complete(sql->dialect, text, sql->prefix, pool));
}

apr_status_t smartsupp_sql_probe(smartsupp_sql_t *sql, const char *text,
                                 apr_pool_t *pool)
{
    const char *completed =
        smartsupp_sql_complete(sql->dialect, text, sql->prefix, pool);
    const char *value;

    return *completed ? smartsupp_sql_select_text(&value, sql, completed, pool)
                      : APR_SUCCESS;
}

/* The prepared statement for the call's row count. */
static apr_status_t prepare(apr_dbd_prepared_t **prepared, smartsupp_sql_t *sql,
                            const smartsupp_sql_call_t *call, apr_pool_t *pool)
{
    apr_dbd_prepared_t **kept;
    const char *label = NULL;
    const char *text;
    size_t variant = 0;
    int rc;

    while (row_counts[variant] != call->rows) {
        variant++;
    }
    kept = &sql->statements[call->id].prepared[variant];
    if (*kept == NULL) {
        text = smartsupp_sql_statement_text(sql->dialect, call->id, call->rows,
                                            sql->prefix, pool);
        if (sql->driver->named) {
            /* lower case and below PostgreSQL's 64 bytes */
            label = apr_psprintf(pool, "%sq%d_%d_%u", sql->prefix, call->id,
                                 call->rows, sql->generation);
        }
        /* in the connection's pool: the drivers register its end there */
        rc = apr_dbd_prepare(sql->loan.driver, sql->loan.pool, sql->loan.handle,
                             text, label, kept);
        if (rc != 0) {
            *kept = NULL;
            return smartsupp_sql_failed(sql, rc);
        }
    }
    *prepared = *kept;
    return APR_SUCCESS;
}

int smartsupp_sql_inserts_at_once(const smartsupp_sql_t *sql)
{
    return sql->at_once;
}

void smartsupp_sql_avoid_at_once(smartsupp_sql_t *sql)
{
    sql->at_once = 0;
}

int smartsupp_sql_chunk(smartsupp_sql_id_e id, int rows)
{
    int most = smartsupp_sql_statement_rows(id);
    size_t variant = 0;

    most = rows < most ? rows : most;
    while (row_counts[variant] > most) {
        variant++;
    }
    return row_counts[variant];
}

int smartsupp_sql_room(smartsupp_sql_id_e id, int rows)
{
    int room = 0;
    size_t variant;

    for (variant = 0; variant < ROW_COUNTS; variant++) {
        if (row_counts[variant] >= rows &&
            row_counts[variant] <= smartsupp_sql_statement_rows(id)) {
            room = row_counts[variant]; /* they become fewer */
        }
    }
    return room;
}

apr_status_t smartsupp_sql_execute(int *affected, smartsupp_sql_t *sql,
                                   const smartsupp_sql_call_t *call,
                                   apr_pool_t *pool)
{
    apr_dbd_prepared_t *prepared = NULL;
    int changed = 0;
    int rc;
    apr_status_t rv = prepare(&prepared, sql, call, pool);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rc = apr_dbd_pquery(sql->loan.driver, pool, sql->loan.handle, &changed,
                        prepared, 0, call->values);
    if (rc != 0) {
        if (!sql->driver->is_success || !sql->driver->is_success(sql)) {
            return smartsupp_sql_failed(sql, rc);
        }
        changed = 0;
    }
    if (affected) {
        *affected = changed;
    }
    return APR_SUCCESS;
}

apr_status_t smartsupp_sql_insert_rows(smartsupp_sql_t *sql,
                                       const smartsupp_sql_call_t *call,
                                       apr_pool_t *pool)
{
    smartsupp_sql_call_t chunk = *call;
    int left = call->rows;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && left > 0) {
        chunk.rows = smartsupp_sql_chunk(call->id, left);
        rv = smartsupp_sql_execute(NULL, sql, &chunk, pool);
        left -= chunk.rows;
        chunk.values += chunk.rows * smartsupp_sql_statement_values(call->id);
    }
    return rv;
}

apr_status_t smartsupp_sql_select(apr_array_header_t **rows,
                                  smartsupp_sql_t *sql,
                                  const smartsupp_sql_call_t *call, int columns,
                                  apr_pool_t *pool)
{
    apr_dbd_prepared_t *prepared = NULL;
    apr_dbd_results_t *results = NULL;
    apr_status_t rv = prepare(&prepared, sql, call, pool);
    int rc;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rc = apr_dbd_pselect(sql->loan.driver, pool, sql->loan.handle, &results,
                         prepared, sql->driver->random, 0, call->values);
    if (rc != 0) {
        return smartsupp_sql_failed(sql, rc);
    }
    *rows = read_rows(columns, sql, results, pool);
    return APR_SUCCESS;
}

const char *smartsupp_sql_warning(smartsupp_sql_t *sql)
{
    const char *warning = sql->warning;

    sql->warning = NULL;
    return warning;
}

const smartsupp_sql_error_t *smartsupp_sql_error(const smartsupp_sql_t *sql)
{
    return &sql->error;
}

static const smartsupp_sql_driver_t *find_driver(const char *name)
{
    size_t i;

    if (!strcmp(name, "ODBC_DRIVER_NAME")) {
        name = "odbc"; /* a macro that APR-util forgot to expand */
    }
    for (i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
        if (!strcmp(drivers[i]->name, name)) {
            return drivers[i];
        }
    }
    return NULL;
}

/* Our state on this connection: found, or made at our first borrow of it. */
static smartsupp_sql_t *find(const smartsupp_sql_loan_t *loan,
                             const smartsupp_sql_driver_t *driver,
                             const char *prefix, apr_pool_t *pool)
{
    const char *key = apr_pstrcat(pool, "smartsupp_hook ", prefix, NULL);
    smartsupp_sql_t *sql =
        apr_hash_get(loan->prepared, key, APR_HASH_KEY_STRING);

    if (sql == NULL) {
        sql = apr_pcalloc(loan->pool, sizeof(*sql));
        sql->loan = *loan;
        sql->driver = driver;
        sql->prefix = prefix;
        sql->statements = apr_pcalloc(
            loan->pool, SMARTSUPP_SQL_STATEMENTS * sizeof(sql->statements[0]));
        apr_hash_set(loan->prepared, apr_pstrdup(loan->pool, key),
                     APR_HASH_KEY_STRING, sql);
    }
    return sql;
}

/* Settle which dialect the database speaks, and bring the session into the
 * state that we need. */
static apr_status_t open_session(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    const smartsupp_sql_dialect_t *dialect = sql->driver->dialect(sql);
    apr_status_t rv = dialect ? dialect->session(sql, pool) : APR_EGENERAL;

    if (rv == APR_SUCCESS) {
        sql->dialect = dialect;
    }
    return rv;
}

apr_status_t smartsupp_sql_lend(smartsupp_sql_t **sql,
                                smartsupp_sql_error_t *error,
                                const smartsupp_sql_loan_t *loan,
                                const char *prefix, apr_pool_t *pool)
{
    const char *name = apr_dbd_name(loan->driver);
    const smartsupp_sql_driver_t *driver = find_driver(name);

    if (driver == NULL) {
        error->error_class = SMARTSUPP_SQL_TRANSIENT;
        strcpy(error->code, SMARTSUPP_SQL_NO_CODE);
        apr_snprintf(error->text, sizeof(error->text),
                     "DBDriver %s is not supported", name);
        return APR_ENOTIMPL;
    }
    *sql = find(loan, driver, prefix, pool);
    if (driver->is_spent && driver->is_spent(*sql, pool)) {
        return APR_EOF;
    }
    if (driver->enter && driver->enter(*sql)) {
        smartsupp_sql_forget(*sql);
        (*sql)->dialect = NULL;
    }
    if ((*sql)->dialect == NULL && open_session(*sql, pool) != APR_SUCCESS) {
        *error = (*sql)->error;
        smartsupp_sql_return(*sql);
        return APR_EGENERAL;
    }
    return APR_SUCCESS;
}

void smartsupp_sql_return(smartsupp_sql_t *sql)
{
    if (sql->driver->leave) {
        sql->driver->leave(sql);
    }
}
