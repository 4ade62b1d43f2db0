/*
 * The scanner, and the replacement of what no database can store. Numbers
 * such as "vector 5" are those of the list of 50 test vectors.
 *
 * The corpus: corpus/json/accept holds a file for each thing that RFC 8259
 * allows, corpus/json/reject one for each thing it does not; the latter's
 * names begin with the code and the offset that the scanner must give.
 */
#include <stdlib.h>

#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "smartsupp_json.h"

#include "tap.h"

#define MANY 1000000

static apr_pool_t *pool;

/* Scan a copy with not a byte to spare, so that a sanitizer or valgrind sees
 * any read past its end. */
static smartsupp_json_scan_t scan_bytes(const char *bytes, apr_size_t length,
                                        apr_size_t max_values)
{
    char *copy = malloc(length ? length : 1);
    smartsupp_json_scan_t scan;
    apr_status_t status;

    if (!copy) {
        abort();
    }
    memcpy(copy, bytes, length);
    status = smartsupp_json_scan(&scan, copy, length, max_values);
    free(copy);
    if ((status == APR_SUCCESS) != (scan.code == NULL) ||
        (status != APR_SUCCESS && status != APR_EINVAL)) {
        printf("Bail out! status and code do not agree\n");
        exit(1);
    }
    return scan;
}

static smartsupp_json_scan_t scan_text(const char *text)
{
    return scan_bytes(text, strlen(text), MANY);
}

/* "ok", or code and offset. */
static const char *outcome(const smartsupp_json_scan_t *scan)
{
    return scan->code ? apr_psprintf(pool, "%s @%" APR_SIZE_T_FMT, scan->code,
                                     scan->offset)
                      : "ok";
}

static void test_vectors(void)
{
    static const struct {
        const char *text;
        apr_size_t length;
        const char *expected;
        const char *name;
    } vectors[] = {
#define TEXT(text) text, sizeof(text) - 1
        {TEXT(""), "json_empty @0", "vector 5: no byte at all"},
        {TEXT("  "), "json_empty @2", "vector 5: two spaces"},
        {TEXT("\xef\xbb\xbf{}"), "json_bom @0", "vector 6: BOM"},
        {TEXT("{}x"), "json_trailing @2", "vector 7: a letter after the end"},
        {TEXT("{}\0"), "json_trailing @2", "vector 7: a NUL after the end"},
        {TEXT("nullx"), "json_trailing @4", "vector 8: a letter after null"},
        {TEXT("{\"a\":1"), "json_eof @6", "vector 9: no closing brace"},
        {TEXT("{\"a\":1,}"), "json_syntax @7", "vector 10: trailing comma"},
        {TEXT("{\"a\":01}"), "json_number @6", "vector 11: leading zero"},
        {TEXT("{\"a\":1.}"), "json_number @7", "vector 11: no fraction"},
        {TEXT("{\"a\":-}"), "json_number @6", "vector 11: minus only"},
        {TEXT("[NaN]"), "json_syntax @1", "vector 12: NaN"},
        {TEXT("{'a':1}"), "json_syntax @1", "vector 12: single quotes"},
        {TEXT("[\"\n\"]"), "json_control @2", "vector 13: raw line feed"},
        {TEXT("[\"\0\"]"), "json_control @2", "vector 14: raw NUL in string"},
        {TEXT("[\0]"), "json_syntax @1", "vector 14: NUL as white space"},
        {TEXT("[\f]"), "json_syntax @1", "vector 14: form feed as space"},
        {TEXT("\"\\uZZZZ\""), "json_escape @3", "vector 15: not hexadecimal"},
        {TEXT("\"\xed\xa0\x80\""), "json_utf8 @1", "vector 20: surrogate"},
        {TEXT("\"\xc0\x80\""), "json_utf8 @1", "vector 20: overlong"},
        {TEXT("\"\xe9\""), "json_utf8 @1", "vector 20: Latin-1"},
        {TEXT("\"\xf4\x90\x80\x80\""), "json_utf8 @1", "vector 20: U+110000"},
        {TEXT("\xff\xfe{\0}\0"), "json_syntax @0", "vector 21: UTF-16"},
        {TEXT("{\"1\":1,"), "json_eof @7", "vector 49: cut after a comma"},
#undef TEXT
    };
    apr_size_t i;

    for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        smartsupp_json_scan_t scan =
            scan_bytes(vectors[i].text, vectors[i].length, MANY);

        tap_is(outcome(&scan), vectors[i].expected, vectors[i].name);
    }
}

