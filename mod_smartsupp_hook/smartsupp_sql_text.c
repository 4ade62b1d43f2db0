#include "smartsupp_sql_text.h"

#include <string.h>

#include <apr_strings.h>

/* How a dialect spells what the databases do not agree on. */
struct smartsupp_sql_dialect_t {
    const char *name;
    struct {
        const char *word;
        const char *spelling;
    } words[10];
};

const smartsupp_sql_dialect_t smartsupp_sql_sqlite = {
    .name = "sqlite",
    .words =
        {
            /* type: unbounded text */
            {"text", "TEXT"},
            /* type: up to 128 bytes, compared as bytes */
            {"key", "VARCHAR(128)"},
            /* a boolean value, bound as '0' or '1' */
            {"boolean", "%s"},
            /* table option: rows may be long */
            {"rows", ""},
            /* table option: rows lie in the order of their key */
            {"cluster", " WITHOUT ROWID"},
            /* end of an INSERT that a known key turns into none */
            {"if_new", " ON CONFLICT DO NOTHING"},
            /* end of a SELECT that locks its row; BEGIN IMMEDIATE has */
            {"lock", ""},
            /* create a view, unless it is there */
            {"view", "CREATE VIEW IF NOT EXISTS"},
            /* m.sent_at as 'YYYY-MM-DD HH:MM:SS' */
            {"utc", "strftime('%Y-%m-%d %H:%M:%S', m.sent_at / 1000, "
                    "'unixepoch')"},
        },
};

const char smartsupp_sql_schema_version_table[] =
    "CREATE TABLE IF NOT EXISTS {prefix}schema_version ("
    "version INTEGER NOT NULL PRIMARY KEY, "
    "applied_at BIGINT NOT NULL)";

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
    /* 6 */
    "{view} {prefix}transcript AS SELECT "
    "m.account_id, m.channel_id, m.begin_at, m.seq, m.sent_at, "
    "{utc} AS sent_utc, "
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

/* One statement: its text up to the first row, a row of values (NULL where
 * the text is complete), and what follows the rows. */
typedef struct statement_t {
    int values; /* per row */
    const char *head;
    const char *row;
    const char *tail;
} statement_t;

#define WHERE_KEY                                                              \
    "WHERE account_id = %lld AND channel_id = %s AND begin_at = %lld"

