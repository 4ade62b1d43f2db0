/*
 * The third gate: what becomes of each field, and the warning with it. Numbers
 * such as "vector 34" are those of the list of 50 test vectors, as amended by
 * the rule that odd values are coerced or null, never refused.
 */
#include <locale.h>

#include "decoded.h"

static void test_texts(void)
{
    static const struct {
        const char *json;
        const char *text;
        const char *warnings;
    } vectors[] = {
        {"'a'", "a", ""},
        {"''", "", ""},
        {"null", NULL, ""},
        {"'\\u017elu\\u0165\\n'", "\xc5\xbelu\xc5\xa5\n", ""},
        {"'\\ud83d\\ude00'", "\xf0\x9f\x98\x80", ""}, /* vector 19 */
        {"7", "7", "coerced"},
        {"-0", "0", "coerced"},
        {"4.0", "4", "coerced"},
        {"-12e1", "-120", "coerced"},
        {"1.5", "1.5", "coerced"},
        {"0.1", "0.1", "coerced"},
        {"0.30000000000000004", "0.30000000000000004", "coerced"},
        {"-123456.789", "-123456.789", "coerced"},
        {"1e-7", "1e-07", "coerced"},
        {"2.5e-320", "2.49997216795671e-320", "coerced"},
        {"1e-400", "0", "coerced"},
        {"9007199254740991", "9007199254740991", "coerced"},
        {"-9007199254740991", "-9007199254740991", "coerced"},
        {"9007199254740992", NULL, "range"},
        {"-9007199254740993", NULL, "range"},
        {"1e300", NULL, "range"},
        {"1e400", NULL, "range"},
        {"-1e400", NULL, "range"},
        {"true", NULL, "type"},
        {"false", NULL, "type"},
        {"{}", NULL, "type"},
        {"['a']", NULL, "type"},
    };
    apr_size_t i;

    for (i = 0; i < COUNT(vectors); i++) {
        const char *json_text = vectors[i].json;
        const char *code = vectors[i].warnings;
        decoded_t d =
            decode(apr_psprintf(pool, VISITOR("'name':%s"), json_text));

        tap_is(d.delivery->conversation->visitor_name, vectors[i].text,
               apr_pstrcat(pool, "text: ", json_text, NULL));
        tap_is(list(d.delivery->warnings),
               *code ? apr_pstrcat(pool, code, " /visitor/name", NULL) : "",
               "... with its warning");
        done(&d);
    }
    warned(CHANNEL("'rating':null,'ratingDesc':null"), "",
           "vector 35: no rating");
    warned(VISITOR("'id':27671"), "", "a visitor's id is a number");
    warned(VISITOR("'id':'abc'"), "", "... or a text");
    warned(VISITOR("'id':1.5"), "coerced /visitor/id", "... no fraction");
    warned(VISITOR("'id':1e20"), "range /visitor/id", "... nor too great");
    warned(VISITOR("'id':[]"), "type /visitor/id", "... nor an array");
    warned(ROOT("'messages':[{" MESSAGE_FROM ",'type':1}]"),
           "coerced /messages/0/type", "a message's type is a text");
}

static void test_integers(void)
{
    static const struct {
        const char *json;
        apr_int64_t integer;
        const char *warnings;
    } vectors[] = {
        {"14", 14, ""},
        {"-14", -14, ""},
        {"0", 0, ""},
        {"-0.0", 0, ""},
        {"4e0", 4, ""},
        {"null", SMARTSUPP_NULL, ""},
        {"2147483648", APR_INT64_C(2147483648), ""},
        {"9007199254740991", APR_INT64_C(9007199254740991), ""},
        {"-9007199254740991", APR_INT64_C(-9007199254740991), ""},
        {"14.5", 14, "coerced"}, /* vector 36 */
        {"-14.5", -14, "coerced"},
        {"0.9", 0, "coerced"},
        {"1e-400", 0, ""},
        {"9007199254740992", SMARTSUPP_NULL, "range"},
        {"-9007199254740992", SMARTSUPP_NULL, "range"},
        {"9007199254740993", SMARTSUPP_NULL, "range"},
        {"1e400", SMARTSUPP_NULL, "range"},
        {"'14'", 14, "coerced"},
        {"'-14'", -14, "coerced"},
        {"'14.9'", 14, "coerced"},
        {"'1.4e1'", 14, "coerced"},
        {"'9007199254740991'", APR_INT64_C(9007199254740991), "coerced"},
        {"'9007199254740993'", SMARTSUPP_NULL, "range"},
        {"'1e400'", SMARTSUPP_NULL, "range"},
        {"''", SMARTSUPP_NULL, "type"},
        {"' 14'", SMARTSUPP_NULL, "type"},
        {"'14 '", SMARTSUPP_NULL, "type"},
        {"'014'", SMARTSUPP_NULL, "type"},
        {"'+14'", SMARTSUPP_NULL, "type"},
        {"'0x1f'", SMARTSUPP_NULL, "type"},
        {"'14s'", SMARTSUPP_NULL, "type"},
        {"'1,4'", SMARTSUPP_NULL, "type"},
        {"'true'", SMARTSUPP_NULL, "type"},
        {"'[1]'", SMARTSUPP_NULL, "type"},
        {"'\\'1\\''", SMARTSUPP_NULL, "type"},
        {"true", SMARTSUPP_NULL, "type"},
        {"{}", SMARTSUPP_NULL, "type"},
        {"[14]", SMARTSUPP_NULL, "type"},
    };
    apr_size_t i;

    for (i = 0; i < COUNT(vectors); i++) {
        const char *json_text = vectors[i].json;
        const char *code = vectors[i].warnings;
        decoded_t d =
            decode(apr_psprintf(pool, CHANNEL("'avgResponse':%s"), json_text));

        tap_is_int(d.delivery->conversation->avg_response, vectors[i].integer,
                   apr_pstrcat(pool, "integer: ", json_text, NULL));
        tap_is(list(d.delivery->warnings),
               *code ? apr_pstrcat(pool, code, " /channel/avgResponse", NULL)
                     : "",
               "... with its warning");
        done(&d);
    }
    warned(ROOT("'endAt':'x','messages':[{" MESSAGE_FROM ",'sentAt':1.5}]"),
           "type /endAt, coerced /messages/0/sentAt", "times are integers");
}

