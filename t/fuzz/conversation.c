/*
 * The decoder on any body: what it gives is within its ranges and fit to be
 * stored, twice the same, and complete or nothing where memory runs out; what
 * it says of the body can be read and shown.
 */
#include "fuzz.h"

#include <stddef.h>

#include <cjson/cJSON.h>

#include "smartsupp_conversation.h"
#include "smartsupp_json.h"

#define MANY 65536
#define ERRORS_MAX 16
#define INTEGER_MAX APR_INT64_C(9007199254740991)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CONVERSATION(member) offsetof(smartsupp_conversation_t, member)
#define MESSAGE(member) offsetof(smartsupp_message_t, member)
#define PATH(member) offsetof(smartsupp_path_t, member)
#define VARIABLE(member) offsetof(smartsupp_variable_t, member)

/* The members of each record, by their types. */
static const size_t conversation_booleans[] = {
    CONVERSATION(is_chat),      CONVERSATION(is_missed),
    CONVERSATION(is_triggered), CONVERSATION(is_offline),
    CONVERSATION(is_completed), CONVERSATION(is_dropped)};
static const size_t conversation_integers[] = {
    CONVERSATION(account_id),     CONVERSATION(begin_at),
    CONVERSATION(end_at),         CONVERSATION(is_chat),
    CONVERSATION(is_missed),      CONVERSATION(is_triggered),
    CONVERSATION(is_offline),     CONVERSATION(is_completed),
    CONVERSATION(is_dropped),     CONVERSATION(duration),
    CONVERSATION(avg_response),   CONVERSATION(first_response),
    CONVERSATION(messages_count), CONVERSATION(words_count),
    CONVERSATION(rating)};
static const size_t conversation_texts[] = {
    CONVERSATION(channel_id),       CONVERSATION(rating_desc),
    CONVERSATION(visitor_id),       CONVERSATION(visitor_name),
    CONVERSATION(visitor_email),    CONVERSATION(visitor_note),
    CONVERSATION(visitor_group),    CONVERSATION(visitor_ip_address),
    CONVERSATION(visitor_city),     CONVERSATION(visitor_country_code),
    CONVERSATION(visitor_country),  CONVERSATION(visitor_user_agent),
    CONVERSATION(visitor_platform), CONVERSATION(visitor_referer)};
static const size_t message_integers[] = {MESSAGE(sent_at)};
static const size_t message_texts[] = {
    MESSAGE(type),      MESSAGE(name),    MESSAGE(sender_kind),
    MESSAGE(sender_id), MESSAGE(content), MESSAGE(triggered_by),
    MESSAGE(email)};
static const size_t path_texts[] = {PATH(url), PATH(title)};
static const size_t variable_texts[] = {VARIABLE(name), VARIABLE(label),
                                        VARIABLE(value), VARIABLE(value_type)};

typedef struct shape_t {
    const size_t *integers;
    size_t integer_count;
    const size_t *texts;
    size_t text_count;
    size_t size;
} shape_t;

static const shape_t conversation_shape = {
    conversation_integers, COUNT(conversation_integers), conversation_texts,
    COUNT(conversation_texts), sizeof(smartsupp_conversation_t)};
static const shape_t message_shape = {message_integers, COUNT(message_integers),
                                      message_texts, COUNT(message_texts),
                                      sizeof(smartsupp_message_t)};
static const shape_t path_shape = {NULL, 0, path_texts, COUNT(path_texts),
                                   sizeof(smartsupp_path_t)};
static const shape_t variable_shape = {NULL, 0, variable_texts,
                                       COUNT(variable_texts),
                                       sizeof(smartsupp_variable_t)};

/* A body once decoded. */
typedef struct decoded_t {
    char *body;
    smartsupp_delivery_t *delivery;
    smartsupp_problems_t *errors;
    apr_status_t status;
    int requests; /* of memory from the pool */
} decoded_t;

static apr_int64_t integer_at(const void *record, size_t offset)
{
    return *(const apr_int64_t *)((const char *)record + offset);
}

static const char *text_at(const void *record, size_t offset)
{
    return *(const char *const *)((const char *)record + offset);
}

static int is_one_of(const char *text, const char *const *list, size_t count)
{
    while (count--) {
        if (!strcmp(text, list[count])) {
            return 1;
        }
    }
    return 0;
}

