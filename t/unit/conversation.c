/*
 * The decoder: what becomes of each field, what is refused, what is warned of.
 * Numbers such as "vector 26" are those of the list of 50 test vectors, as
 * amended by the rule that text is never cut and odd values never refused.
 *
 * JSON stands here with ' for ", and problems as "code pointer, ...".
 */
#include <dlfcn.h>
#include <locale.h>
#include <stdlib.h>
#include <unistd.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include <cjson/cJSON.h>

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

static const char *t_folder;
static apr_pool_t *pool;
static apr_allocator_t *allocator;

/*
 * Memory that runs out. The program's own malloc stands before that of libc,
 * for libcjson and libapr too, and lets the one fail whose turn it is. Where
 * something else has taken malloc (valgrind; a sanitizer that is linked in),
 * only that of cJSON can be made to fail.
 */
static int mallocs;
static int mallocs_until_failure = -1; /* -1: never */

static int malloc_fails(void)
{
    mallocs++;
    return mallocs_until_failure >= 0 && !mallocs_until_failure--;
}

static void *malloc_of_cjson(size_t size)
{
    return malloc_fails() ? NULL : malloc(size);
}

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||     \
    __has_feature(memory_sanitizer)
#define MALLOC_IS_TAKEN
#endif
#endif

#ifndef MALLOC_IS_TAKEN
void *malloc(size_t size)
{
    static void *(*next)(size_t);

    if (!next) {
        *(void **)&next = dlsym(RTLD_NEXT, "malloc");
    }
    return malloc_fails() ? NULL : next(size);
}
#endif

static int malloc_is_ours(void)
{
    void *(*volatile call)(size_t) = malloc; /* so that it is not left out */
    int before = mallocs;

    free(call(1));
    return mallocs > before;
}

typedef struct decoded_t {
    char *body;
    smartsupp_delivery_t *delivery;
    smartsupp_problems_t *errors;
    apr_status_t status;
} decoded_t;

/* Decode a body with not a byte to spare behind it. */
static decoded_t decode_bytes(const char *bytes, apr_size_t length)
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

static char *json(const char *text)
{
    char *copy = apr_pstrdup(pool, text);
    char *at;

    for (at = copy; (at = strchr(at, '\'')); at++) {
        *at = '"';
    }
    return copy;
}

static decoded_t decode(const char *text)
{
    return decode_bytes(json(text), strlen(text));
}

static void done(const decoded_t *d)
{
    smartsupp_delivery_release(d->delivery);
    free(d->body);
}

static const char *list(const smartsupp_problems_t *problems)
{
    const char *text = "";
    const smartsupp_problem_t *problem;
    int i;

    for (i = 0; problems && (problem = smartsupp_problems_get(problems, i));
         i++) {
        text = apr_pstrcat(pool, text, i ? ", " : "", problem->code,
                           problem->pointer[0] ? " " : "", problem->pointer,
                           NULL);
        if (problem->offset != SMARTSUPP_PROBLEM_NO_OFFSET) {
            text = apr_psprintf(pool, "%s @%" APR_INT64_T_FMT, text,
                                problem->offset);
        }
    }
    return text;
}

/* The body fails, with that status and these errors. */
static void refused(const char *text, apr_status_t status, const char *errors,
                    const char *name)
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
static void warned(const char *text, const char *warnings, const char *name)
{
    decoded_t d = decode(text);

    tap_is(d.status ? list(d.errors) : list(d.delivery->warnings), warnings,
           name);
    done(&d);
}

static const char *integer_text(apr_int64_t integer)
{
    return integer == SMARTSUPP_NULL
               ? "NULL"
               : apr_psprintf(pool, "%" APR_INT64_T_FMT, integer);
}

static const char *quoted(const char *text)
{
    return text ? apr_psprintf(pool, "'%s'", text) : "NULL";
}

