#include "smartsupp_sql_text.h"

#include <string.h>

#include <apr_strings.h>

const char smartsupp_sql_schema_version_table[] =
    "CREATE TABLE IF NOT EXISTS {prefix}schema_version ("
    "version INTEGER NOT NULL PRIMARY KEY, "
    "applied_at BIGINT NOT NULL){rows}";

const char *const smartsupp_sql_migrations[] = {
    /* 1 */
    "CREATE TABLE IF NOT EXISTS {prefix}conversation ("
    "account_id BIGINT NOT NULL, "
    "channel_id {key} NOT NULL, "
    "begin_at BIGINT NOT NULL, "
    "end_at BIGINT, "
    "is_chat BOOLEAN, "
    "is_missed BOOLEAN, "
    "is_triggered BOOLEAN, "
    "is_offline BOOLEAN, "
    "is_completed BOOLEAN, "
    "is_dropped BOOLEAN, "
    "duration BIGINT, "
    "avg_response BIGINT, "
    "first_response BIGINT, "
    "messages_count BIGINT, "
    "words_count BIGINT, "
    "rating BIGINT, "
    "rating_desc {text}, "
    "visitor_id {text}, "
    "visitor_name {text}, "
    "visitor_email {text}, "
    "visitor_note {text}, "
    "visitor_group {text}, "
    "visitor_ip_address {text}, "
    "visitor_city {text}, "
    "visitor_country_code {text}, "
    "visitor_country {text}, "
    "visitor_user_agent {text}, "
    "visitor_platform {text}, "
    "visitor_referer {text}, "
    "generation INTEGER NOT NULL, "
    "warnings {text}, "
    "message_rows BIGINT NOT NULL, "
    "received_at BIGINT NOT NULL, "
    "updated_at BIGINT, "
    "body_sha256 CHAR(64) NOT NULL, "
    "body {text} NOT NULL, "
    "PRIMARY KEY (account_id, channel_id, begin_at)){rows}",
    /* 2 */
    "CREATE TABLE IF NOT EXISTS {prefix}message ("
    "account_id BIGINT NOT NULL, "
    "channel_id {key} NOT NULL, "
    "begin_at BIGINT NOT NULL, "
    "seq INTEGER NOT NULL, "
    "type {text}, "
    "name {text}, "
    "sender_kind VARCHAR(8) NOT NULL, "
    "sender_id {text}, "
    "content {text}, "
    "sent_at BIGINT, "
    "triggered_by {text}, "
    "email {text}, "
    "PRIMARY KEY (account_id, channel_id, begin_at, seq)){cluster}",
    /* 3 */
    "CREATE TABLE IF NOT EXISTS {prefix}path ("
    "account_id BIGINT NOT NULL, "
    "channel_id {key} NOT NULL, "
    "begin_at BIGINT NOT NULL, "
    "seq INTEGER NOT NULL, "
    "url {text}, "
    "title {text}, "
    "PRIMARY KEY (account_id, channel_id, begin_at, seq)){cluster}",
    /* 4 */
    "CREATE TABLE IF NOT EXISTS {prefix}variable ("
    "account_id BIGINT NOT NULL, "
    "channel_id {key} NOT NULL, "
    "begin_at BIGINT NOT NULL, "
    "seq INTEGER NOT NULL, "
    "name {text}, "
    "label {text}, "
    "value {text}, "
    "value_type VARCHAR(8) NOT NULL, "
    "PRIMARY KEY (account_id, channel_id, begin_at, seq)){cluster}",
    /* 5 */
    "CREATE TABLE IF NOT EXISTS {prefix}event ("
    "account_id BIGINT, "
    "event {text}, "
    "timestamp {text}, "
    "body_sha256 CHAR(64) NOT NULL PRIMARY KEY, "
    "received_at BIGINT NOT NULL, "
    "body {text} NOT NULL){rows}",
    /* 6: a time outside of the years 1 to 9999 is no date, and on PostgreSQL
     * would fail the whole query */
    "{view} {prefix}transcript AS SELECT "
    "m.account_id, m.channel_id, m.begin_at, m.seq, m.sent_at, "
    "CASE WHEN m.sent_at BETWEEN -62135596800000 AND 253402300799999 "
    "THEN {utc} END AS sent_utc, "
    "COALESCE(NULLIF(m.name, ''), "
    "CASE m.sender_kind WHEN 'visitor' THEN NULLIF(c.visitor_name, '') END, "
    "m.sender_kind) AS who, "
    "m.content AS what "
    "FROM {prefix}message m JOIN {prefix}conversation c "
    "ON c.account_id = m.account_id AND c.channel_id = m.channel_id "
    "AND c.begin_at = m.begin_at",
    NULL,
};