static void test_booleans(void)
{
    static const struct {
        const char *json;
        apr_int64_t boolean;
        const char *warnings;
    } vectors[] = {
        {"true", 1, ""},
        {"false", 0, ""},
        {"null", SMARTSUPP_NULL, ""},
        {"1", 1, "coerced"}, /* vector 34 */
        {"0", 0, "coerced"},
        {"-0.0", 0, "coerced"},
        {"'1'", 1, "coerced"},
        {"'0'", 0, "coerced"},
        {"'true'", 1, "coerced"},
        {"'false'", 0, "coerced"},
        {"2", SMARTSUPP_NULL, "type"},
        {"-1", SMARTSUPP_NULL, "type"},
        {"0.5", SMARTSUPP_NULL, "type"},
        {"1e400", SMARTSUPP_NULL, "type"},
        {"''", SMARTSUPP_NULL, "type"},
        {"'True'", SMARTSUPP_NULL, "type"},
        {"'yes'", SMARTSUPP_NULL, "type"},
        {"[]", SMARTSUPP_NULL, "type"},
        {"{}", SMARTSUPP_NULL, "type"},
    };
    apr_size_t i;

    for (i = 0; i < COUNT(vectors); i++) {
        const char *json_text = vectors[i].json;
        const char *code = vectors[i].warnings;
        decoded_t d =
            decode(apr_psprintf(pool, CHANNEL("'isChat':%s"), json_text));

        tap_is_int(d.delivery->conversation->is_chat, vectors[i].boolean,
                   apr_pstrcat(pool, "boolean: ", json_text, NULL));
        tap_is(list(d.delivery->warnings),
               *code ? apr_pstrcat(pool, code, " /channel/isChat", NULL) : "",
               "... with its warning");
        done(&d);
    }
}

