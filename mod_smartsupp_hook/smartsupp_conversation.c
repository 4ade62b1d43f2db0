#include "smartsupp_conversation.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "smartsupp_event.h"
#include "smartsupp_field.h"
#include "smartsupp_identity.h"
#include "smartsupp_json.h"
#include "smartsupp_json_memory.h"
#include "smartsupp_sender.h"

/* The warnings kept with a conversation; the rest are counted. */
#define WARNINGS_MAX 100

/* A conversation being decoded. */
typedef struct decoder_t {
    smartsupp_reader_t *reader;
    smartsupp_conversation_t *conversation;
} decoder_t;

/* Reads one member of a list into its row. */
typedef void read_row_t(void *row, decoder_t *decoder,
                        const smartsupp_place_t *at);

#define CONVERSATION(member) offsetof(smartsupp_conversation_t, member)
#define MESSAGE(member) offsetof(smartsupp_message_t, member)
#define PATH(member) offsetof(smartsupp_path_t, member)
#define VARIABLE(member) offsetof(smartsupp_variable_t, member)

#define TABLE(fields)                                                          \
    {                                                                          \
        (fields), sizeof(fields) / sizeof((fields)[0])                         \
    }

/* Members that need more than their kind are read one by one, and have a name
 * for their index in the table. */
enum {
    ROOT_ACCOUNT_ID = 0,
    ROOT_BEGIN_AT = 1,
    ROOT_CHANNEL = 3,
    ROOT_VISITOR = 4,
    ROOT_PATHS = 5,
    ROOT_MESSAGES = 6,
    CHANNEL_ID = 0,
    VISITOR_VARIABLES = 12,
    VISITOR_GROUP_KEY = 13,
    MESSAGE_FROM = 2,
    MESSAGE_EMAIL = 6,
    VARIABLE_VALUE = 1
};

static const smartsupp_field_t root_fields[] = {
    [ROOT_ACCOUNT_ID] = {"accountId", SMARTSUPP_OTHER, 0},
    [ROOT_BEGIN_AT] = {"beginAt", SMARTSUPP_OTHER, 0},
    {"endAt", SMARTSUPP_INTEGER, CONVERSATION(end_at)},
    [ROOT_CHANNEL] = {"channel", SMARTSUPP_OTHER, 0},
    [ROOT_VISITOR] = {"visitor", SMARTSUPP_OTHER, 0},
    [ROOT_PATHS] = {"paths", SMARTSUPP_OTHER, 0},
    [ROOT_MESSAGES] = {"messages", SMARTSUPP_OTHER, 0},
};
static const smartsupp_fields_t root_table = TABLE(root_fields);

static const smartsupp_field_t channel_fields[] = {
    [CHANNEL_ID] = {"id", SMARTSUPP_OTHER, 0},
    {"isChat", SMARTSUPP_BOOLEAN, CONVERSATION(is_chat)},
    {"isMissed", SMARTSUPP_BOOLEAN, CONVERSATION(is_missed)},
    {"isTriggered", SMARTSUPP_BOOLEAN, CONVERSATION(is_triggered)},
    {"isOffline", SMARTSUPP_BOOLEAN, CONVERSATION(is_offline)},
    {"isCompleted", SMARTSUPP_BOOLEAN, CONVERSATION(is_completed)},
    {"isDropped", SMARTSUPP_BOOLEAN, CONVERSATION(is_dropped)},
    {"duration", SMARTSUPP_INTEGER, CONVERSATION(duration)},
    {"avgResponse", SMARTSUPP_INTEGER, CONVERSATION(avg_response)},
    {"firstResponse", SMARTSUPP_INTEGER, CONVERSATION(first_response)},
    {"messagesCount", SMARTSUPP_INTEGER, CONVERSATION(messages_count)},
    {"wordsCount", SMARTSUPP_INTEGER, CONVERSATION(words_count)},
    {"rating", SMARTSUPP_INTEGER, CONVERSATION(rating)},
    {"ratingDesc", SMARTSUPP_TEXT, CONVERSATION(rating_desc)},
};
static const smartsupp_fields_t channel_table = TABLE(channel_fields);

