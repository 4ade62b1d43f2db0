#include "smartsupp_json.h"

#include <string.h>

#include <apr.h>

typedef unsigned char byte_t;

/* What the grammar allows next, white space aside. */
typedef enum expected_t {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END, /* after [ */
    EXPECT_KEY,
    EXPECT_KEY_OR_END, /* after { */
    EXPECT_COLON,
    EXPECT_NEXT /* after a value: a comma, a closing bracket or the end */
} expected_t;

/* A scan under way. The functions that take it move `at` past what they have
 * read, and return APR_SUCCESS or what fail returned. */
typedef struct scanner_t {
    const byte_t *start;
    const byte_t *at;
    const byte_t *end;
    smartsupp_json_scan_t *scan;
    apr_size_t max_values;
    expected_t expected;
    int depth;
    apr_uint32_t objects; /* a bit for each open bracket, innermost lowest:
                             1 for an object */
} scanner_t;

static apr_status_t fail(scanner_t *s, const byte_t *at, const char *code)
{
    s->scan->code = code;
    s->scan->offset = (apr_size_t)(at - s->start);
    return APR_EINVAL;
}

/* The byte at `at` is not what the code says it should be; at the end of the
 * text it is the text that is too short. */
static apr_status_t fail_here(scanner_t *s, const char *code)
{
    return fail(s, s->at, s->at == s->end ? "json_eof" : code);
}