static void test_variables(void)
{
    static const struct {
        const char *json;
        const char *row; /* label, value, type */
        const char *warnings;
    } vectors[] = {
        /* vector 39 */
        {"{'label':'L','value':208}", "'L' '208' number", ""},
        {"{'label':'L','value':'1234'}", "'L' '1234' string", ""},
        {"{'label':'L','value':true}", "'L' 'true' boolean", ""},
        {"{'label':'L','value':null}", "'L' NULL null", ""},
        {"{'label':'L','value':{}}", "'L' NULL null", "type %s/value"},

        {"{'label':'L','value':[1]}", "'L' NULL null", "type %s/value"},
        {"{'value':false,'label':'L'}", "'L' 'false' boolean", ""},
        {"{'label':'L','value':1.5}", "'L' '1.5' number", ""},
        {"{'label':'L','value':''}", "'L' '' string", ""},
        {"{'label':'L','value':9007199254740992}", "'L' NULL number",
         "range %s/value"},
        {"{'label':'L','value':1e400}", "'L' NULL number", "range %s/value"},
        {"{'label':'L'}", "'L' NULL null", ""},
        {"{}", "NULL NULL null", ""},
        {"{'label':7,'value':7}", "'7' '7' number", "coerced %s/label"},
        {"{'Label':'L','VALUE':7}", "NULL NULL null", ""},
        {"'bare'", "NULL 'bare' string", "coerced %s"},
        {"208", "NULL '208' number", "coerced %s"},
        {"true", "NULL 'true' boolean", "coerced %s"},
        {"null", "NULL NULL null", ""},
        {"['x']", "NULL NULL null", "type %s"},
    };
    decoded_t d;
    apr_size_t i;

    for (i = 0; i < COUNT(vectors); i++) {
        const char *json_text = vectors[i].json;
        const char *code = vectors[i].warnings;
        const char *to = strstr(code, "%s");
        const smartsupp_variable_t *v;

        d = decode(apr_psprintf(pool, VARIABLES("'k':%s"), json_text));
        v = d.delivery->conversation->variables;
        tap_is(apr_pstrcat(pool, quoted(v->label), " ", quoted(v->value), " ",
                           v->value_type, NULL),
               vectors[i].row,
               apr_pstrcat(pool, "variable: ", json_text, NULL));
        tap_is(list(d.delivery->warnings),
               to ? apr_pstrcat(
                        pool,
                        apr_pstrmemdup(pool, code, (apr_size_t)(to - code)),
                        "/visitor/variables/k", to + 2, NULL)
                  : "",
               "... with its warning");
        done(&d);
    }
    warned(VARIABLES("'a/b~c':{'label':[],'value':1}"),
           "type /visitor/variables/a~1b~0c/label",
           "vector 40: a name is escaped in the pointer");
    warned(VARIABLES("'':{'label':[]}"), "type /visitor/variables//label",
           "an empty name");

    d = decode(VARIABLES("'b':{'value':1},'a':{'value':2},'b':{'value':3}"));
    tap_is(strstr(dump(d.delivery->conversation), "\nvariable"),
           "\nvariable 'b' NULL '1' number\nvariable 'a' NULL '2' number"
           "\nvariable 'b' NULL '3' number",
           "names may repeat, and keep their order");
    done(&d);
}

static void test_senders(void)
{
    static const struct {
        const char *members;
        const char *sender; /* kind and id */
        const char *warnings;
        int generation;
    } vectors[] = {
        /* vector 41 */
        {"'from':3", "agent '3'", "", 1},
        {"'from':'agent:3'", "agent '3'", "", 2},
        {"'from':null", "system NULL", "", 1},
        {"'from':'system'", "system NULL", "", 2},
        {"'from':'abc','type':'visitor'", "visitor 'abc'", "", 1},
        {"'from':'visitor:abc','type':'visitor'", "visitor 'abc'", "", 2},
        /* vector 42 */
        {"'from':'agent:'", "agent NULL", "format", 2},
        {"'from':true", "unknown NULL", "type", 2},
        {"'type':'agent'", "unknown NULL", "missing", 2},

        {"'from':0", "agent '0'", "", 1},
        {"'from':'visitor:'", "visitor NULL", "format", 2},
        {"'from':'visitor:a:b'", "visitor 'a:b'", "", 2},
        {"'from':'agent:3','type':'visitor'", "agent '3'", "", 2},
        {"'from':'abc','type':'agent'", "other 'abc'", "sender", 1},
        {"'from':'abc'", "other 'abc'", "sender", 1},
        {"'from':'','type':'visitor'", "visitor NULL", "format", 1},
        {"'from':'','type':'agent'", "other ''", "sender", 1},
        {"'from':'bot:7'", "other 'bot:7'", "sender", 2},
        {"'from':'bot:7','type':'visitor'", "other 'bot:7'", "sender", 2},
        {"'from':'System'", "other 'System'", "sender", 1},
        {"'from':'Agent:3'", "other 'Agent:3'", "sender", 2},
        {"'from':-1", "other '-1'", "sender", 1},
        {"'from':1.5", "other '1.5'", "sender", 1},
        {"'from':9007199254740992", "unknown NULL", "range", 1},
        {"'from':{}", "unknown NULL", "type", 2},
        {"'from':['agent:3']", "unknown NULL", "type", 2},
    };
    apr_size_t i;

    for (i = 0; i < COUNT(vectors); i++) {
        const char *code = vectors[i].warnings;
        decoded_t d = decode(
            apr_psprintf(pool, ROOT("'messages':[{%s}]"), vectors[i].members));
        const smartsupp_conversation_t *c = d.delivery->conversation;

        tap_is(apr_pstrcat(pool, c->messages->sender_kind, " ",
                           quoted(c->messages->sender_id), NULL),
               vectors[i].sender,
               apr_pstrcat(pool, "sender: ", vectors[i].members, NULL));
        tap_is(list(d.delivery->warnings),
               *code ? apr_pstrcat(pool, code, " /messages/0/from", NULL) : "",
               "... with its warning");
        tap_is_int(c->generation, vectors[i].generation, "... generation");
        done(&d);
    }
}

