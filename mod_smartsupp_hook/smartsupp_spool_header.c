#include "smartsupp_spool_header.h"

#include <stdio.h>
#include <string.h>

#include "smartsupp_signature.h"

#define FORMAT "smartsupp-spool"
#define VERSION "1"

/* The bounds of the numbers in a header: what a double can count, and what no
 * body reaches. */
#define RECEIVED_MAX ((APR_INT64_C(1) << 53) - 1)
#define LENGTH_MAX ((APR_INT64_C(1) << 40) - 1)

/* What is left to parse. */
typedef struct cursor_t {
    const char *at;
    const char *end;
} cursor_t;

/* A part of a text, without a NUL. */
typedef struct words_t {
    const char *start;
    apr_size_t length;
} words_t;

static int is_control(char c)
{
    return (unsigned char)c < ' ' || c == '\177';
}

/* Take the line "<name> <value>" from the text. */
static int take_line(words_t *value, cursor_t *cursor, const char *name)
{
    apr_size_t left = (apr_size_t)(cursor->end - cursor->at);
    apr_size_t length = strlen(name);
    const char *newline;

    if (left <= length || memcmp(cursor->at, name, length) != 0 ||
        cursor->at[length] != ' ') {
        return 0;
    }
    value->start = cursor->at + length + 1;
    left -= length + 1;
    newline = memchr(value->start, '\n', left < 256 ? left : 256);
    if (!newline) {
        return 0;
    }
    value->length = (apr_size_t)(newline - value->start);
    cursor->at = newline + 1;
    return 1;
}

static int take_version(cursor_t *cursor)
{
    words_t value;

    return take_line(&value, cursor, FORMAT) && value.length == 1 &&
           *value.start == *VERSION;
}

static int take_number(apr_int64_t *number, cursor_t *cursor, const char *name,
                       apr_int64_t max)
{
    words_t value;
    apr_size_t i;

    if (!take_line(&value, cursor, name) || value.length < 1 ||
        value.length > 16 || (*value.start == '0' && value.length > 1)) {
        return 0;
    }
    *number = 0;
    for (i = 0; i < value.length; i++) {
        if (value.start[i] < '0' || value.start[i] > '9') {
            return 0;
        }
        *number = *number * 10 + (value.start[i] - '0');
    }
    return *number <= max;
}

static int is_hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static int take_digest(char digest[SMARTSUPP_SHA256_HEX + 1], cursor_t *cursor,
                       const char *name)
{
    words_t value;
    apr_size_t i;

    if (!take_line(&value, cursor, name) ||
        value.length != SMARTSUPP_SHA256_HEX) {
        return 0;
    }
    for (i = 0; i < value.length; i++) {
        if (!is_hex_digit(value.start[i])) {
            return 0;
        }
    }
    memcpy(digest, value.start, value.length);
    digest[value.length] = '\0';
    return 1;
}

static int take_text(char text[256], cursor_t *cursor, const char *name)
{
    words_t value;
    apr_size_t i;

    if (!take_line(&value, cursor, name)) {
        return 0;
    }
    for (i = 0; i < value.length; i++) {
        if (is_control(value.start[i])) {
            return 0;
        }
    }
    memcpy(text, value.start, value.length); /* take_line: 255 at most */
    text[value.length] = '\0';
    return 1;
}

static int take_length(apr_size_t *length, cursor_t *cursor)
{
    apr_int64_t number;

    if (!take_number(&number, cursor, "length", LENGTH_MAX)) {
        return 0;
    }
    *length = (apr_size_t)number;
    return (apr_int64_t)*length == number; /* no more than we can address */
}

apr_size_t smartsupp_spool_header_cut(const char *text, apr_size_t max)
{
    apr_size_t length = strlen(text);
    apr_size_t back;

    if (length <= max) {
        return length;
    }
    for (back = 0; back < 4 && back <= max; back++) {
        if ((text[max - back] & 0xC0) != 0x80) {
            return max - back;
        }
    }
    return max; /* not UTF-8 */
}

apr_status_t smartsupp_spool_parse(smartsupp_spool_header_t *header,
                                   const char *bytes, apr_size_t length)
{
    cursor_t cursor = {bytes, bytes + length};
    char expected[SMARTSUPP_SIGNATURE_HEX_SIZE];
    char check[SMARTSUPP_SIGNATURE_HEX_SIZE];

    memset(header, 0, sizeof(*header));
    if (!take_version(&cursor) ||
        !take_number(&header->received_at, &cursor, "received", RECEIVED_MAX) ||
        header->received_at < 1 ||
        !take_text(header->server, &cursor, "server") ||
        !take_length(&header->body_length, &cursor) ||
        !take_digest(header->body_sha256, &cursor, "sha256")) {
        return SMARTSUPP_ESPOOL_DAMAGED;
    }
    if (cursor.at < cursor.end && *cursor.at == 'r' &&
        (!take_text(header->reason, &cursor, "reason") || !*header->reason)) {
        return SMARTSUPP_ESPOOL_DAMAGED;
    }
    smartsupp_signature_sha256(expected, bytes,
                               (apr_size_t)(cursor.at - bytes));
    if (!take_digest(check, &cursor, "check") ||
        memcmp(check, expected, SMARTSUPP_SHA256_HEX) != 0) {
        return SMARTSUPP_ESPOOL_DAMAGED;
    }
    header->body_offset = (apr_size_t)(cursor.at - bytes);
    return APR_SUCCESS;
}

apr_status_t
smartsupp_spool_header_build(char text[SMARTSUPP_SPOOL_HEADER_TEXT],
                             smartsupp_spool_header_t *header)
{
    char check[SMARTSUPP_SIGNATURE_HEX_SIZE];
    smartsupp_spool_header_t read_back;
    apr_size_t length;

    length = (apr_size_t)snprintf(
        text, SMARTSUPP_SPOOL_HEADER_TEXT,
        FORMAT " " VERSION "\nreceived %" APR_INT64_T_FMT "\nserver %s\n"
               "length %" APR_SIZE_T_FMT "\nsha256 %s\n%s%s%s",
        header->received_at, header->server, header->body_length,
        header->body_sha256, *header->reason ? "reason " : "", header->reason,
        *header->reason ? "\n" : "");
    smartsupp_signature_sha256(check, text, length);
    length += (apr_size_t)snprintf(text + length,
                                   SMARTSUPP_SPOOL_HEADER_TEXT - length,
                                   "check %s\n", check);
    header->body_offset = length;
    return smartsupp_spool_parse(&read_back, text, length) == APR_SUCCESS
               ? APR_SUCCESS
               : APR_EINVAL;
}
