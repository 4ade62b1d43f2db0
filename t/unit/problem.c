/*
 * The list of problems: what it keeps, and the JSON that it becomes.
 */
#include <stdlib.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "smartsupp_problem.h"

#include "tap.h"

static apr_pool_t *pool;

static void test_list(void)
{
    smartsupp_problems_t *problems = smartsupp_problems_make(2, pool);
    char pointer[] = "/a";
    const smartsupp_problem_t *problem;

    tap_is_int(smartsupp_problems_count(problems), 0, "a new list is empty");
    tap_ok(!smartsupp_problems_get(problems, 0), "... and holds nothing");
    tap_is(smartsupp_problems_json(problems, pool), "[]", "... not even JSON");

    smartsupp_problems_add(problems, "missing", pointer,
                           SMARTSUPP_PROBLEM_NO_OFFSET);
    pointer[1] = 'x';
    smartsupp_problems_add(problems, "json_eof", "", 0);
    problem = smartsupp_problems_get(problems, 0);
    tap_is(problem->code, "missing", "the first code");
    tap_is(problem->pointer, "/a", "... its pointer, a copy");
    tap_is_int(problem->offset, -1, "... and no offset");
    problem = smartsupp_problems_get(problems, 1);
    tap_is(problem->code, "json_eof", "the second code");
    tap_is_int(problem->offset, 0, "... at the first byte");
    tap_ok(!smartsupp_problems_get(problems, 2), "nothing past the last");
    tap_ok(!smartsupp_problems_get(problems, -1), "nothing before the first");
    tap_is(smartsupp_problems_json(problems, pool),
           "[{\"code\":\"missing\",\"pointer\":\"/a\"},"
           "{\"code\":\"json_eof\",\"pointer\":\"\",\"offset\":0}]",
           "as JSON, an offset only where there is one");

    smartsupp_problems_add(problems, "type", "/b", 5);
    smartsupp_problems_add(problems, "type", "/c", 6);
    tap_is_int(smartsupp_problems_count(problems), 4, "a full list counts on");
    tap_ok(!smartsupp_problems_get(problems, 2), "... and keeps no more");
    tap_is(smartsupp_problems_json(problems, pool),
           "[{\"code\":\"missing\",\"pointer\":\"/a\"},"
           "{\"code\":\"json_eof\",\"pointer\":\"\",\"offset\":0},"
           "{\"code\":\"more\",\"count\":2}]",
           "... and its JSON says how many");

    problems = smartsupp_problems_make(0, pool);
    smartsupp_problems_add(problems, "type", "/b", 5);
    tap_is(smartsupp_problems_json(problems, pool),
           "[{\"code\":\"more\",\"count\":1}]", "a list that keeps none");
}

/* The pointer that is kept of head followed by count times tail. */
static const char *kept(const char *head, int count, const char *tail)
{
    smartsupp_problems_t *problems = smartsupp_problems_make(1, pool);
    const char *pointer = head;

    while (count--) {
        pointer = apr_pstrcat(pool, pointer, tail, NULL);
    }
    smartsupp_problems_add(problems, "type", pointer, 0);
    return smartsupp_problems_get(problems, 0)->pointer;
}

static void test_long_pointers(void)
{
    const char *pointer;

    pointer = kept("/", 255, "a");
    tap_is_int((long long)strlen(pointer), 256, "256 bytes are kept");
    pointer = kept("/", 256, "a");
    tap_is_int((long long)strlen(pointer), 256, "257 are cut to 256");
    pointer = kept("/", 2000, "a");
    tap_is_int((long long)strlen(pointer), 256, "2,001 are cut to 256");
    pointer = kept("/", 128, "\xc3\xa9");
    tap_is_int((long long)strlen(pointer), 255, "never within two bytes");
    tap_is(pointer + 253, "\xc3\xa9", "... the last character is whole");
    pointer = kept("/", 64, "\xf0\x9f\x98\x80");
    tap_is_int((long long)strlen(pointer), 253, "never within four bytes");
    pointer = kept("", 64, "\xf0\x9f\x98\x80");
    tap_is_int((long long)strlen(pointer), 256, "four bytes that just fit");
    pointer = kept("/", 128, "~1");
    tap_is_int((long long)strlen(pointer), 255, "never within ~1");
    tap_is(pointer + 253, "~1", "... the last escape is whole");
}

static void test_json_string(void)
{
    static const struct {
        const char *text;
        const char *json;
        const char *name;
    } vectors[] = {
        {"", "\"\"", "nothing"},
        {"abc /:~'", "\"abc /:~'\"", "plain text"},
        {"a\"b\\c", "\"a\\\"b\\\\c\"", "quote and backslash"},
        {"\\\"", "\"\\\\\\\"\"", "backslash and quote at the ends"},
        {"\x01\n\t\x1f", "\"\\u0001\\u000a\\u0009\\u001f\"", "controls"},
        {"a\x7f", "\"a\\u007f\"", "DEL"},
        {"</script>&", "\"\\u003c/script\\u003e\\u0026\"", "HTML"},
        {"\xe2\x80\xa8x\xe2\x80\xa9", "\"\\u2028x\\u2029\"",
         "the two line separators"},
        {"\xe2\x80\xa7\xe2\x82\xac", "\"\xe2\x80\xa7\xe2\x82\xac\"",
         "their neighbours stay"},
        {"\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\"",
         "other UTF-8 stays"},
        {"\xe2", "\"\xe2\"", "a character cut short is not read past"},
        {"\xe2\x80", "\"\xe2\x80\"", "... nor here"},
    };
    apr_size_t i;

    for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char *text = strdup(vectors[i].text); /* not a byte to spare */

        tap_is(smartsupp_problem_json_string(text, pool), vectors[i].json,
               vectors[i].name);
        free(text);
    }
}

static void test_json_pointer(void)
{
    smartsupp_problems_t *problems = smartsupp_problems_make(1, pool);

    smartsupp_problems_add(problems, "type", "/visitor/variables/\"<\n", -1);
    tap_is(smartsupp_problems_json(problems, pool),
           "[{\"code\":\"type\","
           "\"pointer\":\"/visitor/variables/\\\"\\u003c\\u000a\"}]",
           "a pointer is escaped");
}

int main(void)
{
    apr_initialize();
    atexit(apr_terminate);
    apr_pool_create(&pool, NULL);

    test_list();
    test_long_pointers();
    test_json_string();
    test_json_pointer();
    return tap_done();
}
