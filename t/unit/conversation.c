/*
 * The decoder: what is decoded, what is refused and why. Numbers such as
 * "vector 26" are those of the list of 50 test vectors, as amended by the rule
 * that text is never cut and odd values never refused.
 */
#include "decoded.h"
#include "smartsupp_json_memory.h"
#include "smartsupp_version.h"

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
        {"{'AccountId':208," BEGIN ",'channel':{'id':1}}", "missing /accountId",
         "vector 27: another case is another key"},
        {"{'accountId':0," BEGIN ",'channel':{'id':1}}", "range /accountId",
         "vector 28: accountId 0"},
        {"{'accountId':-1," BEGIN ",'channel':{'id':1}}", "range /accountId",
         "vector 28: accountId -1"},
        {"{'accountId':1.5," BEGIN ",'channel':{'id':1}}", "range /accountId",
         "vector 28: accountId 1.5"},
        {"{'accountId':9007199254740992," BEGIN ",'channel':{'id':1}}",
         "range /accountId", "vector 28: accountId 2^53"},
        {"{'accountId':1e400," BEGIN ",'channel':{'id':1}}", "range /accountId",
         "vector 28: accountId 1e400"},
        {"{'accountId':'208'," BEGIN ",'channel':{'id':1}}", "type /accountId",
         "vector 29: accountId as a string"},
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
        {"{" ACCOUNT ",'beginAt':null,'channel':{'id':1}}", "missing /beginAt",
         "beginAt null"},
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
    decoded_t d = decode(
        apr_psprintf(pool, "{" MINIMAL ",'paths':[0%s]}", repeat(",0", 39)));
    const smartsupp_problem_t *last;

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
    const char *id = repeat("x", 126);
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
    channel_is(apr_psprintf(pool, CHANNEL_ID("'%s\xc3\xa9'"), id),
               apr_pstrcat(pool, id, "\xc3\xa9", NULL), "128 bytes");
    refused(apr_psprintf(pool, CHANNEL_ID("'x%s\xc3\xa9'"), id),
            SMARTSUPP_ESTRUCTURE, "format /channel/id", "129 bytes");
    channel_is("{'accountId':9007199254740991,'beginAt':946684800000,"
               "'channel':{'id':1}}",
               "1", "the greatest account, the first moment");
    channel_is("{'accountId':1,'beginAt':4102444800000,'channel':{'id':1}}",
               "1", "the least account, the last moment");
}

static void test_empty(void)
{
    static const struct {
        const char *text;
        const char *warnings;
        const char *name;
    } vectors[] = {
        {ROOT("'visitor':null,'paths':null,'messages':null"), "", "null"},
        {ROOT("'visitor':{},'paths':[],'messages':[]"), "", "empty"},
        {ROOT("'visitor':[],'paths':{},'messages':{}"), "",
         "empty in PHP's way, or against it"},
        {VISITOR("'variables':null"), "", "vector 38: variables null"},
        {VISITOR("'variables':[]"), "", "vector 38: variables []"},
        {VISITOR("'variables':{}"), "", "vector 38: variables {}"},
        {VISITOR("'variables':[1]"), "type /visitor/variables",
         "vector 38: variables [1]"},
        {VISITOR("'variables':''"), "type /visitor/variables",
         "variables a string"},
        {VISITOR("'variables':7"), "type /visitor/variables",
         "variables a number"},
    };
    apr_size_t i;

    for (i = 0; i < COUNT(vectors); i++) {
        decoded_t d = decode(vectors[i].text);
        const smartsupp_conversation_t *c = d.delivery->conversation;

        tap_is(d.status ? list(d.errors) : list(d.delivery->warnings),
               vectors[i].warnings, vectors[i].name);
        tap_ok(c && !c->message_rows && !c->path_rows && !c->variable_rows,
               "... no rows");
        done(&d);
    }
}

static void test_key_order(void)
{
    const char *forward = VISITOR("'id':1,'name':'n','email':'e','note':'o',"
                                  "'group':'g','platform':'p','referer':'r'");
    const char *backward =
        "{'visitor':{'referer':'r','platform':'p','group':'g','note':'o',"
        "'email':'e','name':'n','id':1},'channel':{'id':55039}," BEGIN
        "," ACCOUNT "}";
    decoded_t a = decode(forward);
    decoded_t b = decode(backward);

    tap_is(dump(b.delivery->conversation), dump(a.delivery->conversation),
           "members in any order");
    done(&a);
    done(&b);
}

/* The content of the first message. */
static void content_is(const char *content_json, const char *content,
                       const char *warnings, const char *name)
{
    decoded_t d = decode(apr_psprintf(
        pool, MESSAGE(MESSAGE_FROM ",'content':'%s'"), content_json));

    tap_is(d.delivery->conversation->messages->content, content, name);
    tap_is(list(d.delivery->warnings), warnings, "... with its warning");
    done(&d);
}