static const statement_t statements[SMARTSUPP_SQL_STATEMENTS] = {
    [SMARTSUPP_SQL_INSERT_CONVERSATION] =
        {SMARTSUPP_SQL_CONVERSATION_VALUES,
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
         "{if_new}"},
    [SMARTSUPP_SQL_UPDATE_CONVERSATION] =
        {SMARTSUPP_SQL_CONVERSATION_VALUES,
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
         "body_sha256 = %s, body = %s " WHERE_KEY,
         NULL, ""},
    [SMARTSUPP_SQL_SELECT_VERSION] =
        {SMARTSUPP_SQL_KEY_VALUES,
         "SELECT end_at, message_rows, received_at, body_sha256 "
         "FROM {prefix}conversation " WHERE_KEY,
         NULL, "{lock}"},
    [SMARTSUPP_SQL_DELETE_MESSAGES] = {SMARTSUPP_SQL_KEY_VALUES,
                                       "DELETE FROM {prefix}message " WHERE_KEY,
                                       NULL, ""},
    [SMARTSUPP_SQL_DELETE_PATHS] = {SMARTSUPP_SQL_KEY_VALUES,
                                    "DELETE FROM {prefix}path " WHERE_KEY, NULL,
                                    ""},
    [SMARTSUPP_SQL_DELETE_VARIABLES] =
        {SMARTSUPP_SQL_KEY_VALUES, "DELETE FROM {prefix}variable " WHERE_KEY,
         NULL, ""},
    [SMARTSUPP_SQL_INSERT_MESSAGES] =
        {SMARTSUPP_SQL_MESSAGE_VALUES,
         "INSERT INTO {prefix}message (account_id, channel_id, begin_at, seq, "
         "type, name, sender_kind, sender_id, content, sent_at, triggered_by, "
         "email) VALUES ",
         "(%lld, %s, %lld, %lld, %s, %s, %s, %s, %s, %lld, %s, %s)", ""},
    [SMARTSUPP_SQL_INSERT_PATHS] =
        {SMARTSUPP_SQL_PATH_VALUES,
         "INSERT INTO {prefix}path (account_id, channel_id, begin_at, seq, "
         "url, title) VALUES ",
         "(%lld, %s, %lld, %lld, %s, %s)", ""},
    [SMARTSUPP_SQL_INSERT_VARIABLES] =
        {SMARTSUPP_SQL_VARIABLE_VALUES,
         "INSERT INTO {prefix}variable (account_id, channel_id, begin_at, "
         "seq, name, label, value, value_type) VALUES ",
         "(%lld, %s, %lld, %lld, %s, %s, %s, %s)", ""},
    [SMARTSUPP_SQL_INSERT_EVENT] =
        {SMARTSUPP_SQL_EVENT_VALUES,
         "INSERT INTO {prefix}event (account_id, event, timestamp, "
         "body_sha256, received_at, body) VALUES ",
         "(%lld, %s, %s, %s, %lld, %s)", "{if_new}"},
    [SMARTSUPP_SQL_SELECT_SCHEMA_VERSION] =
        {0, "SELECT MAX(version) FROM {prefix}schema_version", NULL, ""},
    [SMARTSUPP_SQL_INSERT_SCHEMA_VERSION] =
        {2, "INSERT INTO {prefix}schema_version (version, applied_at) VALUES ",
         "(%lld, %lld)", "{if_new}"},
};

/* What stands for the word of that length. */
static const char *spelling(const smartsupp_sql_dialect_t *dialect,
                            const char *word, size_t length, const char *prefix)
{
    size_t i;

    for (i = 0; dialect->words[i].word; i++) {
        if (!strncmp(dialect->words[i].word, word, length) &&
            !dialect->words[i].word[length]) {
            return dialect->words[i].spelling;
        }
    }
    return prefix; /* the one word that is left: {prefix} */
}

const char *smartsupp_sql_complete(const smartsupp_sql_dialect_t *dialect,
                                   const char *text, const char *prefix,
                                   apr_pool_t *pool)
{
    const char *completed = "";
    const char *brace;

    while ((brace = strchr(text, '{')) != NULL) {
        const char *end = strchr(brace, '}');
        size_t length = (size_t)(end - brace - 1);

        completed =
            apr_pstrcat(pool, completed,
                        apr_pstrmemdup(pool, text, (apr_size_t)(brace - text)),
                        spelling(dialect, brace + 1, length, prefix), NULL);
        text = end + 1;
    }
    return apr_pstrcat(pool, completed, text, NULL);
}

const char *smartsupp_sql_statement_text(const smartsupp_sql_dialect_t *dialect,
                                         smartsupp_sql_id_e id, int rows,
                                         const char *prefix, apr_pool_t *pool)
{
    const statement_t *statement = &statements[id];
    const char *parts[2 * SMARTSUPP_SQL_ROWS_MAX + 2];
    struct iovec pieces[2 * SMARTSUPP_SQL_ROWS_MAX + 2];
    apr_size_t count = 0;
    apr_size_t i;

    parts[count++] = statement->head;
    if (statement->row) {
        parts[count++] = statement->row;
        while (--rows > 0) {
            parts[count++] = ", ";
            parts[count++] = statement->row;
        }
    }
    parts[count++] = statement->tail;
    for (i = 0; i < count; i++) {
        pieces[i].iov_base = (void *)parts[i];
        pieces[i].iov_len = strlen(parts[i]);
    }
    return smartsupp_sql_complete(
        dialect, apr_pstrcatv(pool, pieces, count, NULL), prefix, pool);
}

int smartsupp_sql_statement_values(smartsupp_sql_id_e id)
{
    return statements[id].values;
}
