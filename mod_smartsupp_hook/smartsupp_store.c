#include "smartsupp_store.h"

#include <string.h>

#include <apr_strings.h>
#include <apr_time.h>

#include "smartsupp_rows.h"
#include "smartsupp_store_choice.h"

/* What of the choice is still to be stored. */
typedef struct batch_t {
    smartsupp_sql_t *sql;
    apr_pool_t *pool;
    smartsupp_store_candidate_t *candidates; /* in the order of their keys */
    int count;
} batch_t;

/* Whether its rows are, or will be, those of this delivery. */
static int is_written(const smartsupp_store_candidate_t *candidate)
{
    return *candidate->result == SMARTSUPP_STORE_STORED ||
           *candidate->result == SMARTSUPP_STORE_UPDATED;
}

/* One row of SELECT_VERSIONS. */
typedef struct stored_t {
    smartsupp_version_t version;
    int is_updated;
    int has_children;
} stored_t;

static stored_t stored_of(const char *const *columns)
{
    stored_t stored = {
        .version = {.end_at =
                        columns[3] ? apr_atoi64(columns[3]) : SMARTSUPP_NULL,
                    .message_rows = apr_atoi64(columns[4]),
                    .received_at = apr_atoi64(columns[5]),
                    .body_sha256 = columns[7]},
        .is_updated = columns[6] != NULL,
        .has_children = apr_atoi64(columns[8]) > 0,
    };

    return stored;
}

/*
 * What becomes of a candidate whose key exists. It may have been inserted just
 * now by the same statement that left another one out: then the row is its
 * own, as it is without children.
 */
static void settle(smartsupp_store_candidate_t *candidate,
                   const stored_t *stored, int some_were_inserted)
{
    smartsupp_version_t ours = smartsupp_store_version_of(candidate->delivery);

    candidate->stored_sha256 = stored->version.body_sha256;
    if (!strcmp(ours.body_sha256, stored->version.body_sha256)) {
        *candidate->result =
            some_were_inserted && !stored->is_updated &&
                    !stored->has_children &&
                    ours.received_at == stored->version.received_at
                ? SMARTSUPP_STORE_STORED
                : SMARTSUPP_STORE_DUPLICATE;
    }
    else if (smartsupp_version_compare(&ours, &stored->version) > 0) {
        *candidate->result = SMARTSUPP_STORE_UPDATED;
        candidate->stored_sha256 = ours.body_sha256;
    }
    else {
        *candidate->result = SMARTSUPP_STORE_STALE;
    }
}

/* Replace the row of an older version, and take its children away. */
static apr_status_t replace(const batch_t *batch,
                            smartsupp_store_candidate_t *candidate)
{
    static const smartsupp_sql_id_e deletes[] = {
        SMARTSUPP_SQL_DELETE_MESSAGES,
        SMARTSUPP_SQL_DELETE_PATHS,
        SMARTSUPP_SQL_DELETE_VARIABLES,
    };
    smartsupp_sql_call_t call = {SMARTSUPP_SQL_UPDATE_CONVERSATION, 1,
                                 candidate->values};
    apr_status_t rv;
    size_t i;

    candidate->values[SMARTSUPP_ROWS_UPDATED_AT] =
        smartsupp_rows_integer(apr_time_as_msec(apr_time_now()), batch->pool);
    rv = smartsupp_sql_execute(NULL, batch->sql, &call, batch->pool);
    call.values = candidate->key;
    for (i = 0; rv == APR_SUCCESS && i < 3; i++) {
        call.id = deletes[i];
        rv = smartsupp_sql_execute(NULL, batch->sql, &call, batch->pool);
    }
    return rv;
}

static const char *const *find_row(const apr_array_header_t *rows,
                                   const smartsupp_store_candidate_t *candidate)
{
    int i;

    for (i = 0; i < rows->nelts; i++) {
        const char *const *row = APR_ARRAY_IDX(rows, i, const char **);

        if (!strcmp(row[2], candidate->key[2]) &&
            !strcmp(row[1], candidate->key[1]) &&
            !strcmp(row[0], candidate->key[0])) {
            return row;
        }
    }
    return NULL;
}

/* Some of these keys exist: lock those rows, see which, and replace the older
 * ones. */