static void test_unstorable(void)
{
    const int from = (int)strlen(MESSAGE(MESSAGE_FROM ",'content':'")) - 3;
    decoded_t d;

    content_is("a\\u0000b",
               "a\xef\xbf\xbd"
               "b",
               apr_psprintf(pool, "json_nul @%d", from + 1),
               "vector 16: U+0000 is replaced");
    content_is("\\ud83d", "\xef\xbf\xbd",
               apr_psprintf(pool, "json_surrogate @%d", from),
               "vector 18: so is half an emoji");
    content_is("\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd",
               apr_psprintf(pool, "json_surrogate @%d, json_surrogate @%d",
                            from, from + 6),
               "vector 18: so are swapped halves");
    content_is("\\ud83d\\ude00", "\xf0\x9f\x98\x80", "",
               "vector 19: a whole one is not");

    refused("{" ACCOUNT "," BEGIN ",'channel':{'id\\u0000x':1}}",
            SMARTSUPP_ESTRUCTURE, "missing /channel/id",
            "vector 17: id U+0000 x is not id");
    d = decode("{" ACCOUNT "," BEGIN ",'channel':{'id\\u0000x':1,'id':2}}");
    tap_is(d.delivery->conversation->channel_id, "2",
           "vector 17: nor a second one");
    tap_ok(strstr(apr_pstrmemdup(pool, d.body, d.delivery->body_length),
                  "\"id\\u0000x\"") != NULL,
           "the body itself stays as it was");
    done(&d);
}

static void test_limits(void)
{
    const char *deep = repeat("[", 31);
    const char *emoji =
        apr_pstrcat(pool, repeat("t", 2045), "\xf0\x9f\x98\x80", NULL);
    decoded_t d;

    warned(apr_psprintf(pool, ROOT("'unknown':%s%s"), deep, repeat("]", 31)),
           "", "vector 22: depth 32 in an unknown member");
    refused(apr_psprintf(pool, ROOT("'unknown':[%s%s]"), deep, repeat("]", 31)),
            SMARTSUPP_ESYNTAX,
            apr_psprintf(pool, "json_depth @%d",
                         (int)strlen(ROOT("'unknown':")) - 1 + 31),
            "vector 22: depth 33");

    warned(apr_psprintf(pool, ROOT("'unknown':[0%s]"), repeat(",0", 65529)), "",
           "vector 23: 65,536 values");

    d = decode(apr_psprintf(pool, ROOT("'messages':[{" MESSAGE_FROM "}%s]"),
                            repeat(",{" MESSAGE_FROM "}", 5000)));
    tap_is_int(d.delivery->conversation->message_rows, 5001,
               "vector 44: there is no limit of 5,000 messages");
    tap_is(d.delivery->conversation->messages[5000].sender_kind, "system",
           "... the last one is there");
    done(&d);

    content_is(repeat("c", 65535), repeat("c", 65535), "",
               "vector 45: a content of 65,535 bytes");
    content_is(repeat("c", 65536), repeat("c", 65536), "",
               "vector 45: one of 65,536 is not cut");
    d = decode(apr_psprintf(pool, ROOT("'paths':[{'title':'%s'}]"), emoji));
    tap_is(d.delivery->conversation->paths->title, emoji,
           "vector 45: nor a long title");
    done(&d);
    warned(MESSAGE(MESSAGE_FROM), "", "vector 43: a message without name");

    d = decode(
        apr_psprintf(pool, ROOT("'messages':[{}%s]"), repeat(",{}", 149)));
    tap_is_int(smartsupp_problems_count(d.delivery->warnings), 150,
               "150 warnings are counted");
    tap_ok(smartsupp_problems_get(d.delivery->warnings, 99) &&
               !smartsupp_problems_get(d.delivery->warnings, 100),
           "... 100 are kept");
    done(&d);

    d = decode(apr_psprintf(pool, VARIABLES("'%s\xc3\xa9':{'label':[]}"),
                            repeat("n", 236)));
    tap_is(smartsupp_problems_get(d.delivery->warnings, 0)->pointer,
           apr_pstrcat(pool, "/visitor/variables/", repeat("n", 236), NULL),
           "a long name is cut between characters in the pointer");
    done(&d);
    d = decode(apr_psprintf(pool, VARIABLES("'%s':{'label':[]},'n%s':[]"),
                            repeat("~", 300), repeat("~", 300)));
    tap_is(smartsupp_problems_get(d.delivery->warnings, 0)->pointer,
           apr_pstrcat(pool, "/visitor/variables/", repeat("~0", 118), NULL),
           "... and between escapes");
    tap_is(smartsupp_problems_get(d.delivery->warnings, 1)->pointer,
           apr_pstrcat(pool, "/visitor/variables/n", repeat("~0", 118), NULL),
           "... wherever they fall");
    done(&d);
    d = decode(apr_psprintf(pool, VARIABLES("'%s':{'label':[]}"),
                            repeat("n", 100000)));
    tap_is(smartsupp_problems_get(d.delivery->warnings, 0)->pointer,
           apr_pstrcat(pool, "/visitor/variables/", repeat("n", 237), NULL),
           "... a very long one, too");
    tap_is_int((long long)strlen(d.delivery->conversation->variables->name),
               100000, "... but not as a name");
    done(&d);
}