const smartsupp_sql_table_t smartsupp_sql_tables[] = {
    {"schema_version", "version, applied_at"},
    {"conversation",
     "account_id, channel_id, begin_at, end_at, is_chat, is_missed, "
     "is_triggered, is_offline, is_completed, is_dropped, duration, "
     "avg_response, first_response, messages_count, words_count, rating, "
     "rating_desc, visitor_id, visitor_name, visitor_email, visitor_note, "
     "visitor_group, visitor_ip_address, visitor_city, visitor_country_code, "
     "visitor_country, visitor_user_agent, visitor_platform, visitor_referer, "
     "generation, warnings, message_rows, received_at, updated_at, "
     "body_sha256, body"},
    {"message", "account_id, channel_id, begin_at, seq, type, name, "
                "sender_kind, sender_id, content, sent_at, triggered_by, "
                "email"},
    {"path", "account_id, channel_id, begin_at, seq, url, title"},
    {"variable", "account_id, channel_id, begin_at, seq, name, label, value, "
                 "value_type"},
    {"event", "account_id, event, timestamp, body_sha256, received_at, body"},
    {"transcript", "account_id, channel_id, begin_at, seq, sent_at, sent_utc, "
                   "who, what"},
    {NULL, NULL},
};

/* One statement: its text up to the first row of values, a row (NULL where the
 * text is complete), what stands between rows, and what follows them. */
typedef struct statement_t {
    int values;   /* per row */
    int max_rows; /* one of the prepared row counts. At most 900 values, but for
                   * INSERT_AT_ONCE: PostgreSQL takes 65,535 */
    const char *head;
    const char *row;
    const char *separator;
    const char *tail;
} statement_t;

#define KEY "account_id = %lld AND channel_id = %s AND begin_at = %lld"
#define CHILD_OF_C                                                             \
    "k.account_id = c.account_id AND k.channel_id = c.channel_id "             \
    "AND k.begin_at = c.begin_at"