static const smartsupp_field_t visitor_fields[] = {
    {"id", SMARTSUPP_ID, CONVERSATION(visitor_id)},
    {"name", SMARTSUPP_TEXT, CONVERSATION(visitor_name)},
    {"email", SMARTSUPP_TEXT, CONVERSATION(visitor_email)},
    {"note", SMARTSUPP_TEXT, CONVERSATION(visitor_note)},
    {"group", SMARTSUPP_TEXT, CONVERSATION(visitor_group)},
    {"ipAddress", SMARTSUPP_TEXT, CONVERSATION(visitor_ip_address)},
    {"city", SMARTSUPP_TEXT, CONVERSATION(visitor_city)},
    {"countryCode", SMARTSUPP_TEXT, CONVERSATION(visitor_country_code)},
    {"country", SMARTSUPP_TEXT, CONVERSATION(visitor_country)},
    {"userAgent", SMARTSUPP_TEXT, CONVERSATION(visitor_user_agent)},
    {"platform", SMARTSUPP_TEXT, CONVERSATION(visitor_platform)},
    {"referer", SMARTSUPP_TEXT, CONVERSATION(visitor_referer)},
    [VISITOR_VARIABLES] = {"variables", SMARTSUPP_OTHER, 0},
    [VISITOR_GROUP_KEY] = {"groupKey", SMARTSUPP_OTHER, 0},
};
static const smartsupp_fields_t visitor_table = TABLE(visitor_fields);

static const smartsupp_field_t message_fields[] = {
    {"type", SMARTSUPP_TEXT, MESSAGE(type)},
    {"name", SMARTSUPP_TEXT, MESSAGE(name)},
    [MESSAGE_FROM] = {"from", SMARTSUPP_OTHER, 0},
    {"content", SMARTSUPP_TEXT, MESSAGE(content)},
    {"sentAt", SMARTSUPP_INTEGER, MESSAGE(sent_at)},
    {"triggeredBy", SMARTSUPP_TEXT, MESSAGE(triggered_by)},
    [MESSAGE_EMAIL] = {"email", SMARTSUPP_TEXT, MESSAGE(email)},
};
static const smartsupp_fields_t message_table = TABLE(message_fields);

static const smartsupp_field_t path_fields[] = {
    {"url", SMARTSUPP_TEXT, PATH(url)},
    {"title", SMARTSUPP_TEXT, PATH(title)},
};
static const smartsupp_fields_t path_table = TABLE(path_fields);

static const smartsupp_field_t variable_fields[] = {
    {"label", SMARTSUPP_TEXT, VARIABLE(label)},
    [VARIABLE_VALUE] = {"value", SMARTSUPP_OTHER, 0},
};
static const smartsupp_fields_t variable_table = TABLE(variable_fields);

static int is_absent(const cJSON *value)
{
    return !value || cJSON_IsNull(value);
}

/* PHP, which may have made the body, writes an empty object as []. */
static int is_empty(const cJSON *value)
{
    return is_absent(value) ||
           ((cJSON_IsArray(value) || cJSON_IsObject(value)) && !value->child);
}

static void read_channel(decoder_t *decoder, const smartsupp_place_t *at)
{
    smartsupp_conversation_t *conversation = decoder->conversation;
    const cJSON *found[SMARTSUPP_FIELDS_MAX];
    smartsupp_place_t id;

    if (is_absent(at->value)) {
        smartsupp_field_error(decoder->reader, "missing", at);
        return;
    }
    if (!cJSON_IsObject(at->value)) {
        smartsupp_field_error(decoder->reader, "type", at);
        return;
    }
    smartsupp_fields_read(conversation, found, decoder->reader, at,
                          &channel_table);
    id = smartsupp_place_member(at, "id", found[CHANNEL_ID]);
    conversation->channel_id = smartsupp_identity_channel(decoder->reader, &id);
}

/* The members of an array or object, a row each. */
static void *read_rows(int *count, decoder_t *decoder,
                       const smartsupp_place_t *at, apr_size_t size,
                       read_row_t *read_row)
{
    apr_size_t members = (apr_size_t)cJSON_GetArraySize(at->value);
    char *rows = smartsupp_field_alloc(decoder->reader, members * size);
    smartsupp_place_t place = {.above = at};

    if (!rows) {
        return NULL;
    }
    cJSON_ArrayForEach(place.value, at->value)
    {
        place.key = place.value->string;
        read_row(rows + (apr_size_t)place.index * size, decoder, &place);
        place.index++;
    }
    *count = place.index;
    return rows;
}

/* The same for what must be an array, and may be empty. */
static void *read_array(int *count, decoder_t *decoder,
                        const smartsupp_place_t *at, apr_size_t size,
                        read_row_t *read_row)
{
    if (is_empty(at->value)) {
        return NULL;
    }
    if (!cJSON_IsArray(at->value)) {
        smartsupp_field_error(decoder->reader, "type", at);
        return NULL;
    }
    return read_rows(count, decoder, at, size, read_row);
}