/* @param failing which request for memory fails, or -1 */
static decoded_t decode(const char *bytes, size_t length, apr_pool_t *pool,
                        int failing)
{
    decoded_t d = {.body = exact_copy(bytes, length),
                   .errors = smartsupp_problems_make(ERRORS_MAX, pool)};

    must(d.errors);
    must(!smartsupp_delivery_create(&d.delivery, fuzz_allocator));
    d.delivery->body = d.body;
    d.delivery->body_length = length;
    d.requests = fuzz_requests;
    fuzz_requests_until_failure = failing;
    d.status = smartsupp_conversation_decode(d.delivery, d.errors, MANY);
    fuzz_requests_until_failure = -1;
    d.requests = fuzz_requests - d.requests;
    must(!length || !memcmp(bytes, d.body, length));
    return d;
}

static void done(const decoded_t *d)
{
    smartsupp_delivery_release(d->delivery);
    free(d->body);
}

static void check_record(const void *record, const shape_t *shape)
{
    size_t i;

    for (i = 0; i < shape->integer_count; i++) {
        apr_int64_t integer = integer_at(record, shape->integers[i]);

        must(integer == SMARTSUPP_NULL ||
             (integer >= -INTEGER_MAX && integer <= INTEGER_MAX));
    }
    for (i = 0; i < shape->text_count; i++) {
        const char *text = text_at(record, shape->texts[i]);

        must(!text || is_utf8(text, strlen(text)));
    }
}

/* Of the rows, or of the one record. */
static void compare_records(const void *a, const void *b, int rows,
                            const shape_t *shape)
{
    const char *one = a;
    const char *other = b;
    size_t i;

    for (; rows > 0; rows--, one += shape->size, other += shape->size) {
        for (i = 0; i < shape->integer_count; i++) {
            must(integer_at(one, shape->integers[i]) ==
                 integer_at(other, shape->integers[i]));
        }
        for (i = 0; i < shape->text_count; i++) {
            must(same_text(text_at(one, shape->texts[i]),
                           text_at(other, shape->texts[i])));
        }
    }
}

static void check_identity(const smartsupp_conversation_t *c)
{
    const char *id = c->channel_id;
    size_t length;
    size_t i;

    must(c->account_id >= 1 && c->account_id <= INTEGER_MAX);
    must(c->begin_at >= APR_INT64_C(946684800000));  /* the year 2000 */
    must(c->begin_at <= APR_INT64_C(4102444800000)); /* the year 2100 */
    must(id && *id);
    length = strlen(id);
    must(length <= 128 && id[0] != ' ' && id[length - 1] != ' ');
    for (i = 0; i < length; i++) {
        must((unsigned char)id[i] >= 0x20 && id[i] != 0x7f);
        must(id[i] != '\xc2' || (unsigned char)id[i + 1] >= 0xa0);
    }
}

static void check_message(const smartsupp_message_t *message)
{
    static const char *const kinds[] = {"agent", "visitor", "system", "other",
                                        "unknown"};

    check_record(message, &message_shape);
    must(message->sender_kind &&
         is_one_of(message->sender_kind, kinds, COUNT(kinds)));
    if (is_one_of(message->sender_kind, kinds + 2, 1) ||
        is_one_of(message->sender_kind, kinds + 4, 1)) {
        must(!message->sender_id);
    }
    else if (message->sender_id) {
        must(!strcmp(message->sender_kind, "other") || *message->sender_id);
    }
}

static void check_variable(const smartsupp_variable_t *variable)
{
    static const char *const types[] = {"string", "number", "boolean", "null"};
    static const char *const booleans[] = {"true", "false"};
    const char *value = variable->value;
    smartsupp_json_scan_t scan;

    check_record(variable, &variable_shape);
    must(variable->name && variable->value_type);
    must(is_one_of(variable->value_type, types, COUNT(types)));
    switch (*variable->value_type) {
    case 's':
        must(value);
        break;
    case 'b':
        must(value && is_one_of(value, booleans, COUNT(booleans)));
        break;
    case 'n':
        if (value) {
            must(!strcmp(variable->value_type, "number"));
            must(!smartsupp_json_scan(&scan, value, strlen(value), 1));
            must(strchr("-0123456789", *value));
        }
        break;
    }
}

