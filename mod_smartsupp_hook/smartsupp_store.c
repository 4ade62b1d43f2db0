#include "smartsupp_store.h"

#include <string.h>

#include <apr_strings.h>
#include <apr_time.h>

/* Enough for any 64-bit integer and its NUL. */
#define INTEGER_SIZE 21

/* A delivery that is to be stored, with the key of its rows as SQL text. */
typedef struct written_t {
    const smartsupp_conversation_t *conversation;
    const char *key[SMARTSUPP_SQL_KEY_VALUES];
} written_t;

typedef struct batch_t {
    smartsupp_sql_t *sql;
    apr_pool_t *pool;
    const char *now;    /* epoch ms, as SQL text */
    written_t *written; /* conversations whose children are to be inserted */
    int count;
} batch_t;

/* The integer as SQL text; NULL for SMARTSUPP_NULL. */
static const char *integer(apr_int64_t value, apr_pool_t *pool)
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

static int same_conversation(const smartsupp_conversation_t *a,
                             const smartsupp_conversation_t *b)
{
    return a->begin_at == b->begin_at && a->account_id == b->account_id &&
           !strcmp(a->channel_id, b->channel_id);
}

static smartsupp_version_t version_of(const smartsupp_delivery_t *delivery)
{
    smartsupp_version_t version = {
        .end_at = delivery->conversation->end_at,
        .message_rows = delivery->conversation->message_rows,
        .received_at = delivery->received_at,
        .body_sha256 = delivery->body_sha256,
    };

    return version;
}

/* What becomes of a delivery where another version is stored: that one stays,
 * unless ours is newer. */
static smartsupp_store_result_e against(const smartsupp_version_t *ours,
                                        const smartsupp_version_t *stored)
{
    if (!strcmp(ours->body_sha256, stored->body_sha256)) {
        return SMARTSUPP_STORE_DUPLICATE;
    }
    return smartsupp_version_compare(ours, stored) > 0 ? SMARTSUPP_STORE_UPDATED
                                                       : SMARTSUPP_STORE_STALE;
}

/* The values of both conversation statements, in their order. */
static void conversation_values(const char **values, const batch_t *batch,
                                const smartsupp_delivery_t *delivery,
                                const char *const *key)
{
    const smartsupp_conversation_t *c = delivery->conversation;
    apr_pool_t *pool = batch->pool;
    const char *all[SMARTSUPP_SQL_CONVERSATION_VALUES] = {
        integer(c->end_at, pool),
        integer(c->is_chat, pool),
        integer(c->is_missed, pool),
        integer(c->is_triggered, pool),
        integer(c->is_offline, pool),
        integer(c->is_completed, pool),
        integer(c->is_dropped, pool),
        integer(c->duration, pool),
        integer(c->avg_response, pool),
        integer(c->first_response, pool),
        integer(c->messages_count, pool),
        integer(c->words_count, pool),
        integer(c->rating, pool),
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
        integer(c->generation, pool),
        smartsupp_problems_count(delivery->warnings)
            ? smartsupp_problems_json(delivery->warnings, pool)
            : NULL,
        integer(c->message_rows, pool),
        integer(delivery->received_at, pool),
        NULL, /* updated_at: never, so far */
        delivery->body_sha256,
        delivery->body,
        key[0],
        key[1],
        key[2],
    };

    memcpy(values, all, sizeof(all));
}

/* Where updated_at stands among them. */
#define UPDATED_AT 30

