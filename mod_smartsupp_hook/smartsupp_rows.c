#include "smartsupp_rows.h"

#include <string.h>

#include <apr_strings.h>

/* Enough for any 64-bit integer and its NUL. */
#define INTEGER_SIZE 21

const char *smartsupp_rows_integer(apr_int64_t value, apr_pool_t *pool)
{
    char digits[INTEGER_SIZE];
    char *start = digits + sizeof(digits) - 1;
    apr_uint64_t rest;

    if (value == SMARTSUPP_NULL) {
        return NULL;
    }
    rest = value < 0 ? (apr_uint64_t)-value : (apr_uint64_t)value;
    *start = '\0';
    do {
        *--start = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0) {
        *--start = '-';
    }
    return apr_pstrmemdup(pool, start,
                          (apr_size_t)(digits + sizeof(digits) - 1 - start));
}

void smartsupp_rows_conversation(const char **values,
                                 const smartsupp_delivery_t *delivery,
                                 const char *const *key, apr_pool_t *pool)
{
    const smartsupp_conversation_t *c = delivery->conversation;
    const char *all[SMARTSUPP_SQL_CONVERSATION_VALUES] = {
        smartsupp_rows_integer(c->end_at, pool),
        smartsupp_rows_integer(c->is_chat, pool),
        smartsupp_rows_integer(c->is_missed, pool),
        smartsupp_rows_integer(c->is_triggered, pool),
        smartsupp_rows_integer(c->is_offline, pool),
        smartsupp_rows_integer(c->is_completed, pool),
        smartsupp_rows_integer(c->is_dropped, pool),
        smartsupp_rows_integer(c->duration, pool),
        smartsupp_rows_integer(c->avg_response, pool),
        smartsupp_rows_integer(c->first_response, pool),
        smartsupp_rows_integer(c->messages_count, pool),
        smartsupp_rows_integer(c->words_count, pool),
        smartsupp_rows_integer(c->rating, pool),
        c->rating_desc,
        c->visitor_id,
        c->visitor_name,
        c->visitor_email,
        c->visitor_note,
        c->visitor_group,
        c->visitor_ip_address,
        c->visitor_city,
        c->visitor_country_code,
        c->visitor_country,
        c->visitor_user_agent,
        c->visitor_platform,
        c->visitor_referer,
        smartsupp_rows_integer(c->generation, pool),
        smartsupp_problems_count(delivery->warnings)
            ? smartsupp_problems_json(delivery->warnings, pool)
            : NULL,
        smartsupp_rows_integer(c->message_rows, pool),
        smartsupp_rows_integer(delivery->received_at, pool),
        NULL, /* updated_at: never, so far */
        delivery->body_sha256,
        delivery->body,
        key[0],
        key[1],
        key[2],
    };

    memcpy(values, all, sizeof(all));
}

/* The start of a child row: key and seq. Gives the place after them. */
static const char **child_key(const char **values, const char *const *key,
                              int seq, apr_pool_t *pool)
{
    memcpy(values, key, SMARTSUPP_SQL_KEY_VALUES * sizeof(*values));
    values[SMARTSUPP_SQL_KEY_VALUES] = smartsupp_rows_integer(seq, pool);
    return values + SMARTSUPP_SQL_KEY_VALUES + 1;
}

static const char **message_rows(const char **values,
                                 const smartsupp_conversation_t *conversation,
                                 const char *const *key, apr_pool_t *pool)
{
    int seq;

    for (seq = 0; seq < conversation->message_rows; seq++) {
        const smartsupp_message_t *message = &conversation->messages[seq];

        values = child_key(values, key, seq, pool);
        *values++ = message->type;
        *values++ = message->name;
        *values++ = message->sender_kind;
        *values++ = message->sender_id;
        *values++ = message->content;
        *values++ = smartsupp_rows_integer(message->sent_at, pool);
        *values++ = message->triggered_by;
        *values++ = message->email;
    }
    return values;
}

static const char **path_rows(const char **values,
                              const smartsupp_conversation_t *conversation,
                              const char *const *key, apr_pool_t *pool)
{
    int seq;

    for (seq = 0; seq < conversation->path_rows; seq++) {
        values = child_key(values, key, seq, pool);
        *values++ = conversation->paths[seq].url;
        *values++ = conversation->paths[seq].title;
    }
    return values;
}

static const char **variable_rows(const char **values,
                                  const smartsupp_conversation_t *conversation,
                                  const char *const *key, apr_pool_t *pool)
{
    int seq;

    for (seq = 0; seq < conversation->variable_rows; seq++) {
        const smartsupp_variable_t *variable = &conversation->variables[seq];

        values = child_key(values, key, seq, pool);
        *values++ = variable->name;
        *values++ = variable->label;
        *values++ = variable->value;
        *values++ = variable->value_type;
    }
    return values;
}

static int count_messages(const smartsupp_conversation_t *conversation)
{
    return conversation->message_rows;
}

static int count_paths(const smartsupp_conversation_t *conversation)
{
    return conversation->path_rows;
}

static int count_variables(const smartsupp_conversation_t *conversation)
{
    return conversation->variable_rows;
}

const smartsupp_rows_child_t smartsupp_rows_children[] = {
    {SMARTSUPP_SQL_INSERT_MESSAGES, SMARTSUPP_SQL_MESSAGE_VALUES,
     SMARTSUPP_SQL_MESSAGES_AT_ONCE, count_messages, message_rows},
    {SMARTSUPP_SQL_INSERT_PATHS, SMARTSUPP_SQL_PATH_VALUES,
     SMARTSUPP_SQL_PATHS_AT_ONCE, count_paths, path_rows},
    {SMARTSUPP_SQL_INSERT_VARIABLES, SMARTSUPP_SQL_VARIABLE_VALUES,
     SMARTSUPP_SQL_VARIABLES_AT_ONCE, count_variables, variable_rows},
    {SMARTSUPP_SQL_STATEMENTS, 0, 0, NULL, NULL},
};