static void test_generations(void)
{
    static const struct {
        const char *text;
        const char *group;
        const char *warnings;
        int generation;
        const char *name;
    } vectors[] = {
        {VISITOR("'group':null,'groupKey':'vip'"), "vip", "", 1,
         "vector 37: groupKey alone"},
        {VISITOR("'group':'a','groupKey':'b'"), "a",
         "conflict /visitor/groupKey", 1, "vector 37: both, and different"},
        {VISITOR("'groupKey':'b','group':'a'"), "a",
         "conflict /visitor/groupKey", 1, "... in the other order"},
        {VISITOR("'group':'a','groupKey':'a'"), "a", "", 1, "both the same"},
        {VISITOR("'group':'a','groupKey':null"), "a", "", 1,
         "groupKey null is a groupKey"},
        {VISITOR("'group':'a'"), "a", "", 2, "group alone"},
        {VISITOR("'group':'','groupKey':'b'"), "", "conflict /visitor/groupKey",
         1, "an empty group is one"},
        {MESSAGE(MESSAGE_FROM ",'email':null"), NULL, "", 1,
         "an email in a message"},
        {MESSAGE(MESSAGE_FROM), NULL, "", 2, "no email"},
        {ROOT("'messages':[{'from':3},{" MESSAGE_FROM "}]"), NULL, "", 1,
         "one message of generation 1"},
    };
    apr_size_t i;

    for (i = 0; i < COUNT(vectors); i++) {
        decoded_t d = decode(vectors[i].text);
        const smartsupp_conversation_t *c = d.delivery->conversation;

        tap_is(c->visitor_group, vectors[i].group, vectors[i].name);
        tap_is(list(d.delivery->warnings), vectors[i].warnings,
               "... with its warning");
        tap_is_int(c->generation, vectors[i].generation, "... generation");
        done(&d);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    if (!file || fputs(text, file) < 0 || fclose(file)) {
        abort();
    }
}

/* A locale whose decimal separator is a comma: that of the machine, else one
 * made of nothing but that. */
static int set_comma_locale(const char *folder)
{
    const char *source = apr_pstrcat(pool, folder, "/source", NULL);
    const char *charmap = apr_pstrcat(pool, folder, "/charmap", NULL);
    int status;

    if (setlocale(LC_NUMERIC, "de_DE.UTF-8")) {
        return 1;
    }
    write_file(source, "comment_char %\nescape_char /\nLC_NUMERIC\n"
                       "decimal_point \",\"\nthousands_sep \".\"\n"
                       "grouping 3;3\nEND LC_NUMERIC\n");
    write_file(charmap, "<code_set_name> ANSI_X3.4-1968\n<mb_cur_max> 1\n"
                        "CHARMAP\n<U0020>..<U007E> /x20\nEND CHARMAP\n");
    status = system(apr_psprintf(pool,
                                 "localedef -c -i %s -f %s %s/comma >%s/log "
                                 "2>&1",
                                 source, charmap, folder, folder));
    setenv("LOCPATH", folder, 1);
    (void)status; /* it is 1 for mere warnings: the categories left out */
    return setlocale(LC_NUMERIC, "comma") != NULL;
}

static void test_locale(void)
{
    char folder[] = "/tmp/smartsupp-locale-XXXXXX";
    char printed[16];
    decoded_t d;

    if (!mkdtemp(folder)) {
        abort();
    }
    tap_ok(set_comma_locale(folder), "a locale with a decimal comma is set");
    snprintf(printed, sizeof(printed), "%.1f", 1.5);
    tap_is(printed, "1,5", "... and works");

    d = decode("{" ACCOUNT "," BEGIN ",'channel':{'id':1,'duration':14.5,"
               "'wordsCount':'14.5'},'visitor':{'note':-0.001,'variables':"
               "{'a':{'value':1.5},'b':{'value':1.25e-9},'c':{'value':7}}}}");
    tap_is_int(d.delivery->conversation->duration, 14, "vector 47: integer");
    tap_is_int(d.delivery->conversation->words_count, 14,
               "vector 47: integer in a string");
    tap_is(d.delivery->conversation->visitor_note, "-0.001", "vector 47: text");
    tap_is(strstr(dump(d.delivery->conversation), "\nvariable"),
           "\nvariable 'a' NULL '1.5' number"
           "\nvariable 'b' NULL '1.25e-09' number"
           "\nvariable 'c' NULL '7' number",
           "vector 47: the values of variables");
    done(&d);
    setlocale(LC_NUMERIC, "C");
    if (system(apr_psprintf(pool, "rm -r %s", folder))) {
        printf("# cannot remove %s\n", folder);
    }
}

int main(void)
{
    begin();
    test_texts();
    test_integers();
    test_booleans();
    test_variables();
    test_senders();
    test_generations();
    test_locale();
    return end();
}