/* The version that is stored under the key; its row stays locked. */
static apr_status_t stored_version(smartsupp_version_t *version,
                                   const batch_t *batch, const char **key)
{
    const char *columns[4];
    apr_status_t rv = smartsupp_sql_select(
        columns, 4, batch->sql, SMARTSUPP_SQL_SELECT_VERSION, key, batch->pool);

    if (APR_STATUS_IS_ENOENT(rv)) {
        return smartsupp_sql_fail(batch->sql, SMARTSUPP_SQL_TRANSIENT,
                                  "a conversation was deleted while it was "
                                  "being replaced");
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    version->end_at = columns[0] ? apr_atoi64(columns[0]) : SMARTSUPP_NULL;
    version->message_rows = columns[1] ? apr_atoi64(columns[1]) : 0;
    version->received_at = columns[2] ? apr_atoi64(columns[2]) : 0;
    version->body_sha256 = columns[3] ? columns[3] : "";
    return APR_SUCCESS;
}

static apr_status_t replace(const batch_t *batch, const char **values,
                            const char **key)
{
    static const smartsupp_sql_id_e deletes[] = {
        SMARTSUPP_SQL_DELETE_MESSAGES,
        SMARTSUPP_SQL_DELETE_PATHS,
        SMARTSUPP_SQL_DELETE_VARIABLES,
    };
    apr_status_t rv;
    size_t i;

    values[UPDATED_AT] = batch->now;
    rv = smartsupp_sql_execute(NULL, batch->sql,
                               SMARTSUPP_SQL_UPDATE_CONVERSATION, values,
                               batch->pool);
    for (i = 0; rv == APR_SUCCESS && i < 3; i++) {
        rv = smartsupp_sql_execute(NULL, batch->sql, deletes[i], key,
                                   batch->pool);
    }
    return rv;
}

static apr_status_t store_conversation(smartsupp_store_result_e *result,
                                       batch_t *batch,
                                       const smartsupp_delivery_t *delivery)
{
    const smartsupp_conversation_t *conversation = delivery->conversation;
    written_t *written = &batch->written[batch->count];
    const char *values[SMARTSUPP_SQL_CONVERSATION_VALUES];
    smartsupp_version_t ours = version_of(delivery);
    smartsupp_version_t stored;
    int affected;
    apr_status_t rv;

    written->conversation = conversation;
    written->key[0] = integer(conversation->account_id, batch->pool);
    written->key[1] = conversation->channel_id;
    written->key[2] = integer(conversation->begin_at, batch->pool);
    conversation_values(values, batch, delivery, written->key);
    *result = SMARTSUPP_STORE_STORED;
    rv = smartsupp_sql_execute(&affected, batch->sql,
                               SMARTSUPP_SQL_INSERT_CONVERSATION, values,
                               batch->pool);
    if (rv == APR_SUCCESS && affected == 0) {
        rv = stored_version(&stored, batch, written->key);
        if (rv == APR_SUCCESS) {
            *result = against(&ours, &stored);
        }
        if (rv == APR_SUCCESS && *result == SMARTSUPP_STORE_UPDATED) {
            rv = replace(batch, values, written->key);
        }
    }
    if (rv == APR_SUCCESS && (*result == SMARTSUPP_STORE_STORED ||
                              *result == SMARTSUPP_STORE_UPDATED)) {
        batch->count++;
    }
    return rv;
}

static apr_status_t store_event(smartsupp_store_result_e *result,
                                const batch_t *batch,
                                const smartsupp_delivery_t *delivery)
{
    const smartsupp_event_t *event = delivery->event;
    const char *values[SMARTSUPP_SQL_EVENT_VALUES] = {
        integer(event->account_id, batch->pool),
        event->event,
        event->timestamp,
        delivery->body_sha256,
        integer(delivery->received_at, batch->pool),
        delivery->body,
    };
    int affected;
    apr_status_t rv = smartsupp_sql_execute(
        &affected, batch->sql, SMARTSUPP_SQL_INSERT_EVENT, values, batch->pool);

    *result = affected ? SMARTSUPP_STORE_STORED : SMARTSUPP_STORE_DUPLICATE;
    return rv;
}

/* The start of a child row: key and seq. Gives the place after them. */
static const char **child_key(const char **values, const written_t *written,
                              int seq, apr_pool_t *pool)
{
    memcpy(values, written->key, sizeof(written->key));
    values[SMARTSUPP_SQL_KEY_VALUES] = integer(seq, pool);
    return values + SMARTSUPP_SQL_KEY_VALUES + 1;
}

static const char **message_rows(const char **values, const written_t *written,
                                 apr_pool_t *pool)
{
    const smartsupp_conversation_t *conversation = written->conversation;
    int seq;

    for (seq = 0; seq < conversation->message_rows; seq++) {
        const smartsupp_message_t *message = &conversation->messages[seq];

        values = child_key(values, written, seq, pool);
        *values++ = message->type;
        *values++ = message->name;
        *values++ = message->sender_kind;
        *values++ = message->sender_id;
        *values++ = message->content;
        *values++ = integer(message->sent_at, pool);
        *values++ = message->triggered_by;
        *values++ = message->email;
    }
    return values;
}

static const char **path_rows(const char **values, const written_t *written,
                              apr_pool_t *pool)
{
    const smartsupp_conversation_t *conversation = written->conversation;
    int seq;

    for (seq = 0; seq < conversation->path_rows; seq++) {
        values = child_key(values, written, seq, pool);
        *values++ = conversation->paths[seq].url;
        *values++ = conversation->paths[seq].title;
    }
    return values;
}

static const char **variable_rows(const char **values, const written_t *written,
                                  apr_pool_t *pool)
{
    const smartsupp_conversation_t *conversation = written->conversation;
    int seq;

    for (seq = 0; seq < conversation->variable_rows; seq++) {
        const smartsupp_variable_t *variable = &conversation->variables[seq];

        values = child_key(values, written, seq, pool);
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

/* The child tables: how many rows a conversation has there, and which. */
static const struct child_t {
    smartsupp_sql_id_e insert;
    int values;
    int (*count)(const smartsupp_conversation_t *conversation);
    const char **(*rows)(const char **values, const written_t *written,
                         apr_pool_t *pool);
} children[] = {
    {SMARTSUPP_SQL_INSERT_MESSAGES, SMARTSUPP_SQL_MESSAGE_VALUES,
     count_messages, message_rows},
    {SMARTSUPP_SQL_INSERT_PATHS, SMARTSUPP_SQL_PATH_VALUES, count_paths,
     path_rows},
    {SMARTSUPP_SQL_INSERT_VARIABLES, SMARTSUPP_SQL_VARIABLE_VALUES,
     count_variables, variable_rows},
};

static apr_status_t insert_children(const batch_t *batch,
                                    const struct child_t *child)
{
    const char **values;
    const char **end;
    int rows = 0;
    int i;

    for (i = 0; i < batch->count; i++) {
        rows += child->count(batch->written[i].conversation);
    }
    if (rows == 0) {
        return APR_SUCCESS;
    }
    values =
        apr_palloc(batch->pool, (apr_size_t)rows * (apr_size_t)child->values *
                                    sizeof(*values));
    end = values;
    for (i = 0; i < batch->count; i++) {
        end = child->rows(end, &batch->written[i], batch->pool);
    }
    return smartsupp_sql_insert_rows(batch->sql, child->insert, values, rows,
                                     batch->pool);
}

/* The place of the newest version of that delivery's conversation. */
static int newest(smartsupp_delivery_t *const *deliveries, int count, int of)
{
    int best = of;
    int i;

    for (i = 0; i < count; i++) {
        if (i != of && deliveries[i]->conversation &&
            same_conversation(deliveries[i]->conversation,
                              deliveries[of]->conversation)) {
            smartsupp_version_t version = version_of(deliveries[i]);
            smartsupp_version_t leader = version_of(deliveries[best]);
            int order = smartsupp_version_compare(&version, &leader);

            /* of two that are wholly equal the first one leads */
            best = order > 0 || (order == 0 && i < best) ? i : best;
        }
    }
    return best;
}

/* What delivery i becomes. One whose conversation has a newer version in the
 * batch is not stored at all. */
static apr_status_t store_one(smartsupp_store_result_e *result, batch_t *batch,
                              smartsupp_delivery_t *const *deliveries,
                              int count, int i)
{
    int leader;

    if (deliveries[i]->event) {
        return store_event(result, batch, deliveries[i]);
    }
    leader = newest(deliveries, count, i);
    if (leader == i) {
        return store_conversation(result, batch, deliveries[i]);
    }
    *result =
        strcmp(deliveries[i]->body_sha256, deliveries[leader]->body_sha256)
            ? SMARTSUPP_STORE_STALE
            : SMARTSUPP_STORE_DUPLICATE;
    return APR_SUCCESS;
}

apr_status_t smartsupp_store(smartsupp_store_result_e *results,
                             smartsupp_sql_t *sql,
                             smartsupp_delivery_t *const *deliveries, int count,
                             apr_pool_t *pool)
{
    batch_t batch = {.sql = sql, .pool = pool};
    apr_status_t rv = APR_SUCCESS;
    size_t table;
    int i;

    batch.now = integer(apr_time_as_msec(apr_time_now()), pool);
    batch.written =
        apr_palloc(pool, (apr_size_t)count * sizeof(*batch.written));
    for (i = 0; rv == APR_SUCCESS && i < count; i++) {
        rv = store_one(&results[i], &batch, deliveries, count, i);
    }
    for (table = 0; rv == APR_SUCCESS && table < 3; table++) {
        rv = insert_children(&batch, &children[table]);
    }
    return rv;
}