static void test_unstorable(void)
{
    static const struct {
        const char *text;
        apr_size_t unstorable;
        const char *replaced;
        const char *warnings;
        const char *name;
    } vectors[] = {
        {"[\"a\\u0000b\"]", 1, "[\"a\\ufffdb\"]", "json_nul @3",
         "vector 16: U+0000 in a value"},
        {"{\"id\\u0000x\":1}", 1, "{\"id\\ufffdx\":1}", "json_nul @4",
         "vector 17: U+0000 in a key"},
        {"[\"\\ud83d\"]", 1, "[\"\\ufffd\"]", "json_surrogate @2",
         "vector 18: lone high surrogate"},
        {"[\"\\ude00\"]", 1, "[\"\\ufffd\"]", "json_surrogate @2",
         "vector 18: lone low surrogate"},
        {"[\"\\uDE00\\uD83D\"]", 2, "[\"\\ufffd\\ufffd\"]",
         "json_surrogate @2, json_surrogate @8", "vector 18: swapped pair"},
        {"[\"\\ud83d\\uDE00\"]", 0, "[\"\\ud83d\\uDE00\"]", "",
         "vector 19: a pair stays"},
        {"[\"\\ud83d\\ud83d\\ude00\"]", 1, "[\"\\ufffd\\ud83d\\ude00\"]",
         "json_surrogate @2", "a pair after a lone high surrogate stays"},
        {"[\"\\ud83d\\n\\ude00\"]", 2, "[\"\\ufffd\\n\\ufffd\"]",
         "json_surrogate @2, json_surrogate @10", "an escape between halves"},
        {"[\"\\ud83d\\u0000\"]", 2, "[\"\\ufffd\\ufffd\"]",
         "json_surrogate @2, json_nul @8", "U+0000 after a high surrogate"},
        {"[\"\\ud83dude00\"]", 1, "[\"\\ufffdude00\"]", "json_surrogate @2",
         "hexadecimal digits that are no escape"},
        {"[\"\\ud83d\",\"\\ude00\"]", 2, "[\"\\ufffd\",\"\\ufffd\"]",
         "json_surrogate @2, json_surrogate @11", "halves in two strings"},
        {"[\"\\\\u0000\\\\\",\"\\\\\\u0000\"]", 1,
         "[\"\\\\u0000\\\\\",\"\\\\\\ufffd\"]", "json_nul @16",
         "an escaped backslash before u0000 is no escape"},
        {"[\"\\ufffd\\u0001\\ud7ff\\ue000\"]", 0,
         "[\"\\ufffd\\u0001\\ud7ff\\ue000\"]", "",
         "the neighbours of what is replaced stay"},
        {"[\"\\ud800\\udc00\\udbff\\udfff\"]", 0,
         "[\"\\ud800\\udc00\\udbff\\udfff\"]", "", "the outermost pairs stay"},
        {"{}", 0, "{}", "", "no string at all"},
    };
    apr_size_t i;

    for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        smartsupp_problems_t *warnings = smartsupp_problems_make(9, pool);
        smartsupp_json_scan_t scan = scan_text(vectors[i].text);
        apr_size_t length = strlen(vectors[i].text);
        char *copy = malloc(length);
        const char *got = "";
        const smartsupp_problem_t *warning;
        int n;

        tap_is(outcome(&scan), "ok", vectors[i].name);
        tap_is_int((long long)scan.unstorable, (long long)vectors[i].unstorable,
                   "... counted");
        if (!copy) {
            abort();
        }
        memcpy(copy, vectors[i].text, length);
        smartsupp_json_replace_unstorable(copy, length, warnings);
        tap_is(apr_pstrmemdup(pool, copy, length), vectors[i].replaced,
               "... replaced in place");
        free(copy);
        for (n = 0; (warning = smartsupp_problems_get(warnings, n)); n++) {
            got = apr_psprintf(pool, "%s%s%s @%" APR_INT64_T_FMT, got,
                               n ? ", " : "", warning->code, warning->offset);
        }
        tap_is(got, vectors[i].warnings, "... and warned of");
    }
}

