/*
 * What the tests of the decoder share. JSON stands in them with ' for ", and
 * problems as "code pointer, ...".
 */
#ifndef SMARTSUPP_DECODED_H
#define SMARTSUPP_DECODED_H

#include <stdlib.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <apr_thread_mutex.h>

#include "smartsupp_conversation.h"

#include "tap.h"

#define MANY 65536

#define ACCOUNT "'accountId':208"
#define BEGIN "'beginAt':1427470439703"
#define MINIMAL ACCOUNT "," BEGIN ",'channel':{'id':55039}"
#define ROOT(members) "{" MINIMAL "," members "}"
#define CHANNEL(members)                                                       \
    "{" ACCOUNT "," BEGIN ",'channel':{'id':55039," members "}}"
#define CHANNEL_ID(id) "{" ACCOUNT "," BEGIN ",'channel':{'id':" id "}}"
#define VISITOR(members) ROOT("'visitor':{" members "}")
#define VARIABLES(members) VISITOR("'variables':{" members "}")
#define MESSAGE(members) ROOT("'messages':[{" members "}]")
#define MESSAGE_FROM "'from':'system'"

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

static apr_pool_t *pool;
static apr_allocator_t *allocator;

/* For main: what every test needs, and its end. */
static inline void begin(void)
{
    apr_thread_mutex_t *mutex;

    apr_initialize();
    atexit(apr_terminate);
    apr_pool_create(&pool, NULL);
    apr_allocator_create(&allocator);
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    apr_allocator_mutex_set(allocator, mutex);
}

static inline int end(void)
{
    apr_allocator_mutex_set(allocator, NULL);
    apr_allocator_destroy(allocator);
    return tap_done();
}

typedef struct decoded_t {
    char *body;
    smartsupp_delivery_t *delivery;
    smartsupp_problems_t *errors;
    apr_status_t status;
} decoded_t;

/* Decode a body with not a byte to spare behind it. */
static inline decoded_t decode_bytes(const char *bytes, apr_size_t length)
{
    decoded_t d = {.errors = smartsupp_problems_make(16, pool)};

    d.body = malloc(length ? length : 1);
    if (!d.body || smartsupp_delivery_create(&d.delivery, allocator)) {
        abort();
    }
    memcpy(d.body, bytes, length);
    d.delivery->body = d.body;
    d.delivery->body_length = length;
    d.status = smartsupp_conversation_decode(d.delivery, d.errors, MANY);
    return d;
}

static inline char *json(const char *text)
{
    char *copy = apr_pstrdup(pool, text);
    char *at;

    for (at = copy; (at = strchr(at, '\'')); at++) {
        *at = '"';
    }
    return copy;
}

static inline decoded_t decode(const char *text)
{
    return decode_bytes(json(text), strlen(text));
}

static inline void done(const decoded_t *d)
{
    smartsupp_delivery_release(d->delivery);
    free(d->body);
}

static inline char *repeat(const char *unit, int count)
{
    apr_array_header_t *parts =
        apr_array_make(pool, count, sizeof(const char *));

    while (count--) {
        APR_ARRAY_PUSH(parts, const char *) = unit;
    }
    return apr_array_pstrcat(pool, parts, 0);
}

static inline const char *list(const smartsupp_problems_t *problems)
{
    const char *text = "";
    const smartsupp_problem_t *problem;
    int i;

    for (i = 0; problems && (problem = smartsupp_problems_get(problems, i));
         i++) {
        text =
            apr_pstrcat(pool, text, i ? ", " : "", problem->code,
                        problem->pointer[0] ? " " : "", problem->pointer, NULL);
        if (problem->offset != SMARTSUPP_PROBLEM_NO_OFFSET) {
            text = apr_psprintf(pool, "%s @%" APR_INT64_T_FMT, text,
                                problem->offset);
        }
    }
    return text;
}