static const statement_t statements[SMARTSUPP_SQL_STATEMENTS] = {
    [SMARTSUPP_SQL_INSERT_CONVERSATIONS] =
        {SMARTSUPP_SQL_CONVERSATION_VALUES, 16,
         "INSERT INTO {prefix}conversation (end_at, is_chat, is_missed, "
         "is_triggered, is_offline, is_completed, is_dropped, duration, "
         "avg_response, first_response, messages_count, words_count, rating, "
         "rating_desc, visitor_id, visitor_name, visitor_email, visitor_note, "
         "visitor_group, visitor_ip_address, visitor_city, "
         "visitor_country_code, visitor_country, visitor_user_agent, "
         "visitor_platform, visitor_referer, generation, warnings, "
         "message_rows, received_at, updated_at, body_sha256, body, "
         "account_id, channel_id, begin_at) VALUES ",
         "(%lld, {boolean}, {boolean}, {boolean}, {boolean}, {boolean}, "
         "{boolean}, %lld, %lld, %lld, %lld, %lld, %lld, %s, %s, %s, %s, %s, "
         "%s, %s, %s, %s, %s, %s, %s, %s, %lld, %s, %lld, %lld, %lld, %s, %s, "
         "%lld, %s, %lld)",
         ", ", "{if_new account_id}"},
    [SMARTSUPP_SQL_INSERT_AT_ONCE] = {SMARTSUPP_SQL_AT_ONCE_VALUES,
                                      SMARTSUPP_SQL_AT_ONCE_MAX, NULL, NULL,
                                      NULL, NULL}, /* at_once_text */
    [SMARTSUPP_SQL_UPDATE_CONVERSATION] =
        {SMARTSUPP_SQL_CONVERSATION_VALUES, 1,
         "UPDATE {prefix}conversation SET end_at = %lld, is_chat = {boolean}, "
         "is_missed = {boolean}, is_triggered = {boolean}, "
         "is_offline = {boolean}, is_completed = {boolean}, "
         "is_dropped = {boolean}, duration = %lld, avg_response = %lld, "
         "first_response = %lld, messages_count = %lld, words_count = %lld, "
         "rating = %lld, rating_desc = %s, visitor_id = %s, "
         "visitor_name = %s, visitor_email = %s, visitor_note = %s, "
         "visitor_group = %s, visitor_ip_address = %s, visitor_city = %s, "
         "visitor_country_code = %s, visitor_country = %s, "
         "visitor_user_agent = %s, visitor_platform = %s, "
         "visitor_referer = %s, generation = %lld, warnings = %s, "
         "message_rows = %lld, received_at = %lld, updated_at = %lld, "
         "body_sha256 = %s, body = %s WHERE " KEY,
         NULL, "", ""},
    [SMARTSUPP_SQL_SELECT_VERSIONS] =
        {SMARTSUPP_SQL_KEY_VALUES, 16,
         "SELECT account_id, channel_id, begin_at, end_at, message_rows, "
         "received_at, updated_at, body_sha256, "
         "(SELECT count(*) FROM {prefix}message k WHERE " CHILD_OF_C ") + "
         "(SELECT count(*) FROM {prefix}path k WHERE " CHILD_OF_C ") + "
         "(SELECT count(*) FROM {prefix}variable k WHERE " CHILD_OF_C ") "
         "FROM {prefix}conversation c WHERE ",
         "(" KEY ")", " OR ", "{lock}"},
    [SMARTSUPP_SQL_DELETE_MESSAGES] = {SMARTSUPP_SQL_KEY_VALUES, 1,
                                       "DELETE FROM {prefix}message WHERE " KEY,
                                       NULL, "", ""},
    [SMARTSUPP_SQL_DELETE_PATHS] = {SMARTSUPP_SQL_KEY_VALUES, 1,
                                    "DELETE FROM {prefix}path WHERE " KEY, NULL,
                                    "", ""},
    [SMARTSUPP_SQL_DELETE_VARIABLES] =
        {SMARTSUPP_SQL_KEY_VALUES, 1, "DELETE FROM {prefix}variable WHERE " KEY,
         NULL, "", ""},
    [SMARTSUPP_SQL_INSERT_MESSAGES] =
        {SMARTSUPP_SQL_MESSAGE_VALUES, 64,
         "INSERT INTO {prefix}message (account_id, channel_id, begin_at, seq, "
         "type, name, sender_kind, sender_id, content, sent_at, triggered_by, "
         "email) VALUES ",
         "(%lld, %s, %lld, %lld, %s, %s, %s, %s, %s, %lld, %s, %s)", ", ", ""},
    [SMARTSUPP_SQL_INSERT_PATHS] =
        {SMARTSUPP_SQL_PATH_VALUES, 64,
         "INSERT INTO {prefix}path (account_id, channel_id, begin_at, seq, "
         "url, title) VALUES ",
         "(%lld, %s, %lld, %lld, %s, %s)", ", ", ""},
    [SMARTSUPP_SQL_INSERT_VARIABLES] =
        {SMARTSUPP_SQL_VARIABLE_VALUES, 64,
         "INSERT INTO {prefix}variable (account_id, channel_id, begin_at, "
         "seq, name, label, value, value_type) VALUES ",
         "(%lld, %s, %lld, %lld, %s, %s, %s, %s)", ", ", ""},
    [SMARTSUPP_SQL_INSERT_EVENT] =
        {SMARTSUPP_SQL_EVENT_VALUES, 1,
         "INSERT INTO {prefix}event (account_id, event, timestamp, "
         "body_sha256, received_at, body) VALUES ",
         "(%lld, %s, %s, %s, %lld, %s)", "", "{if_new received_at}"},
    [SMARTSUPP_SQL_SELECT_SCHEMA_VERSION] =
        {0, 1, "SELECT MAX(version) FROM {prefix}schema_version", NULL, "", ""},
    [SMARTSUPP_SQL_INSERT_SCHEMA_VERSION] =
        {2, 1,
         "INSERT INTO {prefix}schema_version (version, applied_at) VALUES ",
         "(%lld, %lld)", "", "{if_new version}"},
};

/* What stands for a word, which may be followed by a space and a column: that
 * takes the place of each $ in the spelling. */
static const char *spelling(const smartsupp_sql_dialect_t *dialect,
                            const char *word, const char *prefix,
                            apr_pool_t *pool)
{
    const char *column = strchr(word, ' ');
    size_t length = column ? (size_t)(column - word) : strlen(word);
    const char *spelled = prefix; /* the one word that is in no table */
    const char *dollar;
    size_t i;

    for (i = 0; dialect->words[i].word; i++) {
        if (!strncmp(dialect->words[i].word, word, length) &&
            !dialect->words[i].word[length]) {
            spelled = dialect->words[i].spelling;
        }
    }
    while (column && (dollar = strchr(spelled, '$')) != NULL) {
        spelled = apr_pstrcat(
            pool, apr_pstrmemdup(pool, spelled, (apr_size_t)(dollar - spelled)),
            column + 1, dollar + 1, NULL);
    }
    return spelled;
}