/* open, count times, then inner. */
static char *nest(const char *open, int count, const char *inner)
{
    apr_array_header_t *parts =
        apr_array_make(pool, count + 1, sizeof(const char *));
    int i;

    for (i = 0; i < count; i++) {
        APR_ARRAY_PUSH(parts, const char *) = open;
    }
    APR_ARRAY_PUSH(parts, const char *) = inner;
    return apr_array_pstrcat(pool, parts, 0);
}

static void test_limits(void)
{
    smartsupp_json_scan_t scan;
    char *text;

    text = apr_pstrcat(pool, "{\"unknown\":", nest("[", 31, ""),
                       nest("]", 31, "}"), NULL);
    scan = scan_text(text);
    tap_is(outcome(&scan), "ok", "vector 22: depth 32");
    text = apr_pstrcat(pool, "{\"unknown\":", nest("[", 32, ""),
                       nest("]", 32, "}"), NULL);
    scan = scan_text(text);
    tap_is(outcome(&scan), "json_depth @42",
           "vector 22: depth 33, at the bracket that is too deep");
    scan = scan_text(nest("[", 100000, ""));
    tap_is(outcome(&scan), "json_depth @32", "100,000 brackets");

    text = nest("0,", 65534, "0]");
    text = apr_pstrcat(pool, "[", text, NULL);
    scan = scan_bytes(text, strlen(text), 65536);
    tap_is(outcome(&scan), "ok", "vector 23: 65,536 values");
    tap_is_int((long long)scan.values, 65536, "... counted");
    text = apr_pstrcat(pool, "[0,", text + 1, NULL);
    scan = scan_bytes(text, strlen(text), 65536);
    tap_is(outcome(&scan), "json_values @131071",
           "vector 23: one more, at the value that is too many");
    tap_is_int((long long)scan.values, 65536, "... and not counted");

    scan = scan_text("{\"a\":[1,true,\"x\",{}],\"b\":null}");
    tap_is_int((long long)scan.values, 7, "keys are not values");
    scan = scan_bytes("[1,2]", 5, 3);
    tap_is(outcome(&scan), "ok", "as many values as allowed");
    scan = scan_bytes("[1,2]", 5, 2);
    tap_is(outcome(&scan), "json_values @3", "one too many");
    scan = scan_bytes(" 1", 2, 0);
    tap_is(outcome(&scan), "json_values @1", "none allowed");
    scan = scan_bytes(" }", 2, 0);
    tap_is(outcome(&scan), "json_syntax @1", "what is no value does not count");
}

/* Whether a string that holds one byte among plain ones, at any place in or
 * after a group of eight, gets the outcome that the byte alone decides. */
static void test_each_byte(void)
{
    int wrong = 0;
    int byte;
    int before;

    for (byte = 0; byte < 256; byte++) {
        for (before = 0; before < 18; before++) {
            const char *expected = byte < 0x20    ? "json_control"
                                   : byte >= 0x80 ? "json_utf8"
                                                  : NULL;
            char text[40];
            smartsupp_json_scan_t scan;

            if (byte == '"' || byte == '\\') {
                continue;
            }
            memset(text, 'a', sizeof(text));
            text[0] = text[sizeof(text) - 1] = '"';
            text[1 + before] = (char)byte;
            scan = scan_bytes(text, sizeof(text), MANY);
            if (expected) {
                wrong += !scan.code || strcmp(scan.code, expected) ||
                         scan.offset != 1 + (apr_size_t)before;
            }
            else {
                wrong += scan.code != NULL;
            }
        }
    }
    tap_is_int(wrong, 0, "each byte at each of 18 places in a string");
}

/* Whether the bytes are one character of RFC 3629: decoded by arithmetic, and
 * not too long for what they decode to. */