static void check_conversation(const smartsupp_conversation_t *c,
                               const smartsupp_json_scan_t *scan)
{
    size_t n;
    int i;

    check_record(c, &conversation_shape);
    check_identity(c);
    must(c->generation == 1 || c->generation == 2);
    for (n = 0; n < COUNT(conversation_booleans); n++) {
        apr_int64_t boolean = integer_at(c, conversation_booleans[n]);

        must(boolean == SMARTSUPP_NULL || boolean == 0 || boolean == 1);
    }
    must(c->message_rows >= 0 && c->path_rows >= 0 && c->variable_rows >= 0);
    must((size_t)c->message_rows + (size_t)c->path_rows +
             (size_t)c->variable_rows <
         scan->values);
    for (i = 0; i < c->message_rows; i++) {
        check_message(&c->messages[i]);
    }
    for (i = 0; i < c->path_rows; i++) {
        check_record(&c->paths[i], &path_shape);
    }
    for (i = 0; i < c->variable_rows; i++) {
        check_variable(&c->variables[i]);
    }
}

static void compare_conversations(const smartsupp_conversation_t *a,
                                  const smartsupp_conversation_t *b)
{
    compare_records(a, b, 1, &conversation_shape);
    must(a->generation == b->generation);
    must(a->message_rows == b->message_rows);
    must(a->path_rows == b->path_rows);
    must(a->variable_rows == b->variable_rows);
    compare_records(a->messages, b->messages, a->message_rows, &message_shape);
    compare_records(a->paths, b->paths, a->path_rows, &path_shape);
    compare_records(a->variables, b->variables, a->variable_rows,
                    &variable_shape);
}

static void check_event(const smartsupp_event_t *event)
{
    must(event->account_id == SMARTSUPP_NULL ||
         (event->account_id >= 0 && event->account_id <= INTEGER_MAX));
    must(!event->event || is_utf8(event->event, strlen(event->event)));
    must(!event->timestamp ||
         is_utf8(event->timestamp, strlen(event->timestamp)));
}

/* RFC 6901, no longer than it may be. */
static void check_pointer(const char *pointer)
{
    const char *at;
    size_t length = strlen(pointer);

    must(length <= SMARTSUPP_PROBLEM_POINTER_MAX);
    must(is_utf8(pointer, length));
    must(!*pointer || *pointer == '/');
    for (at = pointer; (at = strchr(at, '~')); at++) {
        must(at[1] == '0' || at[1] == '1');
    }
}

/* JSON that was made of a text or a list: safe in HTML's <script>, too. */
static cJSON *read_back(const char *json, smartsupp_json_scan_t *scan)
{
    cJSON *tree;

    must(json);
    must(!smartsupp_json_scan(scan, json, strlen(json), MANY));
    must(!scan->unstorable && !strpbrk(json, "<>&\n"));
    must(!strstr(json, "\xe2\x80\xa8") && !strstr(json, "\xe2\x80\xa9"));
    tree = cJSON_Parse(json);
    must(tree);
    return tree;
}

static void check_json_string(const char *text, apr_pool_t *pool)
{
    smartsupp_json_scan_t scan;
    cJSON *tree = read_back(smartsupp_problem_json_string(text, pool), &scan);

    must(cJSON_IsString(tree) && !strcmp(tree->valuestring, text));
    cJSON_Delete(tree);
}

static void check_json_entry(const cJSON *entry,
                             const smartsupp_problem_t *problem)
{
    const cJSON *offset = cJSON_GetObjectItemCaseSensitive(entry, "offset");

    must(same_text(
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "code")),
        problem->code));
    must(same_text(cJSON_GetStringValue(
                       cJSON_GetObjectItemCaseSensitive(entry, "pointer")),
                   problem->pointer));
    must((problem->offset == SMARTSUPP_PROBLEM_NO_OFFSET) == !offset);
    must(!offset || offset->valuedouble == (double)problem->offset);
}

/* A list, as JSON and as the words of a log. */
static void check_problems(const smartsupp_problems_t *problems, size_t length,
                           apr_pool_t *pool)
{
    smartsupp_json_scan_t scan;
    const char *words = smartsupp_problems_text(problems, pool);
    cJSON *tree = read_back(smartsupp_problems_json(problems, pool), &scan);
    const smartsupp_problem_t *problem;
    int left = smartsupp_problems_count(problems);
    int i;

    for (i = 0; (problem = smartsupp_problems_get(problems, i)); i++, left--) {
        must(*problem->code);
        check_pointer(problem->pointer);
        must(problem->offset >= SMARTSUPP_PROBLEM_NO_OFFSET &&
             problem->offset <= (apr_int64_t)length);
        check_json_entry(cJSON_GetArrayItem(tree, i), problem);
    }
    must(left >= 0 && cJSON_GetArraySize(tree) == i + (left ? 1 : 0));
    cJSON_Delete(tree);

    must(is_utf8(words, strlen(words)));
    must(!strstr(words, "/visitor/variables/")); /* a site's own words */
    for (; *words; words++) {
        must((unsigned char)*words >= 0x20 && *words != 0x7f);
    }
}