/* The body fails, with that status and these errors. */
static inline void refused(const char *text, apr_status_t status,
                           const char *errors, const char *name)
{
    decoded_t d = decode(text);

    tap_is_int(d.status, status, name);
    tap_is(list(d.errors), errors, "... saying what and where");
    tap_ok(!d.delivery->conversation && !d.delivery->event &&
               !d.delivery->warnings,
           "... and nothing is set");
    done(&d);
}

/* The body is decoded, with these warnings. */
static inline void warned(const char *text, const char *warnings,
                          const char *name)
{
    decoded_t d = decode(text);

    tap_is(d.status ? list(d.errors) : list(d.delivery->warnings), warnings,
           name);
    done(&d);
}

static inline const char *integer_text(apr_int64_t integer)
{
    return integer == SMARTSUPP_NULL
               ? "NULL"
               : apr_psprintf(pool, "%" APR_INT64_T_FMT, integer);
}

static inline const char *quoted(const char *text)
{
    return text ? apr_psprintf(pool, "'%s'", text) : "NULL";
}

/* All of a conversation but its generation. */
static inline const char *dump(const smartsupp_conversation_t *c)
{
    const apr_int64_t integers[] = {
        c->account_id,     c->begin_at,     c->end_at,       c->is_chat,
        c->is_missed,      c->is_triggered, c->is_offline,   c->is_completed,
        c->is_dropped,     c->duration,     c->avg_response, c->first_response,
        c->messages_count, c->words_count,  c->rating};
    const char *const texts[] = {
        c->channel_id,           c->rating_desc,        c->visitor_id,
        c->visitor_name,         c->visitor_email,      c->visitor_note,
        c->visitor_group,        c->visitor_ip_address, c->visitor_city,
        c->visitor_country_code, c->visitor_country,    c->visitor_user_agent,
        c->visitor_platform,     c->visitor_referer};
    const char *text = "";
    apr_size_t n;
    int i;

    for (n = 0; n < COUNT(integers); n++) {
        text = apr_pstrcat(pool, text, n ? " " : "", integer_text(integers[n]),
                           NULL);
    }
    for (n = 0; n < COUNT(texts); n++) {
        text = apr_pstrcat(pool, text, n ? " " : "\n", quoted(texts[n]), NULL);
    }
    for (i = 0; i < c->message_rows; i++) {
        const smartsupp_message_t *m = &c->messages[i];

        text = apr_pstrcat(
            pool, text, "\nmessage ", quoted(m->type), " ", quoted(m->name),
            " ", quoted(m->sender_kind), " ", quoted(m->sender_id), " ",
            quoted(m->content), " ", integer_text(m->sent_at), " ",
            quoted(m->triggered_by), " ", quoted(m->email), NULL);
    }
    for (i = 0; i < c->path_rows; i++) {
        text = apr_pstrcat(pool, text, "\npath ", quoted(c->paths[i].url), " ",
                           quoted(c->paths[i].title), NULL);
    }
    for (i = 0; i < c->variable_rows; i++) {
        const smartsupp_variable_t *v = &c->variables[i];

        text = apr_pstrcat(pool, text, "\nvariable ", quoted(v->name), " ",
                           quoted(v->label), " ", quoted(v->value), " ",
                           v->value_type, NULL);
    }
    return text;
}

static inline char *read_data(const char *name)
{
    const char *t = getenv("SMARTSUPP_T");
    const char *path = apr_pstrcat(pool, t ? t : "t", "/data/", name, NULL);
    apr_file_t *file;
    apr_finfo_t info;
    char *bytes;

    if (apr_file_open(&file, path, APR_READ, APR_OS_DEFAULT, pool) ||
        apr_file_info_get(&info, APR_FINFO_SIZE, file)) {
        printf("Bail out! cannot open %s\n", path);
        exit(1);
    }
    bytes = apr_pcalloc(pool, (apr_size_t)info.size + 1);
    if (apr_file_read_full(file, bytes, (apr_size_t)info.size, NULL)) {
        printf("Bail out! cannot read %s\n", path);
        exit(1);
    }
    apr_file_close(file);
    return bytes;
}

#endif