static apr_status_t meet_stored(const batch_t *batch,
                                smartsupp_store_candidate_t *candidates,
                                int count, int inserted)
{
    const char **keys =
        apr_palloc(batch->pool, (apr_size_t)count * sizeof(candidates->key));
    smartsupp_sql_call_t call = {SMARTSUPP_SQL_SELECT_VERSIONS, count, keys};
    apr_array_header_t *rows = NULL;
    apr_status_t rv;
    int i;

    for (i = 0; i < count; i++) {
        memcpy(keys + i * SMARTSUPP_SQL_KEY_VALUES, candidates[i].key,
               sizeof(candidates->key));
    }
    rv = smartsupp_sql_select(&rows, batch->sql, &call,
                              SMARTSUPP_SQL_VERSION_COLUMNS, batch->pool);
    for (i = 0; rv == APR_SUCCESS && i < count; i++) {
        const char *const *row = find_row(rows, &candidates[i]);
        stored_t stored;

        if (!row) {
            /* deleted meanwhile, which the next try settles; or it is not its
             * key that stands in the way */
            return smartsupp_sql_fail(batch->sql, SMARTSUPP_SQL_PERMANENT,
                                      "the conversation can be inserted no "
                                      "more than found: is there a UNIQUE "
                                      "index besides the primary key?");
        }
        stored = stored_of(row);
        settle(&candidates[i], &stored, inserted > 0);
        if (*candidates[i].result == SMARTSUPP_STORE_UPDATED) {
            rv = replace(batch, &candidates[i]);
        }
    }
    return rv;
}

/* The values of the conversations' own rows. */
static void conversation_values(const char **values, const batch_t *batch)
{
    int i;

    for (i = 0; i < batch->count; i++) {
        batch->candidates[i].values = values;
        smartsupp_rows_conversation(values, batch->candidates[i].delivery,
                                    batch->candidates[i].key, batch->pool);
        values += SMARTSUPP_SQL_CONVERSATION_VALUES;
    }
}

/* The rows of the conversations themselves. */
static apr_status_t store_conversations(const batch_t *batch)
{
    smartsupp_sql_call_t call = {SMARTSUPP_SQL_INSERT_CONVERSATIONS, 0, NULL};
    apr_status_t rv = APR_SUCCESS;
    int i;

    conversation_values(
        apr_palloc(
            batch->pool,
            ((apr_size_t)batch->count * SMARTSUPP_SQL_CONVERSATION_VALUES + 1) *
                sizeof(*call.values)),
        batch);
    for (i = 0; rv == APR_SUCCESS && i < batch->count; i += call.rows) {
        int affected = 0;

        call.rows = smartsupp_sql_chunk(call.id, batch->count - i);
        call.values = batch->candidates[i].values;
        rv = smartsupp_sql_execute(&affected, batch->sql, &call, batch->pool);
        if (rv == APR_SUCCESS && affected < call.rows) {
            rv = meet_stored(batch, &batch->candidates[i], call.rows, affected);
        }
    }
    return rv;
}

static apr_status_t store_event(smartsupp_store_result_e *result,
                                const batch_t *batch,
                                const smartsupp_delivery_t *delivery)
{
    const smartsupp_event_t *event = delivery->event;
    const char *values[SMARTSUPP_SQL_EVENT_VALUES] = {
        smartsupp_rows_integer(event->account_id, batch->pool),
        event->event,
        event->timestamp,
        delivery->body_sha256,
        smartsupp_rows_integer(delivery->received_at, batch->pool),
        delivery->body,
    };
    smartsupp_sql_call_t call = {SMARTSUPP_SQL_INSERT_EVENT, 1, values};
    int affected = 0;
    apr_status_t rv =
        smartsupp_sql_execute(&affected, batch->sql, &call, batch->pool);

    *result = affected ? SMARTSUPP_STORE_STORED : SMARTSUPP_STORE_DUPLICATE;
    return rv;
}

/* How many children of that kind are to be written. */
static int count_children(const batch_t *batch,
                          const smartsupp_rows_child_t *child)
{
    int rows = 0;
    int i;

    for (i = 0; i < batch->count; i++) {
        if (is_written(&batch->candidates[i])) {
            rows += child->count(batch->candidates[i].delivery->conversation);
        }
    }
    return rows;
}

/* The values of their rows. */
static void children_values(const char **values, const batch_t *batch,
                            const smartsupp_rows_child_t *child)
{
    int i;

    for (i = 0; i < batch->count; i++) {
        const smartsupp_store_candidate_t *candidate = &batch->candidates[i];

        if (is_written(candidate)) {
            values = child->rows(values, candidate->delivery->conversation,
                                 candidate->key, batch->pool);
        }
    }
}

static apr_status_t insert_children(const batch_t *batch,
                                    const smartsupp_rows_child_t *child)
{
    smartsupp_sql_call_t call = {child->insert, count_children(batch, child),
                                 NULL};

    call.values = apr_palloc(
        batch->pool, ((apr_size_t)call.rows * (apr_size_t)child->values + 1) *
                         sizeof(*call.values));
    children_values(call.values, batch, child);
    return smartsupp_sql_insert_rows(batch->sql, &call, batch->pool);
}

