#include "smartsupp_sql.h"

#include <stdarg.h>
#include <string.h>

#include <apr_dso.h>
#include <apr_strings.h>

#include "smartsupp_sql_driver.h"

/* The row counts that many-row inserts are prepared for. Few, because MySQL
 * allows 16,382 prepared statements a server (design.md, Round trips). */
static const int row_counts[] = {64, 32, 16, 8, 7, 6, 5, 4, 3, 2, 1};

#define ROW_COUNTS (sizeof(row_counts) / sizeof(row_counts[0]))

typedef struct smartsupp_sql_statement_t {
    apr_dbd_prepared_t *prepared[ROW_COUNTS];
} smartsupp_sql_statement_t;

static const smartsupp_sql_driver_t *const drivers[] = {
    &smartsupp_sql_sqlite3,
};

apr_status_t smartsupp_sql_fail(smartsupp_sql_t *sql,
                                smartsupp_sql_class_e error_class,
                                const char *format, ...)
{
    va_list arguments;

    sql->error.error_class = error_class;
    sql->error.code = 0;
    va_start(arguments, format);
    apr_vsnprintf(sql->error.text, sizeof(sql->error.text), format, arguments);
    va_end(arguments);
    return APR_EGENERAL;
}

apr_status_t smartsupp_sql_failed(smartsupp_sql_t *sql, int rc)
{
    const char *text = apr_dbd_error(sql->loan.driver, sql->loan.handle, rc);

    apr_cpystrn(sql->error.text, text ? text : "", sizeof(sql->error.text));
    sql->driver->classify(sql, rc);
    return APR_EGENERAL;
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

/* Read a result to its end, which every driver needs, and copy the columns of
 * its first row. */
static apr_status_t read_row(const char **columns, int count,
                             smartsupp_sql_t *sql, apr_dbd_results_t *results,
                             apr_pool_t *pool)
{
    apr_dbd_row_t *row = NULL;
    int rows = 0;
    int i;

    while (apr_dbd_get_row(sql->loan.driver, pool, results, &row, -1) == 0) {
        for (i = 0; rows == 0 && i < count; i++) {
            char *value = NULL;

            /* not get_entry: on pgsql it makes "" of SQL NULL */
            columns[i] =
                apr_dbd_datum_get(sql->loan.driver, row, i, APR_DBD_TYPE_STRING,
                                  &value) == APR_SUCCESS
                    ? apr_pstrdup(pool, value)
                    : NULL;
        }
        rows++;
    }
    return rows ? APR_SUCCESS : APR_ENOENT;
}

apr_status_t smartsupp_sql_select_text(const char **value, smartsupp_sql_t *sql,
                                       const char *text, apr_pool_t *pool)
{
    apr_dbd_results_t *results = NULL;
    int rc = apr_dbd_select(sql->loan.driver, pool, sql->loan.handle, &results,
                            text, sql->driver->random);

    *value = NULL;
    if (rc != 0) {
        return smartsupp_sql_failed(sql, rc);
    }
    (void)read_row(value, 1, sql, results, pool);
    return APR_SUCCESS;
}

static apr_status_t query(smartsupp_sql_t *sql, const char *text)
{
    int affected = 0;
    int rc = apr_dbd_query(sql->loan.driver, sql->loan.handle, &affected, text);

    return rc == 0 ? APR_SUCCESS : smartsupp_sql_failed(sql, rc);
}

apr_status_t smartsupp_sql_begin(smartsupp_sql_t *sql)
{
    return query(sql, sql->driver->begin);
}

apr_status_t smartsupp_sql_commit(smartsupp_sql_t *sql)
{
    apr_status_t rv = query(sql, "COMMIT");

    if (rv != APR_SUCCESS) {
        smartsupp_sql_rollback(sql);
    }
    return rv;
}

void smartsupp_sql_rollback(smartsupp_sql_t *sql)
{
    int affected = 0;

    /* it fails where the database has rolled back by itself: no matter */
    (void)apr_dbd_query(sql->loan.driver, sql->loan.handle, &affected,
                        "ROLLBACK");
}

void smartsupp_sql_forget(smartsupp_sql_t *sql)
{
    memset(sql->statements, 0,
           SMARTSUPP_SQL_STATEMENTS * sizeof(sql->statements[0]));
}

apr_status_t smartsupp_sql_query(smartsupp_sql_t *sql, const char *text,
                                 apr_pool_t *pool)
{
    return query(sql,
                 smartsupp_sql_complete(sql->dialect, text, sql->prefix, pool));
}

apr_status_t smartsupp_sql_probe(smartsupp_sql_t *sql, const char *text,
                                 apr_pool_t *pool)
{
    const char *value;

    return smartsupp_sql_select_text(
        &value, sql,
        smartsupp_sql_complete(sql->dialect, text, sql->prefix, pool), pool);
}

/* The prepared statement for row_counts[variant] rows. */
static apr_status_t prepare(apr_dbd_prepared_t **prepared, smartsupp_sql_t *sql,
                            smartsupp_sql_id_e id, size_t variant,
                            apr_pool_t *pool)
{
    apr_dbd_prepared_t **kept = &sql->statements[id].prepared[variant];
    const char *text;
    int rc;

    if (*kept == NULL) {
        text = smartsupp_sql_statement_text(
            sql->dialect, id, row_counts[variant], sql->prefix, pool);
        /* in the connection's pool: the drivers register its end there */
        rc = apr_dbd_prepare(sql->loan.driver, sql->loan.pool, sql->loan.handle,
                             text, NULL, kept);
        if (rc != 0) {
            *kept = NULL;
            return smartsupp_sql_failed(sql, rc);
        }
    }
    *prepared = *kept;
    return APR_SUCCESS;
}

static apr_status_t execute(int *affected, smartsupp_sql_t *sql,
                            apr_dbd_prepared_t *prepared, const char **values,
                            apr_pool_t *pool)
{
    int rc = apr_dbd_pquery(sql->loan.driver, pool, sql->loan.handle, affected,
                            prepared, 0, values);

    return rc == 0 ? APR_SUCCESS : smartsupp_sql_failed(sql, rc);
}

apr_status_t smartsupp_sql_execute(int *affected, smartsupp_sql_t *sql,
                                   smartsupp_sql_id_e id, const char **values,
                                   apr_pool_t *pool)
{
    apr_dbd_prepared_t *prepared = NULL;
    int changed = 0;
    apr_status_t rv = prepare(&prepared, sql, id, ROW_COUNTS - 1, pool);

    if (rv == APR_SUCCESS) {
        rv = execute(&changed, sql, prepared, values, pool);
    }
    if (affected) {
        *affected = changed;
    }
    return rv;
}

apr_status_t smartsupp_sql_insert_rows(smartsupp_sql_t *sql,
                                       smartsupp_sql_id_e id,
                                       const char **values, int rows,
                                       apr_pool_t *pool)
{
    int per_row = smartsupp_sql_statement_values(id);
    size_t variant;

    for (variant = 0; variant < ROW_COUNTS && rows > 0; variant++) {
        while (rows >= row_counts[variant]) {
            apr_dbd_prepared_t *prepared = NULL;
            int affected = 0;
            apr_status_t rv = prepare(&prepared, sql, id, variant, pool);

            if (rv == APR_SUCCESS) {
                rv = execute(&affected, sql, prepared, values, pool);
            }
            if (rv != APR_SUCCESS) {
                return rv;
            }
            rows -= row_counts[variant];
            values += row_counts[variant] * per_row;
        }
    }
    return APR_SUCCESS;
}

apr_status_t smartsupp_sql_select(const char **columns, int count,
                                  smartsupp_sql_t *sql, smartsupp_sql_id_e id,
                                  const char **values, apr_pool_t *pool)
{
    apr_dbd_prepared_t *prepared = NULL;
    apr_dbd_results_t *results = NULL;
    apr_status_t rv = prepare(&prepared, sql, id, ROW_COUNTS - 1, pool);
    int rc;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rc = apr_dbd_pselect(sql->loan.driver, pool, sql->loan.handle, &results,
                         prepared, sql->driver->random, 0, values);
    if (rc != 0) {
        return smartsupp_sql_failed(sql, rc);
    }
    return read_row(columns, count, sql, results, pool);
}

const smartsupp_sql_error_t *smartsupp_sql_error(const smartsupp_sql_t *sql)
{
    return &sql->error;
}

static const smartsupp_sql_driver_t *find_driver(const char *name)
{
    size_t i;

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

apr_status_t smartsupp_sql_lend(smartsupp_sql_t **sql,
                                smartsupp_sql_error_t *error,
                                const smartsupp_sql_loan_t *loan,
                                const char *prefix, apr_pool_t *pool)
{
    const char *name = apr_dbd_name(loan->driver);
    const smartsupp_sql_driver_t *driver = find_driver(name);

    if (driver == NULL) {
        error->error_class = SMARTSUPP_SQL_TRANSIENT;
        error->code = 0;
        apr_snprintf(error->text, sizeof(error->text),
                     "DBDriver %s is not supported", name);
        return APR_ENOTIMPL;
    }
    *sql = find(loan, driver, prefix, pool);
    if (driver->is_spent && driver->is_spent(*sql, pool)) {
        return APR_EOF;
    }
    if ((*sql)->dialect == NULL) {
        if (driver->session(*sql, pool) != APR_SUCCESS) {
            *error = (*sql)->error;
            return APR_EGENERAL;
        }
        (*sql)->dialect = driver->dialect(*sql);
    }
    return APR_SUCCESS;
}