static void event_is(const char *text, const char *expected, const char *name)
{
    decoded_t d = decode(text);
    const smartsupp_event_t *e = d.delivery->event;

    tap_is(e ? apr_pstrcat(pool, integer_text(e->account_id), " ",
                           quoted(e->event), " ", quoted(e->timestamp), NULL)
             : NULL,
           expected, name);
    tap_ok(!d.delivery->conversation && d.delivery->warnings &&
               !smartsupp_problems_count(d.delivery->warnings),
           "... no conversation, no warning");
    done(&d);
}

static void test_events(void)
{
    event_is(read_data("rest-event.json"),
             "881987 'conversation.closed' '2020-08-08T07:53:18.825Z'",
             "the envelope of a REST webhook");
    event_is("{'type':'event_callback'}", "NULL NULL NULL",
             "an event with nothing in it");
    event_is("{'type':'event_callback','account_id':208,'event':7,"
             "'timestamp':null}",
             "208 NULL NULL", "a number as account, others no strings");
    event_is("{'account_id':'9007199254740991','type':'event_callback'}",
             "9007199254740991 NULL NULL", "the greatest account");
    event_is("{'account_id':'9007199254740992','type':'event_callback'}",
             "NULL NULL NULL", "an account too great");
    event_is("{'account_id':'99999999999999999999','type':'event_callback'}",
             "NULL NULL NULL", "one far too great");
    event_is("{'account_id':1.5,'type':'event_callback'}", "NULL NULL NULL",
             "a fraction as account");
    event_is("{'account_id':-1,'type':'event_callback'}", "NULL NULL NULL",
             "a negative account");
    event_is("{'account_id':'-1','type':'event_callback'}", "NULL NULL NULL",
             "a negative text");
    event_is("{'account_id':'','type':'event_callback'}", "NULL NULL NULL",
             "no digit");
    event_is("{'account_id':' 1','type':'event_callback'}", "NULL NULL NULL",
             "not only digits");
    event_is("{'type':'event_callback'," MINIMAL "}", "NULL NULL NULL",
             "an event that looks like a conversation");
    warned("{'type':'Event_callback'," MINIMAL "}", "", "another type");
    warned("{'type':['event_callback']," MINIMAL "}", "", "no string");
    refused("[{'type':'event_callback'}]", SMARTSUPP_ESTRUCTURE, "type",
            "an event in an array");
    refused("{'data':{'type':'event_callback'}}", SMARTSUPP_ESTRUCTURE,
            "missing /accountId, missing /beginAt, missing /channel",
            "an event further down");
}

static void test_versions(void)
{
    /* from the oldest to the newest */
    static const smartsupp_version_t versions[] = {
        {SMARTSUPP_NULL, 9, 9, "f"},
        {-5, 0, 0, "0"},
        {0, 0, 0, "0"},
        {1, 0, 9, "f"},
        {1, 1, 0, "f"},
        {1, 1, 1, "0"},
        {1, 1, 1, "00"},
        {1, 1, 1, "a"},
        {1, 2, 0, "0"},
        {APR_INT64_C(9007199254740991), 0, 0, "0"},
    };
    int wrong = 0;
    apr_size_t a;
    apr_size_t b;

    for (a = 0; a < COUNT(versions); a++) {
        for (b = 0; b < COUNT(versions); b++) {
            int order = smartsupp_version_compare(&versions[a], &versions[b]);

            wrong += (order > 0) - (order < 0) != (a > b) - (a < b);
        }
    }
    tap_is_int(wrong, 0, "versions: end, messages, received, hash; all pairs");
}

static void test_all(void)
{
    test_samples();
    test_syntax();
    test_identity();
    test_duplicates();
    test_many_errors();
    test_key();
    test_empty();
    test_key_order();
    test_unstorable();
    test_limits();
    test_events();
}

int main(void)
{
    begin();
    test_all();
    /* and as it is in httpd's children */
    smartsupp_json_memory_install();
    test_all();
    test_versions();
    return end();
}