/* How many rows of INSERT_AT_ONCE have room for the whole batch; 0: none. */
static int rows_at_once(const batch_t *batch)
{
    const smartsupp_rows_child_t *child;
    int rows = batch->count;

    for (child = smartsupp_rows_children; child->rows; child++) {
        int needed = (count_children(batch, child) + child->at_once - 1) /
                     child->at_once;

        rows = needed > rows ? needed : rows;
    }
    return smartsupp_sql_room(SMARTSUPP_SQL_INSERT_AT_ONCE, rows);
}

/* Put those that are not among these rows first, and count only them. */
static void leave_out(batch_t *batch, const apr_array_header_t *rows)
{
    smartsupp_store_candidate_t *inserted = apr_palloc(
        batch->pool, ((apr_size_t)batch->count + 1) * sizeof(*inserted));
    int left = 0;
    int i;

    for (i = 0; i < batch->count; i++) {
        if (find_row(rows, &batch->candidates[i])) {
            inserted[i - left] = batch->candidates[i];
        }
        else {
            batch->candidates[left++] = batch->candidates[i];
        }
    }
    memcpy(batch->candidates + left, inserted,
           (apr_size_t)(batch->count - left) * sizeof(*inserted));
    batch->count = left;
}

/*
 * Where the session can, and the batch is small enough: insert all that is new
 * by one statement, which is a transaction of its own: one round trip in place
 * of BEGIN, an INSERT for each table, and COMMIT. The batch is then what was
 * left out.
 */
static apr_status_t insert_at_once(batch_t *batch)
{
    smartsupp_sql_call_t call = {SMARTSUPP_SQL_INSERT_AT_ONCE,
                                 rows_at_once(batch), NULL};
    const smartsupp_rows_child_t *child;
    apr_array_header_t *rows = NULL;
    const char **values;
    apr_status_t rv;

    if (batch->count == 0 || call.rows == 0 ||
        !smartsupp_sql_inserts_at_once(batch->sql)) {
        return APR_SUCCESS;
    }
    call.values = apr_pcalloc(batch->pool, (apr_size_t)call.rows *
                                               SMARTSUPP_SQL_AT_ONCE_VALUES *
                                               sizeof(*call.values));
    conversation_values(call.values, batch);
    values = call.values + call.rows * SMARTSUPP_SQL_CONVERSATION_VALUES;
    for (child = smartsupp_rows_children; child->rows; child++) {
        children_values(values, batch, child);
        values += call.rows * child->at_once * child->values;
    }
    rv = smartsupp_sql_select(&rows, batch->sql, &call,
                              SMARTSUPP_SQL_KEY_VALUES, batch->pool);
    if (rv == APR_SUCCESS) {
        leave_out(batch, rows);
    }
    else if (smartsupp_sql_error(batch->sql)->error_class ==
             SMARTSUPP_SQL_STALE) {
        /* a rule on one of the tables forbids it, maybe: what comes next, the
         * repetition first, is done without it */
        smartsupp_sql_avoid_at_once(batch->sql);
    }
    return rv;
}

/* All of the batch, and the events, inside a transaction. */
static apr_status_t store_rows(const batch_t *batch,
                               const smartsupp_store_choice_t *choice)
{
    const smartsupp_rows_child_t *child;
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; rv == APR_SUCCESS && i < choice->given; i++) {
        if (choice->deliveries[i]->event) {
            rv = store_event(&choice->results[i], batch, choice->deliveries[i]);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = store_conversations(batch);
    }
    for (child = smartsupp_rows_children; rv == APR_SUCCESS && child->rows;
         child++) {
        rv = insert_children(batch, child);
    }
    return rv;
}

static apr_status_t transact(const batch_t *batch,
                             const smartsupp_store_choice_t *choice)
{
    apr_status_t rv = smartsupp_sql_begin(batch->sql);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = store_rows(batch, choice);
    if (rv != APR_SUCCESS) {
        smartsupp_sql_rollback(batch->sql);
        return rv;
    }
    return smartsupp_sql_commit(batch->sql);
}

apr_status_t smartsupp_store(smartsupp_store_result_e *results,
                             smartsupp_sql_t *sql,
                             smartsupp_delivery_t *const *deliveries, int count,
                             apr_pool_t *pool)
{
    smartsupp_store_choice_t choice = {
        .deliveries = deliveries, .results = results, .given = count};
    batch_t batch = {.sql = sql, .pool = pool};
    int events = 0;
    int i;
    apr_status_t rv;

    for (i = 0; i < count; i++) {
        events += deliveries[i]->event != NULL;
    }
    smartsupp_store_choose(&choice, pool);
    batch.candidates = choice.candidates;
    batch.count = choice.count;
    rv = insert_at_once(&batch);
    if (rv == APR_SUCCESS && batch.count + events > 0) {
        rv = transact(&batch, &choice);
    }
    smartsupp_store_answer_others(&choice);
    return rv;
}