static int is_character(const unsigned char *bytes, int length)
{
    static const long least[] = {0, 0, 0x80, 0x800, 0x10000};
    static const int lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    static const int lead_mask[] = {0, 0x80, 0xe0, 0xf0, 0xf8};
    long point;
    int i;

    if ((bytes[0] & lead_mask[length]) != lead[length]) {
        return 0;
    }
    point = bytes[0] & ~lead_mask[length];
    for (i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (bytes[i] & 0x3f);
    }
    return point >= least[length] && point <= 0x10ffff &&
           (point < 0xd800 || point > 0xdfff);
}

/* Whether the bytes are characters that may stand in a string. */
static int are_characters(const unsigned char *bytes, int length)
{
    int n;

    while (length) {
        for (n = 1; n <= 4 && n <= length; n++) {
            if (n == 1 ? *bytes >= 0x20 && *bytes < 0x80 && *bytes != '"'
                       : is_character(bytes, n)) {
                break;
            }
        }
        if (n > 4 || n > length) {
            return 0;
        }
        bytes += n;
        length -= n;
    }
    return 1;
}

static void test_each_utf8(void)
{
    static const unsigned char edges[] = {0x22, 0x7f, 0x80, 0x8f, 0x90,
                                          0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    const int count = (int)sizeof(edges);
    int wrong = 0;
    int lead;
    int i;

    for (lead = 0x80; lead < 0x100; lead++) {
        for (i = 0; i < count * count * count; i++) {
            unsigned char text[6] = {'"',
                                     0,
                                     edges[i % count],
                                     edges[i / count % count],
                                     edges[i / count / count],
                                     '"'};
            int length;

            text[1] = (unsigned char)lead;
            for (length = 2; length <= 4; length++) {
                smartsupp_json_scan_t scan;
                unsigned char string[6];

                memcpy(string, text, sizeof(string));
                string[1 + length] = '"';
                scan = scan_bytes((char *)string, (apr_size_t)length + 2, MANY);
                wrong +=
                    (scan.code == NULL) != are_characters(text + 1, length);
            }
        }
    }
    tap_is_int(wrong, 0, "UTF-8: each lead byte with each edge of the rest");
}

static apr_array_header_t *file_names(const char *folder)
{
    apr_array_header_t *names = apr_array_make(pool, 200, sizeof(char *));
    apr_finfo_t info;
    apr_dir_t *dir;

    if (apr_dir_open(&dir, folder, pool) != APR_SUCCESS) {
        printf("Bail out! cannot open %s\n", folder);
        exit(1);
    }
    while (apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS) {
        if (info.name[0] != '.') {
            APR_ARRAY_PUSH(names, char *) = apr_pstrdup(pool, info.name);
        }
    }
    apr_dir_close(dir);
    return names;
}

static char *read_file(const char *path, apr_size_t *length)
{
    apr_file_t *file;
    apr_finfo_t info;
    char *bytes;

    if (apr_file_open(&file, path, APR_READ, APR_OS_DEFAULT, pool) ||
        apr_file_info_get(&info, APR_FINFO_SIZE, file)) {
        printf("Bail out! cannot open %s\n", path);
        exit(1);
    }
    *length = (apr_size_t)info.size;
    bytes = apr_palloc(pool, *length + 1);
    if (*length && apr_file_read_full(file, bytes, *length, NULL)) {
        printf("Bail out! cannot read %s\n", path);
        exit(1);
    }
    apr_file_close(file);
    return bytes;
}

/* Of an array or object that is cut anywhere, the scanner must say that it
 * ends too soon, and nothing else: a client that stalls is no syntax error. */
static int wrong_when_cut(const char *bytes, apr_size_t length)
{
    apr_size_t cut;
    int wrong = 0;

    while (length && strchr(" \t\r\n", bytes[length - 1])) {
        length--;
    }
    if (!length || !strchr("]}", bytes[length - 1])) {
        return 0;
    }
    for (cut = 0; cut < length; cut++) {
        smartsupp_json_scan_t scan = scan_bytes(bytes, cut, MANY);

        wrong +=
            !scan.code || scan.offset != cut ||
            (strcmp(scan.code, "json_eof") && strcmp(scan.code, "json_empty"));
    }
    return wrong;
}

static void test_accepted(const char *folder)
{
    apr_array_header_t *names = file_names(folder);
    int i;

    tap_ok(names->nelts > 50, "the corpus of what is accepted is there");
    for (i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        smartsupp_json_scan_t scan;
        apr_size_t length;
        char *bytes =
            read_file(apr_pstrcat(pool, folder, "/", name, NULL), &length);

        scan = scan_bytes(bytes, length, MANY);
        tap_is(outcome(&scan), "ok", apr_pstrcat(pool, "accept ", name, NULL));
        if (length <= 4096) {
            tap_is_int(wrong_when_cut(bytes, length), 0, "... cut anywhere");
        }
    }
}

static void test_rejected(const char *folder)
{
    apr_array_header_t *names = file_names(folder);
    int i;

    tap_ok(names->nelts > 150, "the corpus of what is rejected is there");
    for (i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        char code[64] = "";
        unsigned long offset = 0;
        smartsupp_json_scan_t scan;
        apr_size_t length;
        char *bytes =
            read_file(apr_pstrcat(pool, folder, "/", name, NULL), &length);

        sscanf(name, "%63[^-]-%lu-", code, &offset);
        scan = scan_bytes(bytes, length, MANY);
        tap_is(outcome(&scan), apr_psprintf(pool, "%s @%lu", code, offset),
               apr_pstrcat(pool, "reject ", name, NULL));
    }
}

static void test_samples(const char *t)
{
    static const char *const names[] = {"conversation.json",
                                        "conversation-generation-1.json",
                                        "rest-event.json"};
    apr_size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        smartsupp_json_scan_t scan;
        apr_size_t length;
        char *bytes =
            read_file(apr_pstrcat(pool, t, "/data/", names[i], NULL), &length);

        scan = scan_bytes(bytes, length, MANY);
        tap_is(outcome(&scan), "ok", names[i]);
        tap_is_int(wrong_when_cut(bytes, length), 0, "... cut anywhere");
    }
}