static int is_digit(byte_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Its value, or 16 for what is no hexadecimal digit. */
static unsigned int hex_digit(byte_t byte)
{
    if (is_digit(byte)) {
        return byte - (unsigned int)'0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - (unsigned int)'a' + 10 : 16;
}

/* The code unit that the four hexadecimal digits at `at` stand for. */
static unsigned int hex_unit(const byte_t *at)
{
    return hex_digit(at[0]) << 12 | hex_digit(at[1]) << 8 |
           hex_digit(at[2]) << 4 | hex_digit(at[3]);
}

static int is_high_surrogate(unsigned int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static int is_low_surrogate(unsigned int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Whether a whole escape of a low surrogate stands at `at`. */
static int low_surrogate_at(const byte_t *at, const byte_t *end)
{
    int i;

    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') {
        return 0;
    }
    for (i = 2; i < 6; i++) {
        if (hex_digit(at[i]) > 15) {
            return 0;
        }
    }
    return is_low_surrogate(hex_unit(at + 2));
}

/* What is wrong with the escape of the code unit that ends before `after`:
 * json_nul, json_surrogate, or NULL. *pair says whether the escape after it
 * belongs to it. */
static const char *unstorable_unit(int *pair, unsigned int unit,
                                   const byte_t *after, const byte_t *end)
{
    *pair = 0;
    if (unit == 0) {
        return "json_nul";
    }
    if (is_high_surrogate(unit)) {
        *pair = low_surrogate_at(after, end);
        return *pair ? NULL : "json_surrogate";
    }
    return is_low_surrogate(unit) ? "json_surrogate" : NULL;
}

static void skip_space(scanner_t *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' ||
                              *s->at == '\r' || *s->at == '\t')) {
        s->at++;
    }
}

/* Skip characters of a string that need no look: ASCII without controls,
 * quote and backslash, eight at a time. For bytes below 0x80 a subtraction
 * sets the high bit only where a byte was less than what is taken from it. */
static void skip_plain(scanner_t *s)
{
    const apr_uint64_t ones = APR_UINT64_C(0x0101010101010101);
    apr_uint64_t eight;

    while (s->end - s->at >= 8) {
        memcpy(&eight, s->at, 8);
        if ((eight | (eight - ones * 0x20) | ((eight ^ ones * '"') - ones) |
             ((eight ^ ones * '\\') - ones)) &
            ones * 0x80) {
            break;
        }
        s->at += 8;
    }
    while (s->at < s->end && *s->at >= 0x20 && *s->at < 0x80 && *s->at != '"' &&
           *s->at != '\\') {
        s->at++;
    }
}

/* The length of the UTF-8 sequence of two bytes or more at `at`, or 0 where
 * RFC 3629 (section 4) has none. *cut says that it is right as far as it goes
 * and the text ends within it. */
static int utf8_length(int *cut, const byte_t *at, const byte_t *end)
{
    byte_t low = 0x80;
    byte_t high = 0xbf;
    int length;
    int i;

    *cut = 0;
    if (*at < 0xc2 || *at > 0xf4) {
        return 0;
    }
    length = *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    switch (*at) {
    case 0xe0: /* else it would fit two bytes */
        low = 0xa0;
        break;
    case 0xed: /* else it would be a surrogate */
        high = 0x9f;
        break;
    case 0xf0: /* else it would fit three bytes */
        low = 0x90;
        break;
    case 0xf4: /* else it would be past U+10FFFF */
        high = 0x8f;
        break;
    }
    for (i = 1; i < length; i++) {
        if (at + i == end) {
            *cut = 1;
            return 0;
        }
        if (at[i] < low || at[i] > high) {
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

static apr_status_t scan_utf8(scanner_t *s)
{
    int cut;
    int length = utf8_length(&cut, s->at, s->end);

    if (!length) {
        return cut ? fail(s, s->end, "json_eof") : fail_here(s, "json_utf8");
    }
    s->at += length;
    return APR_SUCCESS;
}

/* An escape; `at` is after its backslash. */
static apr_status_t scan_escape(scanner_t *s)
{
    int pair;
    int i;

    if (s->at == s->end) {
        return fail_here(s, "json_escape");
    }
    if (*s->at != 'u') {
        if (!*s->at || !strchr("\"\\/bfnrt", *s->at)) {
            return fail_here(s, "json_escape");
        }
        s->at++;
        return APR_SUCCESS;
    }
    s->at++;
    for (i = 0; i < 4; i++, s->at++) {
        if (s->at == s->end || hex_digit(*s->at) > 15) {
            return fail_here(s, "json_escape");
        }
    }
    if (unstorable_unit(&pair, hex_unit(s->at - 4), s->at, s->end)) {
        s->scan->unstorable++;
    }
    if (pair) {
        s->at += 6;
    }
    return APR_SUCCESS;
}

/* A string; `at` is on its first quote. */
static apr_status_t scan_string(scanner_t *s)
{
    apr_status_t status = APR_SUCCESS;

    s->at++;
    while (status == APR_SUCCESS) {
        skip_plain(s);
        if (s->at == s->end) {
            return fail_here(s, "json_eof");
        }
        if (*s->at == '"') {
            s->at++;
            return APR_SUCCESS;
        }
        if (*s->at == '\\') {
            s->at++;
            status = scan_escape(s);
        }
        else {
            status =
                *s->at < 0x20 ? fail_here(s, "json_control") : scan_utf8(s);
        }
    }
    return status;
}

/* One digit at least. */
static apr_status_t scan_digits(scanner_t *s)
{
    if (s->at == s->end || !is_digit(*s->at)) {
        return fail_here(s, "json_number");
    }
    while (s->at < s->end && is_digit(*s->at)) {
        s->at++;
    }
    return APR_SUCCESS;
}

/* A number's characters; `at` is on its first digit or minus. */
static apr_status_t scan_number_text(scanner_t *s)
{
    apr_status_t status;

    if (*s->at == '-') {
        s->at++;
    }
    if (s->at < s->end && *s->at == '0') {
        s->at++;
        if (s->at < s->end && is_digit(*s->at)) {
            return fail_here(s, "json_number");
        }
    }
    else {
        status = scan_digits(s);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        status = scan_digits(s);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-')) {
            s->at++;
        }
        return scan_digits(s);
    }
    return APR_SUCCESS;
}

static apr_status_t scan_number(scanner_t *s)
{
    const byte_t *start = s->at;
    apr_status_t status = scan_number_text(s);

    if (s->at - start > SMARTSUPP_JSON_NUMBER_MAX) {
        s->scan->long_numbers++;
    }
    return status;
}

static apr_status_t scan_literal(scanner_t *s, const char *literal)
{
    for (; *literal; literal++, s->at++) {
        if (s->at == s->end || *s->at != (byte_t)*literal) {
            return fail_here(s, "json_syntax");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t open_bracket(scanner_t *s)
{
    int object = *s->at == '{';

    if (s->depth == SMARTSUPP_JSON_DEPTH_MAX) {
        return fail_here(s, "json_depth");
    }
    s->depth++;
    s->objects = s->objects << 1 | (object ? 1u : 0u);
    s->expected = object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    s->at++;
    return APR_SUCCESS;
}

/* A closing bracket, if it closes what is open. */
static apr_status_t close_bracket(scanner_t *s)
{
    if (*s->at != (s->objects & 1 ? '}' : ']')) {
        return fail_here(s, "json_syntax");
    }
    s->depth--;
    s->objects >>= 1;
    s->expected = EXPECT_NEXT;
    s->at++;
    return APR_SUCCESS;
}

static int starts_value(byte_t byte)
{
    return is_digit(byte) || byte == '"' || byte == '{' || byte == '[' ||
           byte == '-' || byte == 't' || byte == 'f' || byte == 'n';
}

static apr_status_t scan_value(scanner_t *s)
{
    if (!starts_value(*s->at)) {
        return fail_here(s, "json_syntax");
    }
    if (s->scan->values == s->max_values) {
        return fail_here(s, "json_values");
    }
    s->scan->values++;
    s->expected = EXPECT_NEXT;
    switch (*s->at) {
    case '{':
    case '[':
        return open_bracket(s);
    case '"':
        return scan_string(s);
    case 't':
        return scan_literal(s, "true");
    case 'f':
        return scan_literal(s, "false");
    case 'n':
        return scan_literal(s, "null");
    default:
        return scan_number(s);
    }
}

static apr_status_t scan_key(scanner_t *s)
{
    if (*s->at != '"') {
        return fail_here(s, "json_syntax");
    }
    s->expected = EXPECT_COLON;
    return scan_string(s);
}

static apr_status_t scan_next(scanner_t *s)
{
    if (!s->depth) {
        return fail_here(s, "json_trailing");
    }
    if (*s->at != ',') {
        return close_bracket(s);
    }
    s->expected = s->objects & 1 ? EXPECT_KEY : EXPECT_VALUE;
    s->at++;
    return APR_SUCCESS;
}

/* One token; `at` is on its first byte. */
static apr_status_t scan_token(scanner_t *s)
{
    switch (s->expected) {
    case EXPECT_VALUE_OR_END:
        return *s->at == ']' ? close_bracket(s) : scan_value(s);
    case EXPECT_KEY_OR_END:
        return *s->at == '}' ? close_bracket(s) : scan_key(s);
    case EXPECT_KEY:
        return scan_key(s);
    case EXPECT_COLON:
        s->expected = EXPECT_VALUE;
        return scan_literal(s, ":");
    case EXPECT_NEXT:
        return scan_next(s);
    case EXPECT_VALUE:
        break;
    }
    return scan_value(s);
}

apr_status_t smartsupp_json_scan(smartsupp_json_scan_t *scan, const char *text,
                                 apr_size_t length, apr_size_t max_values)
{
    const byte_t *start = (const byte_t *)text;
    scanner_t s = {.start = start,
                   .at = start,
                   .end = start + length,
                   .scan = scan,
                   .max_values = max_values,
                   .expected = EXPECT_VALUE};
    apr_status_t status = APR_SUCCESS;

    memset(scan, 0, sizeof(*scan));
    if (length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        return fail(&s, start, "json_bom");
    }
    while (status == APR_SUCCESS) {
        skip_space(&s);
        if (s.at == s.end) {
            break;
        }
        status = scan_token(&s);
    }
    if (status == APR_SUCCESS && !scan->values) {
        return fail(&s, s.end, "json_empty");
    }
    if (status == APR_SUCCESS && (s.depth || s.expected != EXPECT_NEXT)) {
        return fail(&s, s.end, "json_eof");
    }
    return status;
}

void smartsupp_json_replace_unstorable(char *text, apr_size_t length,
                                       smartsupp_problems_t *warnings)
{
    static const char replacement[4] = {'f', 'f', 'f', 'd'};
    char *end = text + length;
    char *at = text;

    while ((at = memchr(at, '\\', (apr_size_t)(end - at)))) {
        const char *code;
        int pair;

        if (at[1] != 'u') {
            at += 2;
            continue;
        }
        code = unstorable_unit(&pair, hex_unit((const byte_t *)at + 2),
                               (const byte_t *)at + 6, (const byte_t *)end);
        if (code) {
            smartsupp_problems_add(warnings, code, "", at - text);
            memcpy(at + 2, replacement, sizeof(replacement));
        }
        at += pair ? 12 : 6;
    }
}
