/*
 * A conversation as the values of its rows, in the order that the statements
 * of smartsupp_sql want them: integers as text, booleans as 0 and 1, SQL NULL
 * as NULL. Texts are not copied.
 */
#ifndef SMARTSUPP_ROWS_H
#define SMARTSUPP_ROWS_H

#include <apr_pools.h>

#include "smartsupp_conversation.h"
#include "smartsupp_sql.h"

/* Where updated_at stands among the values of a conversation. */
#define SMARTSUPP_ROWS_UPDATED_AT 30

/** The integer as SQL text; NULL for SMARTSUPP_NULL. */
const char *smartsupp_rows_integer(apr_int64_t value, apr_pool_t *pool);

/**
 * The SMARTSUPP_SQL_CONVERSATION_VALUES values of a delivery's conversation,
 * as one that was never updated.
 *
 * @param key its SMARTSUPP_SQL_KEY_VALUES values
 */
void smartsupp_rows_conversation(const char **values,
                                 const smartsupp_delivery_t *delivery,
                                 const char *const *key, apr_pool_t *pool);

/* A table of children. */
typedef struct smartsupp_rows_child_t {
    smartsupp_sql_id_e insert;
    int values;  /* per row */
    int at_once; /* rows that a row of INSERT_AT_ONCE has room for */

    /* How many rows a conversation has there. */
    int (*count)(const smartsupp_conversation_t *conversation);

    /* Write their values; gives the place after the last. */
    const char **(*rows)(const char **values,
                         const smartsupp_conversation_t *conversation,
                         const char *const *key, apr_pool_t *pool);
} smartsupp_rows_child_t;

/** All of them; the last one's `rows` is NULL. */
extern const smartsupp_rows_child_t smartsupp_rows_children[];

#endif