static void test_long_numbers(void)
{
    static const struct {
        const char *text;
        const char *short_text;
    } cases[] = {
        {"[1.000000000000000000000000000000000000000000000000000000000000000000"
         "1]",
         "[1"},
        {"[-9999999999999999999999999999999999999999999999999999999999999999999"
         ",1]",
         "[-9.9999999999999998e+66"},
        {"{\"\\\"11111111111111111111111111111111111111111111111111111111111111"
         "11"
         "1\":0}",
         NULL},
        {"[1e100000000000000000000000000000000000000000000000000000000000000000"
         "0"
         "]",
         "[1e999"},
        {"[12345,-0.5]", NULL},
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = apr_pstrdup(pool, cases[i].text);
        size_t length = strlen(text);
        smartsupp_json_scan_t scan;

        tap_is_int(smartsupp_json_scan(&scan, text, length, 10), APR_SUCCESS,
                   "a long number is legal");
        tap_is_int(scan.long_numbers != 0, cases[i].short_text != NULL,
                   "and counted, if it is one");
        smartsupp_json_shorten_numbers(text, length);
        if (cases[i].short_text) {
            tap_ok(!strncmp(text, cases[i].short_text,
                            strlen(cases[i].short_text)) &&
                       strchr(" ", text[strlen(cases[i].short_text)]),
                   cases[i].short_text);
        }
        else {
            tap_is(text, cases[i].text, "nothing else is changed");
        }
        tap_is_int(smartsupp_json_scan(&scan, text, length, 10), APR_SUCCESS,
                   "it is legal still");
        tap_is_int((long long)scan.long_numbers, 0, "and short");
    }
}

int main(void)
{
    const char *t = getenv("SMARTSUPP_T") ? getenv("SMARTSUPP_T") : "t";

    apr_initialize();
    atexit(apr_terminate);
    apr_pool_create(&pool, NULL);

    test_vectors();
    test_unstorable();
    test_limits();
    test_each_byte();
    test_each_utf8();
    test_accepted(apr_pstrcat(pool, t, "/corpus/json/accept", NULL));
    test_rejected(apr_pstrcat(pool, t, "/corpus/json/reject", NULL));
    test_samples(t);
    test_long_numbers();
    return tap_done();
}
