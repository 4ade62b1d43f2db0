/* The SQL texts: complete in every dialect, and with as many values as the
 * rooms above bind. */
#include <apr_general.h>
#include <apr_strings.h>

#include "smartsupp_sql_text.h"
#include "tap.h"

static const smartsupp_sql_dialect_t *const dialects[] = {
    &smartsupp_sql_sqlite,
};

static int count(const char *text, char wanted)
{
    int found = 0;

    for (; *text; text++) {
        found += *text == wanted;
    }
    return found;
}

static void statements(const smartsupp_sql_dialect_t *dialect, int rows,
                       apr_pool_t *pool)
{
    int id;

    for (id = 0; id < SMARTSUPP_SQL_STATEMENTS; id++) {
        int many = id == SMARTSUPP_SQL_INSERT_MESSAGES ||
                   id == SMARTSUPP_SQL_INSERT_PATHS ||
                   id == SMARTSUPP_SQL_INSERT_VARIABLES;
        const char *text;

        if (rows > 1 && !many) {
            continue;
        }
        text = smartsupp_sql_statement_text(dialect, (smartsupp_sql_id_e)id,
                                            rows, "prefix_", pool);
        tap_ok(!count(text, '{') && !count(text, '}') &&
                   strstr(text, " prefix_") != NULL,
               apr_psprintf(pool, "statement %d, %d rows: complete", id, rows));
        tap_is_int(
            count(text, '%'),
            rows * smartsupp_sql_statement_values((smartsupp_sql_id_e)id),
            apr_psprintf(pool, "statement %d, %d rows: values", id, rows));
        tap_ok(count(text, '%') <= 900,
               apr_psprintf(pool, "statement %d, %d rows: few enough values",
                            id, rows));
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
        statements(dialects[i], 1, pool);
        statements(dialects[i], SMARTSUPP_SQL_ROWS_MAX, pool);
        texts(dialects[i], pool);
    }
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