static void read_value(smartsupp_variable_t *variable,
                       smartsupp_reader_t *reader, const smartsupp_place_t *at)
{
    variable->value_type = "null";
    if (is_absent(at->value)) {
        return;
    }
    if (cJSON_IsString(at->value)) {
        variable->value_type = "string";
        variable->value = smartsupp_field_copy(reader, at->value->valuestring);
    }
    else if (cJSON_IsNumber(at->value)) {
        variable->value_type = "number";
        variable->value = smartsupp_field_number(reader, at);
    }
    else if (cJSON_IsBool(at->value)) {
        variable->value_type = "boolean";
        variable->value = cJSON_IsTrue(at->value) ? "true" : "false";
    }
    else {
        smartsupp_field_warning(reader, "type", at);
    }
}

static void read_variable(void *row, decoder_t *decoder,
                          const smartsupp_place_t *at)
{
    smartsupp_variable_t *variable = row;
    const cJSON *found[SMARTSUPP_FIELDS_MAX];
    smartsupp_place_t value;

    variable->name = smartsupp_field_copy(decoder->reader, at->key);
    if (!cJSON_IsObject(at->value)) {
        if (!cJSON_IsNull(at->value) && !cJSON_IsArray(at->value)) {
            smartsupp_field_warning(decoder->reader, "coerced", at);
        }
        read_value(variable, decoder->reader, at);
        return;
    }
    smartsupp_fields_read(variable, found, decoder->reader, at,
                          &variable_table);
    value = smartsupp_place_member(at, "value", found[VARIABLE_VALUE]);
    read_value(variable, decoder->reader, &value);
}

static void read_visitor(decoder_t *decoder, const smartsupp_place_t *at)
{
    smartsupp_conversation_t *conversation = decoder->conversation;
    const cJSON *found[SMARTSUPP_FIELDS_MAX];
    smartsupp_place_t variables;
    smartsupp_place_t place;
    const char *group_key;

    if (is_empty(at->value)) {
        return;
    }
    if (!cJSON_IsObject(at->value)) {
        smartsupp_field_error(decoder->reader, "type", at);
        return;
    }
    smartsupp_fields_read(conversation, found, decoder->reader, at,
                          &visitor_table);

    place = smartsupp_place_member(at, "groupKey", found[VISITOR_GROUP_KEY]);
    group_key = smartsupp_field_text(decoder->reader, &place);
    if (place.value) {
        conversation->generation = 1;
    }
    if (!conversation->visitor_group) {
        conversation->visitor_group = group_key;
    }
    else if (group_key && strcmp(group_key, conversation->visitor_group) != 0) {
        smartsupp_field_warning(decoder->reader, "conflict", &place);
    }

    variables =
        smartsupp_place_member(at, "variables", found[VISITOR_VARIABLES]);
    if (is_empty(variables.value)) {
        return;
    }
    if (!cJSON_IsObject(variables.value)) {
        smartsupp_field_warning(decoder->reader, "type", &variables);
        return;
    }
    conversation->variables =
        read_rows(&conversation->variable_rows, decoder, &variables,
                  sizeof(smartsupp_variable_t), read_variable);
}

static void read_path(void *row, decoder_t *decoder,
                      const smartsupp_place_t *at)
{
    const cJSON *found[SMARTSUPP_FIELDS_MAX];

    if (!cJSON_IsObject(at->value)) {
        smartsupp_field_error(decoder->reader, "type", at);
        return;
    }
    smartsupp_fields_read(row, found, decoder->reader, at, &path_table);
}

static void read_message(void *row, decoder_t *decoder,
                         const smartsupp_place_t *at)
{
    smartsupp_message_t *message = row;
    const cJSON *found[SMARTSUPP_FIELDS_MAX];
    smartsupp_place_t from;
    smartsupp_sender_t sender;

    if (!cJSON_IsObject(at->value)) {
        smartsupp_field_error(decoder->reader, "type", at);
        return;
    }
    smartsupp_fields_read(message, found, decoder->reader, at, &message_table);
    from = smartsupp_place_member(at, "from", found[MESSAGE_FROM]);
    sender = smartsupp_sender_read(decoder->reader, &from, message->type);
    message->sender_kind = sender.kind;
    message->sender_id = sender.id;
    if (sender.generation == 1 || found[MESSAGE_EMAIL]) {
        decoder->conversation->generation = 1;
    }
}