static void check_success(const decoded_t *d, const smartsupp_json_scan_t *scan,
                          apr_pool_t *pool)
{
    const smartsupp_delivery_t *delivery = d->delivery;

    must(!smartsupp_problems_count(d->errors));
    must(!delivery->conversation != !delivery->event);
    must(delivery->warnings);
    check_problems(delivery->warnings, delivery->body_length, pool);
    if (delivery->event) {
        check_event(delivery->event);
        must(smartsupp_problems_count(delivery->warnings) ==
             (int)scan->unstorable);
        return;
    }
    check_conversation(delivery->conversation, scan);
    check_json_string(delivery->conversation->channel_id, pool);
    if (delivery->conversation->visitor_name) {
        check_json_string(delivery->conversation->visitor_name, pool);
    }
}

static void check_failure(const decoded_t *d, apr_pool_t *pool)
{
    must(smartsupp_problems_count(d->errors) > 0);
    must(!d->delivery->conversation && !d->delivery->event);
    must(!d->delivery->warnings);
    check_problems(d->errors, d->delivery->body_length, pool);
}

static void check_same(const decoded_t *a, const decoded_t *b, apr_pool_t *pool)
{
    must(a->status == b->status && a->requests == b->requests);
    must(!strcmp(smartsupp_problems_json(a->errors, pool),
                 smartsupp_problems_json(b->errors, pool)));
    if (a->status != APR_SUCCESS) {
        return;
    }
    must(!strcmp(smartsupp_problems_json(a->delivery->warnings, pool),
                 smartsupp_problems_json(b->delivery->warnings, pool)));
    must(!a->delivery->conversation == !b->delivery->conversation);
    if (a->delivery->conversation) {
        compare_conversations(a->delivery->conversation,
                              b->delivery->conversation);
    }
}

/* Without memory for a problem it is only counted; without memory for anything
 * else the body is not decoded. Never are there fewer rows or texts. */
static void check_short_memory(const decoded_t *whole, const decoded_t *d,
                               apr_pool_t *pool)
{
    if (d->status != APR_SUCCESS) {
        must(d->status == APR_ENOMEM || d->status == whole->status);
        must(!d->delivery->conversation && !d->delivery->event);
        must(!d->delivery->warnings);
        check_problems(d->errors, d->delivery->body_length, pool);
        return;
    }
    must(whole->status == APR_SUCCESS);
    must(smartsupp_problems_count(d->delivery->warnings) ==
         smartsupp_problems_count(whole->delivery->warnings));
    check_problems(d->delivery->warnings, d->delivery->body_length, pool);
    must(!d->delivery->event == !whole->delivery->event);
    if (d->delivery->conversation) {
        compare_conversations(d->delivery->conversation,
                              whole->delivery->conversation);
    }
}

/* Which request for memory is to fail: another one for another body. */
static int pick(const uint8_t *data, size_t size, int requests)
{
    unsigned int sum = 0;
    size_t i;

    for (i = 0; i < size; i++) {
        sum = sum * 31 + data[i];
    }
    return (int)(sum % (unsigned int)requests);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    smartsupp_json_scan_t scan;
    apr_status_t scanned;
    apr_pool_t *pool;
    decoded_t first;
    decoded_t second;

    apr_pool_create(&pool, fuzz_pool);
    scanned = smartsupp_json_scan(&scan, bytes, size, MANY);
    first = decode(bytes, size, pool, -1);
    must((first.status == SMARTSUPP_ESYNTAX) == (scanned != APR_SUCCESS));
    if (first.status == APR_SUCCESS) {
        check_success(&first, &scan, pool);
    }
    else {
        must(first.status == SMARTSUPP_ESYNTAX ||
             first.status == SMARTSUPP_ESTRUCTURE);
        check_failure(&first, pool);
    }
    second = decode(bytes, size, pool, -1);
    check_same(&first, &second, pool);
    done(&second);
    if (first.requests) {
        second = decode(bytes, size, pool, pick(data, size, first.requests));
        check_short_memory(&first, &second, pool);
        done(&second);
    }
    done(&first);
    apr_pool_destroy(pool);
    return 0;
}