const char *smartsupp_sql_complete(const smartsupp_sql_dialect_t *dialect,
                                   const char *text, const char *prefix,
                                   apr_pool_t *pool)
{
    const char *completed = "";
    const char *brace;

    while ((brace = strchr(text, '{')) != NULL) {
        const char *end = strchr(brace, '}');
        const char *word =
            apr_pstrmemdup(pool, brace + 1, (apr_size_t)(end - brace - 1));

        completed = apr_pstrcat(
            pool, completed,
            apr_pstrmemdup(pool, text, (apr_size_t)(brace - text)),
            smartsupp_sql_complete(
                dialect, spelling(dialect, word, prefix, pool), prefix, pool),
            NULL);
        text = end + 1;
    }
    return apr_pstrcat(pool, completed, text, NULL);
}

/* So many rows of values. */
static const char *rows_text(const statement_t *statement, int rows,
                             apr_pool_t *pool)
{
    struct iovec pieces[2 * SMARTSUPP_SQL_ROWS_MAX];
    apr_size_t count = 0;

    while (rows-- > 0) {
        pieces[count].iov_base = (void *)statement->row;
        pieces[count++].iov_len = strlen(statement->row);
        pieces[count].iov_base = (void *)statement->separator;
        pieces[count++].iov_len = strlen(statement->separator);
    }
    return apr_pstrcatv(pool, pieces, count - 1, NULL);
}

/* An INSERT of those of so many rows of values, as table v, that a condition
 * lets through. */
static const char *insert_text(smartsupp_sql_id_e id, int rows,
                               const char *condition, apr_pool_t *pool)
{
    const statement_t *insert = &statements[id];
    const char *values = strstr(insert->head, " VALUES ");

    return apr_pstrcat(
        pool,
        apr_pstrmemdup(pool, insert->head, (apr_size_t)(values - insert->head)),
        " SELECT * FROM (VALUES ", rows_text(insert, rows, pool), ") v",
        condition, NULL);
}

/*
 * The inserts into all tables as parts of one statement. Rows that are not
 * needed have no key; nor do children go in whose conversation was left out.
 */
static const char *at_once_text(int rows, apr_pool_t *pool)
{
    static const struct {
        smartsupp_sql_id_e insert;
        int rows;
    } children[] = {
        {SMARTSUPP_SQL_INSERT_MESSAGES, SMARTSUPP_SQL_MESSAGES_AT_ONCE},
        {SMARTSUPP_SQL_INSERT_PATHS, SMARTSUPP_SQL_PATHS_AT_ONCE},
        {SMARTSUPP_SQL_INSERT_VARIABLES, SMARTSUPP_SQL_VARIABLES_AT_ONCE},
    };
    const char *text =
        apr_pstrcat(pool, "WITH new AS (",
                    insert_text(SMARTSUPP_SQL_INSERT_CONVERSATIONS, rows,
                                " WHERE column34 IS NOT NULL{if_new account_id}"
                                " RETURNING account_id, channel_id, begin_at",
                                pool),
                    ")", NULL);
    size_t i;

    for (i = 0; i < sizeof(children) / sizeof(children[0]); i++) {
        text = apr_psprintf(pool, "%s, children%d AS (", text, (int)i);
        text =
            apr_pstrcat(pool, text,
                        insert_text(children[i].insert, rows * children[i].rows,
                                    " (account_id, channel_id, begin_at)"
                                    " WHERE (account_id, channel_id, begin_at)"
                                    " IN (SELECT * FROM new)",
                                    pool),
                        ")", NULL);
    }
    return apr_pstrcat(pool, text, " SELECT * FROM new", NULL);
}

const char *smartsupp_sql_statement_text(const smartsupp_sql_dialect_t *dialect,
                                         smartsupp_sql_id_e id, int rows,
                                         const char *prefix, apr_pool_t *pool)
{
    const statement_t *statement = &statements[id];
    const char *text =
        id == SMARTSUPP_SQL_INSERT_AT_ONCE
            ? at_once_text(rows, pool)
            : apr_pstrcat(pool, statement->head,
                          statement->row ? rows_text(statement, rows, pool)
                                         : "",
                          statement->tail, NULL);

    return smartsupp_sql_complete(dialect, text, prefix, pool);
}

int smartsupp_sql_statement_values(smartsupp_sql_id_e id)
{
    return statements[id].values;
}

int smartsupp_sql_statement_rows(smartsupp_sql_id_e id)
{
    return statements[id].max_rows;
}