static void read_conversation(decoder_t *decoder, const smartsupp_place_t *root)
{
    smartsupp_conversation_t *conversation = decoder->conversation;
    smartsupp_reader_t *reader = decoder->reader;
    const cJSON *found[SMARTSUPP_FIELDS_MAX];
    smartsupp_place_t place;

    if (!cJSON_IsObject(root->value)) {
        smartsupp_field_error(reader, "type", root);
        return;
    }
    conversation->generation = 2;
    smartsupp_fields_read(conversation, found, reader, root, &root_table);

    place = smartsupp_place_member(root, "accountId", found[ROOT_ACCOUNT_ID]);
    conversation->account_id = smartsupp_identity_account(reader, &place);
    place = smartsupp_place_member(root, "beginAt", found[ROOT_BEGIN_AT]);
    conversation->begin_at = smartsupp_identity_begin(reader, &place);
    place = smartsupp_place_member(root, "channel", found[ROOT_CHANNEL]);
    read_channel(decoder, &place);
    place = smartsupp_place_member(root, "visitor", found[ROOT_VISITOR]);
    read_visitor(decoder, &place);
    place = smartsupp_place_member(root, "paths", found[ROOT_PATHS]);
    conversation->paths = read_array(&conversation->path_rows, decoder, &place,
                                     sizeof(smartsupp_path_t), read_path);
    place = smartsupp_place_member(root, "messages", found[ROOT_MESSAGES]);
    conversation->messages =
        read_array(&conversation->message_rows, decoder, &place,
                   sizeof(smartsupp_message_t), read_message);
}

/* The tree of a body that has passed the scan, or NULL: then there was not
 * enough memory, for nothing else can be wrong with it. */
static cJSON *parse(const smartsupp_delivery_t *delivery,
                    const smartsupp_json_scan_t *scan,
                    smartsupp_problems_t *warnings)
{
    apr_size_t length = delivery->body_length;
    cJSON *tree;
    char *copy;

    if (!scan->unstorable && !scan->long_numbers) {
        return cJSON_ParseWithLengthOpts(delivery->body, length, NULL, 0);
    }
    copy = malloc(length + 1);
    if (!copy) {
        return NULL;
    }
    memcpy(copy, delivery->body, length);
    copy[length] = '\0';
    smartsupp_json_replace_unstorable(copy, length, warnings);
    if (scan->long_numbers) {
        smartsupp_json_shorten_numbers(copy, length);
    }
    tree = cJSON_ParseWithLengthOpts(copy, length, NULL, 0);
    free(copy);
    return tree;
}

/* Read the tree into a conversation or event of the delivery, unless memory
 * runs out. */
static void read_tree(smartsupp_delivery_t *delivery,
                      smartsupp_reader_t *reader, const cJSON *tree)
{
    decoder_t decoder = {reader, NULL};
    smartsupp_place_t root = {.value = tree};

    if (smartsupp_event_is(tree)) {
        smartsupp_event_t *event =
            smartsupp_field_alloc(reader, sizeof(*event));

        if (event) {
            smartsupp_event_read(event, reader, tree);
        }
        delivery->event = event;
        return;
    }
    decoder.conversation =
        smartsupp_field_alloc(reader, sizeof(*decoder.conversation));
    if (decoder.conversation) {
        read_conversation(&decoder, &root);
    }
    delivery->conversation = decoder.conversation;
}

apr_status_t smartsupp_conversation_decode(smartsupp_delivery_t *delivery,
                                           smartsupp_problems_t *errors,
                                           apr_size_t max_values)
{
    smartsupp_reader_t reader = {.pool = delivery->pool,
                                 .errors = errors,
                                 .null = SMARTSUPP_NULL,
                                 .status = APR_SUCCESS};
    int errors_before = smartsupp_problems_count(errors);
    smartsupp_json_scan_t scan;
    cJSON *tree;

    if (smartsupp_json_scan(&scan, delivery->body, delivery->body_length,
                            max_values) != APR_SUCCESS) {
        smartsupp_problems_add(errors, scan.code, "", (apr_int64_t)scan.offset);
        return SMARTSUPP_ESYNTAX;
    }
    reader.warnings = smartsupp_problems_make(WARNINGS_MAX, delivery->pool);
    if (!reader.warnings) {
        return APR_ENOMEM;
    }
    smartsupp_json_memory_begin(scan.values, delivery->body_length);
    tree = parse(delivery, &scan, reader.warnings);
    if (tree) {
        read_tree(delivery, &reader, tree);
    }
    smartsupp_json_memory_end(tree);
    if (!tree) {
        return APR_ENOMEM;
    }

    if (reader.status == APR_SUCCESS &&
        smartsupp_problems_count(errors) == errors_before) {
        delivery->warnings = reader.warnings;
        return APR_SUCCESS;
    }
    delivery->conversation = NULL;
    delivery->event = NULL;
    return reader.status == APR_SUCCESS ? SMARTSUPP_ESTRUCTURE : reader.status;
}
