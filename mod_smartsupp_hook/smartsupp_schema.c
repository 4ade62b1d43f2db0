#include "smartsupp_schema.h"

#include <stdlib.h>

#include <apr_strings.h>
#include <apr_time.h>

#include "smartsupp_sql_text.h"

/* Put the place before the database's own words, and keep what they mean. */
static apr_status_t failed_at(smartsupp_sql_t *sql, const char *place,
                              apr_pool_t *pool)
{
    smartsupp_sql_error_t error = *smartsupp_sql_error(sql);

    return smartsupp_sql_fail_like(
        sql, &error, apr_pstrcat(pool, place, ": ", error.text, NULL));
}

static int newest_migration(void)
{
    int version = 0;

    while (smartsupp_sql_migrations[version]) {
        version++;
    }
    return version;
}

/* The version that the database is at; 0 where nothing was ever applied. */
static apr_status_t applied_version(int *version, smartsupp_sql_t *sql,
                                    apr_pool_t *pool)
{
    smartsupp_sql_call_t call = {SMARTSUPP_SQL_SELECT_SCHEMA_VERSION, 1, NULL};
    apr_array_header_t *rows = NULL;
    const char *value = NULL;
    apr_status_t rv = smartsupp_sql_select(&rows, sql, &call, 1, pool);

    if (rv == APR_SUCCESS && rows->nelts > 0) {
        value = APR_ARRAY_IDX(rows, 0, const char **)[0];
    }
    *version = value ? atoi(value) : 0;
    return rv;
}

static apr_status_t migrate(smartsupp_sql_t *sql, int version, apr_pool_t *pool)
{
    const char *values[] = {apr_itoa(pool, version),
                            apr_psprintf(pool, "%" APR_TIME_T_FMT,
                                         apr_time_as_msec(apr_time_now()))};
    smartsupp_sql_call_t call = {SMARTSUPP_SQL_INSERT_SCHEMA_VERSION, 1,
                                 values};
    apr_status_t rv =
        smartsupp_sql_query(sql, smartsupp_sql_migrations[version - 1], pool);

    if (rv == APR_SUCCESS) {
        /* on SQLite a change of the schema ends every prepared statement */
        smartsupp_sql_forget(sql);
        rv = smartsupp_sql_execute(NULL, sql, &call, pool);
    }
    return rv == APR_SUCCESS
               ? rv
               : failed_at(sql, apr_psprintf(pool, "migration %d", version),
                           pool);
}

/* All that are missing, once it is our turn. */
static apr_status_t migrate_all(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    int newest = newest_migration();
    int version;
    apr_status_t rv =
        smartsupp_sql_query(sql, smartsupp_sql_schema_version_table, pool);

    if (rv == APR_SUCCESS) {
        rv = applied_version(&version, sql, pool);
    }
    if (rv != APR_SUCCESS) {
        return failed_at(sql, "table schema_version", pool);
    }
    while (rv == APR_SUCCESS && version < newest) {
        rv = migrate(sql, ++version, pool);
    }
    return rv;
}

static apr_status_t create(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    smartsupp_sql_error_t error;
    int version;
    apr_status_t rv = applied_version(&version, sql, pool);

    /* a user without the right to create tables never comes further once they
     * exist */
    if (rv == APR_SUCCESS && version >= newest_migration()) {
        return APR_SUCCESS;
    }
    /* it only spares the others errors: each step can be met half done */
    rv = smartsupp_sql_probe(sql, "{take_turn}", pool);
    if (rv != APR_SUCCESS) {
        return failed_at(sql, "waiting to migrate", pool);
    }
    smartsupp_sql_forget(sql); /* another may have had its turn before us */
    rv = migrate_all(sql, pool);
    error = *smartsupp_sql_error(sql);
    if (smartsupp_sql_probe(sql, "{end_turn}", pool) != APR_SUCCESS &&
        rv == APR_SUCCESS) {
        return failed_at(sql, "after the migration", pool);
    }
    return rv == APR_SUCCESS ? rv
                             : smartsupp_sql_fail_like(sql, &error, error.text);
}

/* Ask each table for all of its columns and no row. */
static apr_status_t check_tables(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    const smartsupp_sql_table_t *table;

    for (table = smartsupp_sql_tables; table->name; table++) {
        const char *text =
            apr_pstrcat(pool, "SELECT ", table->columns, " FROM {prefix}",
                        table->name, " WHERE 1 = 0", NULL);

        if (smartsupp_sql_probe(sql, text, pool) != APR_SUCCESS) {
            return failed_at(
                sql, apr_pstrcat(pool, "table ", table->name, NULL), pool);
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check_version(smartsupp_sql_t *sql, apr_pool_t *pool)
{
    int newest = newest_migration();
    int version;
    apr_status_t rv = applied_version(&version, sql, pool);

    if (rv == APR_SUCCESS && version > newest) {
        return smartsupp_sql_fail(
            sql, SMARTSUPP_SQL_TRANSIENT,
            "the database is at schema version %d, this module knows "
            "versions up to %d: install a newer module",
            version, newest);
    }
    if (rv == APR_SUCCESS && version < newest) {
        return smartsupp_sql_fail(sql, SMARTSUPP_SQL_TRANSIENT,
                                  "the database is at schema version %d of %d: "
                                  "see SmartsuppSchema create",
                                  version, newest);
    }
    return rv;
}

apr_status_t smartsupp_schema_ensure(smartsupp_sql_t *sql,
                                     smartsupp_schema_mode_e mode,
                                     apr_pool_t *pool)
{
    apr_status_t rv =
        mode == SMARTSUPP_SCHEMA_CREATE ? create(sql, pool) : APR_SUCCESS;

    if (rv == APR_SUCCESS) {
        rv = check_tables(sql, pool);
    }
    if (rv == APR_SUCCESS) {
        rv = check_version(sql, pool);
    }
    return rv;
}
