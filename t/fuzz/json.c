/*
 * The scanner on any bytes: what it accepts is what the grammar of RFC 8259
 * has and cJSON parses, its counts are right, and what it refuses was right up
 * to the offset that it gives.
 */
#include "fuzz.h"

#include <cjson/cJSON.h>

#include "smartsupp_json.h"

#define MANY 65536

/* A second opinion: the grammar as RFC 8259 prints it, each rule a function,
 * which takes what it matches and says whether it did. */
typedef struct text_t {
    const char *at;
    const char *end;
    size_t values;
    size_t longest_number; /* in bytes */
} text_t;

static int one_of(text_t *text, const char *set)
{
    if (text->at == text->end || !*text->at || !strchr(set, *text->at)) {
        return 0;
    }
    text->at++;
    return 1;
}

static void space(text_t *text)
{
    while (one_of(text, " \t\n\r")) {
    }
}

static int digits(text_t *text)
{
    int count = 0;

    while (one_of(text, "0123456789")) {
        count++;
    }
    return count;
}

static int number(text_t *text)
{
    const char *start = text->at;

    one_of(text, "-");
    if (!one_of(text, "0") && !digits(text)) {
        return 0;
    }
    if (one_of(text, ".") && !digits(text)) {
        return 0;
    }
    if (one_of(text, "eE")) {
        one_of(text, "+-");
        if (!digits(text)) {
            return 0;
        }
    }
    if ((size_t)(text->at - start) > text->longest_number) {
        text->longest_number = (size_t)(text->at - start);
    }
    return 1;
}

static int escape(text_t *text)
{
    int i;

    if (!one_of(text, "u")) {
        return one_of(text, "\"\\/bfnrt");
    }
    for (i = 0; i < 4; i++) {
        if (!one_of(text, "0123456789abcdefABCDEF")) {
            return 0;
        }
    }
    return 1;
}

static int string(text_t *text)
{
    if (!one_of(text, "\"")) {
        return 0;
    }
    while (!one_of(text, "\"")) {
        size_t length;

        if (one_of(text, "\\")) {
            if (!escape(text)) {
                return 0;
            }
            continue;
        }
        if (text->at == text->end || (unsigned char)*text->at < 0x20) {
            return 0;
        }
        length = utf8_character(text->at, text->end);
        if (!length) {
            return 0;
        }
        text->at += length;
    }
    return 1;
}

static int literal(text_t *text, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(text->end - text->at) < length ||
        memcmp(text->at, word, length) != 0) {
        return 0;
    }
    text->at += length;
    return 1;
}

static int value(text_t *text, int depth);

static int name(text_t *text)
{
    space(text);
    if (!string(text)) {
        return 0;
    }
    space(text);
    return one_of(text, ":");
}

/* An array or object; `at` is on its bracket. */
static int members(text_t *text, int depth)
{
    int object = *text->at++ == '{';
    const char *close = object ? "}" : "]";

    space(text);
    if (one_of(text, close)) {
        return 1;
    }
    do {
        if ((object && !name(text)) || !value(text, depth)) {
            return 0;
        }
    } while (one_of(text, ","));
    return one_of(text, close);
}

/* A value that is that deep in others, with the white space around it. */
static int value(text_t *text, int depth)
{
    int matches;

    space(text);
    if (text->at == text->end) {
        return 0;
    }
    text->values++;
    switch (*text->at) {
    case '{':
    case '[':
        matches = depth < SMARTSUPP_JSON_DEPTH_MAX && members(text, depth + 1);
        break;
    case '"':
        matches = string(text);
        break;
    case 't':
        matches = literal(text, "true");
        break;
    case 'f':
        matches = literal(text, "false");
        break;
    case 'n':
        matches = literal(text, "null");
        break;
    default:
        matches = number(text);
    }
    space(text);
    return matches;
}

static apr_status_t scan_copy(smartsupp_json_scan_t *scan, const char *text,
                              size_t length, size_t max_values)
{
    char *copy = exact_copy(text, length);
    apr_status_t status = smartsupp_json_scan(scan, copy, length, max_values);

    free(copy);
    return status;
}

static int is_code(const char *code)
{
    static const char *const codes[] = {
        "json_empty",  "json_bom",     "json_syntax", "json_eof",
        "json_number", "json_control", "json_escape", "json_trailing",
        "json_utf8",   "json_depth",   "json_values"};
    size_t i;

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (!strcmp(code, codes[i])) {
            return 1;
        }
    }
    return 0;
}

static size_t count_values(const cJSON *tree)
{
    const cJSON *member;
    size_t count = 1;

    cJSON_ArrayForEach(member, tree)
    {
        count += count_values(member);
    }
    return count;
}