/* All of a conversation but its generation. */
static const char *dump(const smartsupp_conversation_t *c)
{
    const apr_int64_t integers[] = {
        c->account_id,   c->begin_at,     c->end_at,         c->is_chat,
        c->is_missed,    c->is_triggered, c->is_offline,     c->is_completed,
        c->is_dropped,   c->duration,     c->avg_response,   c->first_response,
        c->messages_count, c->words_count, c->rating};
    const char *const texts[] = {
        c->channel_id,       c->rating_desc,  c->visitor_id,
        c->visitor_name,     c->visitor_email, c->visitor_note,
        c->visitor_group,    c->visitor_ip_address, c->visitor_city,
        c->visitor_country_code, c->visitor_country, c->visitor_user_agent,
        c->visitor_platform, c->visitor_referer};
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

        text = apr_pstrcat(pool, text, "\nmessage ", quoted(m->type), " ",
                           quoted(m->name), " ", quoted(m->sender_kind), " ",
                           quoted(m->sender_id), " ", quoted(m->content), " ",
                           integer_text(m->sent_at), " ",
                           quoted(m->triggered_by), " ", quoted(m->email),
                           NULL);
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

static const char sample_dump[] =
    "208 1427470439703 1427470476687 1 0 1 0 1 0 36 14 14 5 11 5\n"
    "'55039' '' '27671' 'Dusan Kmet' 'dusan@domain.com' 'VIP customer' NULL"
    " '89.235.0.55' 'Czech Republic' 'CZ' 'Brno'"
    " 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_8_5) AppleWebKit/537.36"
    " (KHTML, like Gecko) Chrome/41.0.2272.89 Safari/537.36' 'MacIntel' ''\n"
    "message 'visitor' NULL 'visitor'"
    " 'mxTiqn9adr2h39kmzAJ0FeaTGFJhmjio0R41491503012015' 'Hello'"
    " 1427470439703 NULL NULL\n"
    "message 'system' 'John Doe' 'agent' '3' 'agent.join' 1427470446219 NULL"
    " NULL\n"
    "message 'agent' '' 'system' NULL 'This is triggered message'"
    " 1427470449706 'Test Trigger' NULL\n"
    "message 'agent' 'John Doe' 'agent' '3' 'Hi, how can i help you ?'"
    " 1427470453772 NULL NULL\n"
    "message 'visitor' 'Dusan Kmet' 'visitor'"
    " 'mxTiqn9adr2h39kmzAJ0FeaTGFJhmjio0R41491503012015' 'tanks.'"
    " 1427470473124 NULL NULL\n"
    "message 'system' 'Dusan Kmet' 'system' NULL 'close.visitorClose'"
    " 1427470476687 NULL NULL\n"
    "path 'http://developers.smartsupp.com/smartsupp/hook-post'"
    " 'POST Hook \xc2\xb7 Smartsupp'\n"
    "path 'http://developers.smartsupp.com' 'API \xc2\xb7 Smartsupp'\n"
    "variable 'chatId' 'Chat ID' '208' number\n"
    "variable 'chatPackage' 'Chat Package' 'pro' string\n"
    "variable 'userId' 'User ID' '1234' string";

static char *read_data(const char *name)
{
    const char *path = apr_pstrcat(pool, t_folder, "/data/", name, NULL);
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

/* The text without white space outside strings. */
static char *compact(const char *text)
{
    char *copy = apr_pstrdup(pool, text);
    char *to = copy;
    int within = 0;

    for (; *text; text++) {
        within ^= *text == '"';
        if (within || !strchr(" \n", *text)) {
            *to++ = *text;
        }
    }
    *to = '\0';
    return copy;
}

static void sample_is_decoded(const char *text, int generation,
                              const char *name)
{
    decoded_t d = decode_bytes(text, strlen(text));

    tap_is_int(d.status, APR_SUCCESS, name);
    if (d.delivery->conversation) {
        tap_is(dump(d.delivery->conversation), sample_dump, "... each field");
        tap_is_int(d.delivery->conversation->generation, generation,
                   "... its generation");
        tap_is(list(d.delivery->warnings), "", "... no warning");
        tap_ok(!d.delivery->event, "... no event");
    }
    done(&d);
}

static void test_samples(void)
{
    const char *sample = read_data("conversation.json");
    char *old = read_data("conversation-generation-1.json");
    char *group_key;

    sample_is_decoded(sample, 2, "vector 1: the published sample");
    sample_is_decoded(compact(sample), 2, "vector 2: the same, compact");
    sample_is_decoded(old, 1, "vector 3: the sample of generation 1");

    group_key = strstr(old, "\"groupKey\": null");
    memset(group_key, ' ', strlen("\"groupKey\": null"));
    {
        decoded_t d = decode_bytes(old, strlen(old));

        tap_is_int(d.status, SMARTSUPP_ESYNTAX,
                   "vector 4: as it was printed, with a comma too many");
        tap_is(smartsupp_problems_get(d.errors, 0)->code, "json_syntax",
               "... is no JSON");
        done(&d);
    }
}

static void test_syntax(void)
{
    refused("", SMARTSUPP_ESYNTAX, "json_empty @0", "vector 5: empty");
    refused("{'1':1,", SMARTSUPP_ESYNTAX, "json_eof @7",
            "vector 49: exact-size buffer");
    refused("{}x", SMARTSUPP_ESYNTAX, "json_trailing @2", "no JSON: 400");
    refused("[\xe9]", SMARTSUPP_ESYNTAX, "json_syntax @1",
            "syntax goes before structure");
}

static void test_identity(void)
{
    static const struct {
        const char *text;
        const char *errors;
        const char *name;
    } vectors[] = {
        {"[{" MINIMAL "}]", "type", "vector 25: array as root"},
        {"'x'", "type", "vector 25: string as root"},
        {"null", "type", "vector 25: null as root"},
        {"7", "type", "number as root"},
        {"{}", "missing /accountId, missing /beginAt, missing /channel",
         "an empty object: all that is missing, but nothing below it"},
        {"{" BEGIN ",'channel':{'id':1}}", "missing /accountId",
         "vector 26: no accountId"},
        {"{'AccountId':208," BEGIN ",'channel':{'id':1}}",
         "missing /accountId", "vector 27: another case is another key"},
        {"{'accountId':0," BEGIN ",'channel':{'id':1}}", "range /accountId",
         "vector 28: accountId 0"},
        {"{'accountId':-1," BEGIN ",'channel':{'id':1}}", "range /accountId",
         "vector 28: accountId -1"},
        {"{'accountId':1.5," BEGIN ",'channel':{'id':1}}", "range /accountId",
         "vector 28: accountId 1.5"},
        {"{'accountId':9007199254740992," BEGIN ",'channel':{'id':1}}",
         "range /accountId", "vector 28: accountId 2^53"},
        {"{'accountId':1e400," BEGIN ",'channel':{'id':1}}",
         "range /accountId", "vector 28: accountId 1e400"},
        {"{'accountId':'208'," BEGIN ",'channel':{'id':1}}",
         "type /accountId", "vector 29: accountId as a string"},
        {"{'accountId':null," BEGIN ",'channel':{'id':1}}",
         "missing /accountId", "accountId null"},
        {"{'accountId':true," BEGIN ",'channel':{'id':1}}", "type /accountId",
         "accountId true"},
        {"{" ACCOUNT ",'beginAt':1427470439,'channel':{'id':1}}",
         "range /beginAt", "vector 31: beginAt in seconds"},
        {"{" ACCOUNT ",'beginAt':946684799999,'channel':{'id':1}}",
         "range /beginAt", "beginAt before 2000"},
        {"{" ACCOUNT ",'beginAt':4102444800001,'channel':{'id':1}}",
         "range /beginAt", "beginAt after 2099"},
        {"{" ACCOUNT ",'beginAt':1427470439703.5,'channel':{'id':1}}",
         "range /beginAt", "beginAt with a fraction"},
        {"{" ACCOUNT ",'beginAt':'2015-03-27T15:33:59Z','channel':{'id':1}}",
         "type /beginAt", "beginAt as a date"},
        {"{" ACCOUNT ",'beginAt':null,'channel':{'id':1}}",
         "missing /beginAt", "beginAt null"},
        {"{" ACCOUNT "," BEGIN ",'channel':null}", "missing /channel",
         "channel null"},
        {"{" ACCOUNT "," BEGIN ",'channel':[]}", "type /channel",
         "channel an array"},
        {"{" ACCOUNT "," BEGIN ",'channel':55039}", "type /channel",
         "channel a number"},
        {"{" ACCOUNT "," BEGIN ",'channel':{}}", "missing /channel/id",
         "channel without id"},
        {CHANNEL_ID("null"), "missing /channel/id", "channel.id null"},
        {CHANNEL_ID("-1"), "range /channel/id", "channel.id -1"},
        {CHANNEL_ID("1.5"), "range /channel/id", "channel.id 1.5"},
        {CHANNEL_ID("9007199254740992"), "range /channel/id",
         "channel.id 2^53"},
        {CHANNEL_ID("true"), "type /channel/id", "channel.id true"},
        {CHANNEL_ID("['a']"), "type /channel/id", "channel.id an array"},
        {CHANNEL_ID("''"), "format /channel/id", "channel.id empty"},
        {CHANNEL_ID("' a'"), "format /channel/id", "channel.id after a space"},
        {CHANNEL_ID("'a '"), "format /channel/id", "channel.id and a space"},
        {CHANNEL_ID("' '"), "format /channel/id", "channel.id a space"},
        {CHANNEL_ID("'a\\nb'"), "format /channel/id", "channel.id with C0"},
        {CHANNEL_ID("'a\x7f'"), "format /channel/id", "channel.id with DEL"},
        {CHANNEL_ID("'a\\u0080'"), "format /channel/id",
         "channel.id with the first C1"},
        {CHANNEL_ID("'\\u009fb'"), "format /channel/id",
         "channel.id with the last C1"},
        {ROOT("'visitor':'x'"), "type /visitor", "visitor a string"},
        {ROOT("'visitor':''"), "type /visitor", "visitor an empty string"},
        {ROOT("'visitor':[1]"), "type /visitor", "visitor an array"},
        {ROOT("'visitor':false"), "type /visitor", "visitor false"},
        {ROOT("'messages':[1]"), "type /messages/0",
         "vector 44: message a number"},
        {ROOT("'messages':[{" MESSAGE_FROM "},null,[]]"),
         "type /messages/1, type /messages/2", "messages null and []"},
        {ROOT("'messages':{'0':{}}"), "type /messages", "messages an object"},
        {ROOT("'messages':'x'"), "type /messages", "messages a string"},
        {ROOT("'messages':0"), "type /messages", "messages a number"},
        {ROOT("'paths':[{},'x']"), "type /paths/1", "path a string"},
        {ROOT("'paths':true"), "type /paths", "paths true"},
        {"{'accountId':'x','beginAt':5,'channel':{'id':''},'visitor':1,"
         "'paths':[0],'messages':[[]]}",
         "type /accountId, range /beginAt, format /channel/id, type /visitor,"
         " type /paths/0, type /messages/0",
         "one error does not hide another"},
    };
    apr_size_t i;

    for (i = 0; i < COUNT(vectors); i++) {
        refused(vectors[i].text, SMARTSUPP_ESTRUCTURE, vectors[i].errors,
                vectors[i].name);
    }
}

static void test_duplicates(void)
{
    refused("{" ACCOUNT "," BEGIN ",'channel':{'id':1,'\\u0069d':2}}",
            SMARTSUPP_ESTRUCTURE, "duplicate /channel/id",
            "vector 33: the same key, once escaped");
    refused(ROOT("'accountId':208,'endAt':1,'endAt':1"), SMARTSUPP_ESTRUCTURE,
            "duplicate /accountId, duplicate /endAt", "twice in the root");
    refused(VISITOR("'name':'a','id':1,'name':'a'"), SMARTSUPP_ESTRUCTURE,
            "duplicate /visitor/name", "twice in the visitor");
    refused(ROOT("'messages':[{" MESSAGE_FROM "},{" MESSAGE_FROM
                 ",'content':'a','content':null}]"),
            SMARTSUPP_ESTRUCTURE, "duplicate /messages/1/content",
            "twice in a message");
    refused(ROOT("'paths':[{'url':'a','url':'b'}]"), SMARTSUPP_ESTRUCTURE,
            "duplicate /paths/0/url", "twice in a path");
    refused(VARIABLES("'a/b~c':{'value':1,'value':2}"), SMARTSUPP_ESTRUCTURE,
            "duplicate /visitor/variables/a~1b~0c/value",
            "twice in a variable, its name escaped");
    warned(ROOT("'x':1,'x':2,'visitor':{'x':1,'x':2}"), "",
           "unknown keys may repeat");
    warned(ROOT("'ACCOUNTID':1,'endat':1"), "",
           "a known key in another case is unknown");
}

static void test_many_errors(void)
{
    apr_array_header_t *parts = apr_array_make(pool, 99, sizeof(char *));
    const smartsupp_problem_t *last;
    decoded_t d;
    int i;

    for (i = 0; i < 40; i++) {
        APR_ARRAY_PUSH(parts, const char *) = i ? ",0" : "0";
    }
    d = decode(apr_psprintf(pool, "{" MINIMAL ",'paths':[%s]}",
                            apr_array_pstrcat(pool, parts, 0)));
    tap_is_int(d.status, SMARTSUPP_ESTRUCTURE, "40 errors");
    tap_is_int(smartsupp_problems_count(d.errors), 40, "... are counted");
    last = smartsupp_problems_get(d.errors, 15);
    tap_is(last ? last->pointer : NULL, "/paths/15", "... 16 are kept");
    tap_ok(!smartsupp_problems_get(d.errors, 16), "... and no more");
    done(&d);
}

/* The decoded conversation's channel id. */
static void channel_is(const char *text, const char *channel_id,
                       const char *name)
{
    decoded_t d = decode(text);

    tap_is(d.status ? list(d.errors) : d.delivery->conversation->channel_id,
           channel_id, name);
    done(&d);
}

static void test_key(void)
{
    char *long_id = apr_palloc(pool, 131);
    decoded_t d = decode("{" MINIMAL "}");

    tap_is_int(d.status, APR_SUCCESS, "the key alone is a conversation");
    tap_is(dump(d.delivery->conversation),
           "208 1427470439703 NULL NULL NULL NULL NULL NULL NULL NULL NULL"
           " NULL NULL NULL NULL\n"
           "'55039' NULL NULL NULL NULL NULL NULL NULL NULL NULL NULL NULL"
           " NULL NULL",
           "vector 30: beginAt is exact, all that is absent is NULL");
    tap_is_int(d.delivery->conversation->generation, 2, "... generation 2");
    tap_is(list(d.delivery->warnings), "", "... and no warning");
    done(&d);

    channel_is(CHANNEL_ID("55039"), "55039", "vector 32: a number");
    channel_is(CHANNEL_ID("'55039'"), "55039", "vector 32: the same as text");
    channel_is(CHANNEL_ID("'A'"), "A", "vector 32: upper case stays");
    channel_is(CHANNEL_ID("0"), "0", "channel 0");
    channel_is(CHANNEL_ID("-0.0"), "0", "channel -0.0");
    channel_is(CHANNEL_ID("4e0"), "4", "channel 4e0");
    channel_is(CHANNEL_ID("9007199254740991"), "9007199254740991",
               "channel 2^53-1");
    channel_is(CHANNEL_ID("'a b\\u00a0'"), "a b\xc2\xa0",
               "space within, U+00A0 is no control");
    memset(long_id, 'x', 130);
    memcpy(long_id + 126, "\xc3\xa9'", 4);
    long_id[0] = '\'';
    channel_is(apr_psprintf(pool, CHANNEL_ID("%s"), long_id + 1 - 1),
               apr_pstrmemdup(pool, long_id + 1, 127), "127 bytes");
    memset(long_id, 'x', 130);
    memcpy(long_id + 127, "\xc3\xa9'", 4);
    long_id[0] = '\'';
    channel_is(apr_psprintf(pool, CHANNEL_ID("%s"), long_id),
               apr_pstrmemdup(pool, long_id + 1, 128), "128 bytes");
    memset(long_id, 'x', 130);
    memcpy(long_id + 127, "xx\xc3\xa9'" + 2, 4);
    long_id[0] = '\'';
    refused(apr_psprintf(pool, CHANNEL_ID("'x%s"), long_id + 1),
            SMARTSUPP_ESTRUCTURE, "format /channel/id", "129 bytes");

    channel_is("{'accountId':9007199254740991,'beginAt':946684800000,"
               "'channel':{'id':1}}",
               "1", "the greatest account, the first moment");
    channel_is("{'accountId':1,'beginAt':4102444800000,'channel':{'id':1}}",
               "1", "the least account, the last moment");
}
