/* The SQL texts: complete in every dialect, and with as many values as the
 * rooms above bind. */
#include <apr_general.h>
#include <apr_strings.h>

#include "smartsupp_sql_text.h"
#include "tap.h"

static const smartsupp_sql_dialect_t *const dialects[] = {
    &smartsupp_sql_sqlite,
    &smartsupp_sql_postgresql,
    &smartsupp_sql_mysql_dialect,
};

static int count(const char *text, char wanted)
{
    int found = 0;

    for (; *text; text++) {
        found += *text == wanted;
    }
    return found;
}

static void statement(const smartsupp_sql_dialect_t *dialect,
                      smartsupp_sql_id_e id, int rows, apr_pool_t *pool)
{
    const char *text =
        smartsupp_sql_statement_text(dialect, id, rows, "prefix_", pool);
    const char *name = apr_psprintf(pool, "%s: statement %d, %d rows",
                                    dialect->name, id, rows);
    /* what all databases take, and what PostgreSQL does */
    int most = id == SMARTSUPP_SQL_INSERT_AT_ONCE ? 65535 : 900;

    tap_ok(!count(text, '{') && !count(text, '}') && !count(text, '$') &&
               strstr(text, " prefix_") != NULL,
           apr_pstrcat(pool, name, ": complete", NULL));
    tap_is_int(count(text, '%'), rows * smartsupp_sql_statement_values(id),
               apr_pstrcat(pool, name, ": values", NULL));
    tap_ok(count(text, '%') <= most,
           apr_pstrcat(pool, name, ": few enough values", NULL));
}

static void statements(const smartsupp_sql_dialect_t *dialect, apr_pool_t *pool)
{
    int id;

    for (id = 0; id < SMARTSUPP_SQL_STATEMENTS; id++) {
        smartsupp_sql_id_e one = (smartsupp_sql_id_e)id;

        if (one == SMARTSUPP_SQL_INSERT_AT_ONCE &&
            dialect != &smartsupp_sql_postgresql) {
            continue; /* the others have no such statement */
        }
        statement(dialect, one, 1, pool);
        if (smartsupp_sql_statement_rows(one) > 1) {
            statement(dialect, one, smartsupp_sql_statement_rows(one), pool);
        }
    }
}

static void texts(const smartsupp_sql_dialect_t *dialect, apr_pool_t *pool)
{
    int i;

    for (i = 0; smartsupp_sql_migrations[i]; i++) {
        const char *text = smartsupp_sql_complete(
            dialect, smartsupp_sql_migrations[i], "p_", pool);

        tap_ok(!count(text, '{') && strstr(text, " p_") != NULL,
               apr_psprintf(pool, "migration %d: complete", i + 1));
    }
}

int main(void)
{
    apr_pool_t *pool;
    size_t i;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    for (i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++) {
        statements(dialects[i], pool);
        texts(dialects[i], pool);
    }
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