/* Whatever ends before its time is not refused for another reason: not the
 * bytes before a wrong one, nor the first half of a right text. */
static void check_prefix(const char *text, size_t length)
{
    smartsupp_json_scan_t scan;

    if (scan_copy(&scan, text, length, MANY) != APR_SUCCESS) {
        must(!strcmp(scan.code, "json_eof") ||
             !strcmp(scan.code, "json_empty"));
        must(scan.offset == length);
    }
}

static void check_limit(const char *text, size_t length, size_t values)
{
    smartsupp_json_scan_t scan;

    must(scan_copy(&scan, text, length, values) == APR_SUCCESS);
    must(scan.values == values);
    must(scan_copy(&scan, text, length, values - 1) == APR_EINVAL);
    must(!strcmp(scan.code, "json_values"));
    must(scan.offset < length && scan.values == values - 1);
}

/* Each warning is for an escape that no database can store, and nothing but
 * its digits is other than before. */
static void check_replaced(const char *before, const char *after, size_t length,
                           const smartsupp_problems_t *warnings)
{
    char *expected = exact_copy(before, length);
    const smartsupp_problem_t *warning;
    int i;

    for (i = 0; (warning = smartsupp_problems_get(warnings, i)); i++) {
        char unit[5] = "";
        unsigned long point;

        must(warning->offset >= 0 && (size_t)warning->offset + 6 <= length);
        must(!memcmp(before + warning->offset, "\\u", 2));
        memcpy(unit, before + warning->offset + 2, 4);
        point = strtoul(unit, NULL, 16);
        must(strcmp(warning->code, "json_nul") == 0
                 ? point == 0
                 : point >= 0xd800 && point <= 0xdfff);
        memcpy(expected + warning->offset + 2, "fffd", 4);
    }
    must(!memcmp(expected, after, length));
    free(expected);
}

/* The longest number that cJSON before 1.7.19 parses, in bytes. */
#define CJSON_NUMBER_MAX 63

/* cJSON parses it, whole, and what it prints of it is accepted again. */
static void check_tree(const char *text, size_t length, size_t values)
{
    const char *end;
    cJSON *tree = cJSON_ParseWithLengthOpts(text, length, &end, 0);
    smartsupp_json_scan_t scan;
    text_t rest = {.end = text + length};
    char *printed;

    must(tree);
    rest.at = end;
    space(&rest);
    must(rest.at == rest.end);
    must(count_values(tree) == values);
    printed = cJSON_PrintUnformatted(tree);
    must(printed);
    must(scan_copy(&scan, printed, strlen(printed), values) == APR_SUCCESS);
    must(scan.values == values && !scan.unstorable);
    cJSON_free(printed);
    cJSON_Delete(tree);
}

static void check_accepted(const char *text, size_t length,
                           const smartsupp_json_scan_t *scan,
                           size_t longest_number)
{
    char *copy = exact_copy(text, length);
    smartsupp_json_scan_t again;
    smartsupp_problems_t *warnings;
    apr_pool_t *pool;

    must(scan->values >= 1 && scan->values <= length);
    must(scan->unstorable <= length / 6);
    check_limit(text, length, scan->values);
    check_prefix(text, length / 2);

    apr_pool_create(&pool, fuzz_pool);
    warnings = smartsupp_problems_make((int)scan->unstorable, pool);
    smartsupp_json_replace_unstorable(copy, length, warnings);
    must((size_t)smartsupp_problems_count(warnings) == scan->unstorable);
    check_replaced(text, copy, length, warnings);
    must(scan_copy(&again, copy, length, MANY) == APR_SUCCESS);
    must(again.values == scan->values && !again.unstorable);
    if (longest_number <= CJSON_NUMBER_MAX) {
        check_tree(copy, length, scan->values);
    }
    apr_pool_destroy(pool);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    text_t text = {.at = bytes, .end = bytes + size};
    smartsupp_json_scan_t scan;
    apr_status_t status;
    int is_json;

    if (size > MANY) {
        return 0; /* so that no text has too many values */
    }
    status = scan_copy(&scan, bytes, size, MANY);
    is_json = value(&text, 0) && text.at == text.end;
    must((status == APR_SUCCESS) == is_json);
    if (status == APR_SUCCESS) {
        must(!scan.code && scan.values == text.values);
        check_accepted(bytes, size, &scan, text.longest_number);
        return 0;
    }
    must(status == APR_EINVAL);
    must(scan.code && is_code(scan.code));
    must(scan.offset <= size);
    must((scan.offset == size) ==
         (!strcmp(scan.code, "json_eof") || !strcmp(scan.code, "json_empty")));
    check_prefix(bytes, scan.offset);
    return 0;
}
