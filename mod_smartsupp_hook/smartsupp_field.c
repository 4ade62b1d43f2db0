#include "smartsupp_field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "smartsupp_json.h"

/* Room for a pointer, and for enough past its maximum that the list of
 * problems sees that it must be cut. */
#define POINTER_SIZE (SMARTSUPP_PROBLEM_POINTER_MAX + 8)

/* Room for any double with 17 digits, its separator in any locale included. */
#define NUMBER_SIZE 64

/* The token in a pointer's form, as far as there is room for it. */
static char *put_token(char *to, const char *end, const char *token)
{
    for (; *token && end - to > 2; token++) {
        if (*token == '~' || *token == '/') {
            *to++ = '~';
            *to++ = *token == '~' ? '0' : '1';
        }
        else {
            *to++ = *token;
        }
    }
    return to;
}

static char *put_pointer(char *to, const char *end, const smartsupp_place_t *at)
{
    char index[16];

    if (!at->above) {
        return to;
    }
    to = put_pointer(to, end, at->above);
    if (end - to > 2) {
        *to++ = '/';
    }
    if (at->key) {
        return put_token(to, end, at->key);
    }
    apr_snprintf(index, sizeof(index), "%d", at->index);
    return put_token(to, end, index);
}

static void add_problem(smartsupp_problems_t *problems, const char *code,
                        const smartsupp_place_t *at)
{
    char pointer[POINTER_SIZE];

    *put_pointer(pointer, pointer + sizeof(pointer), at) = '\0';
    smartsupp_problems_add(problems, code, pointer,
                           SMARTSUPP_PROBLEM_NO_OFFSET);
}

smartsupp_place_t smartsupp_place_member(const smartsupp_place_t *above,
                                         const char *key, const cJSON *value)
{
    smartsupp_place_t member = {.above = above, .key = key, .value = value};

    return member;
}

void smartsupp_field_error(smartsupp_reader_t *reader, const char *code,
                           const smartsupp_place_t *at)
{
    add_problem(reader->errors, code, at);
}

void smartsupp_field_warning(smartsupp_reader_t *reader, const char *code,
                             const smartsupp_place_t *at)
{
    add_problem(reader->warnings, code, at);
}

void *smartsupp_field_alloc(smartsupp_reader_t *reader, apr_size_t size)
{
    /* apr_pcalloc would write to NULL. */
    void *memory = apr_palloc(reader->pool, size);

    if (!memory) {
        reader->status = APR_ENOMEM;
        return NULL;
    }
    return memset(memory, 0, size);
}

const char *smartsupp_field_copy(smartsupp_reader_t *reader, const char *text)
{
    apr_size_t size = strlen(text) + 1;
    /* apr_pstrdup would write to NULL. */
    char *copy = apr_palloc(reader->pool, size);

    if (!copy) {
        reader->status = APR_ENOMEM;
        return NULL;
    }
    return memcpy(copy, text, size);
}

static int in_range(double number)
{
    return number >= -(double)SMARTSUPP_INTEGER_MAX &&
           number <= (double)SMARTSUPP_INTEGER_MAX;
}

int smartsupp_field_whole(apr_int64_t *integer, const cJSON *value)
{
    if (!cJSON_IsNumber(value) || !in_range(value->valuedouble) ||
        (double)(apr_int64_t)value->valuedouble != value->valuedouble) {
        return 0;
    }
    *integer = (apr_int64_t)value->valuedouble;
    return 1;
}

/* Print with as few digits as read back the same. A locale may separate the
 * fraction by another character, even one of several bytes: all that is
 * neither digit, sign nor exponent is it. */
static void print_double(char *text, double number)
{
    char printed[NUMBER_SIZE];
    const char *from = printed;
    int digits = 15;

    do {
        (void)snprintf(printed, sizeof(printed), "%.*g", digits, number);
    } while (strtod(printed, NULL) != number && digits++ < 17);
    while (*from) {
        apr_size_t plain = strspn(from, "0123456789+-e");

        memcpy(text, from, plain);
        text += plain;
        from += plain;
        if (*from) {
            *text++ = '.';
            from += strcspn(from, "0123456789+-e");
        }
    }
    *text = '\0';
}

const char *smartsupp_field_number(smartsupp_reader_t *reader,
                                   const smartsupp_place_t *at)
{
    char text[NUMBER_SIZE];
    apr_int64_t integer;

    if (!in_range(at->value->valuedouble)) {
        smartsupp_field_warning(reader, "range", at);
        return NULL;
    }
    if (smartsupp_field_whole(&integer, at->value)) {
        apr_snprintf(text, sizeof(text), "%" APR_INT64_T_FMT, integer);
    }
    else {
        print_double(text, at->value->valuedouble);
    }
    return smartsupp_field_copy(reader, text);
}

const char *smartsupp_field_text(smartsupp_reader_t *reader,
                                 const smartsupp_place_t *at)
{
    const char *text;

    if (!at->value || cJSON_IsNull(at->value)) {
        return NULL;
    }
    if (cJSON_IsString(at->value)) {
        return smartsupp_field_copy(reader, at->value->valuestring);
    }
    if (!cJSON_IsNumber(at->value)) {
        smartsupp_field_warning(reader, "type", at);
        return NULL;
    }
    text = smartsupp_field_number(reader, at);
    if (text) {
        smartsupp_field_warning(reader, "coerced", at);
    }
    return text;
}

static const char *read_id(smartsupp_reader_t *reader,
                           const smartsupp_place_t *at)
{
    apr_int64_t integer;

    return smartsupp_field_whole(&integer, at->value)
               ? smartsupp_field_number(reader, at)
               : smartsupp_field_text(reader, at);
}

/* Cut off the fraction. */
static apr_int64_t read_number(smartsupp_reader_t *reader,
                               const smartsupp_place_t *at, double number)
{
    apr_int64_t integer;

    if (!in_range(number)) {
        smartsupp_field_warning(reader, "range", at);
        return reader->null;
    }
    integer = (apr_int64_t)number;
    if ((double)integer != number || cJSON_IsString(at->value)) {
        smartsupp_field_warning(reader, "coerced", at);
    }
    return integer;
}

/* A string that is a JSON number, not a blank more or less, counts as one. */
static apr_int64_t read_number_string(smartsupp_reader_t *reader,
                                      const smartsupp_place_t *at)
{
    const char *text = at->value->valuestring;
    apr_size_t length = strlen(text);
    smartsupp_json_scan_t scan;
    apr_int64_t integer;
    cJSON *number;

    if (smartsupp_json_scan(&scan, text, length, 1) != APR_SUCCESS ||
        !strchr("-0123456789", text[0]) ||
        !strchr("0123456789", text[length - 1])) {
        smartsupp_field_warning(reader, "type", at);
        return reader->null;
    }
    number = cJSON_ParseWithLength(text, length);
    if (!number) {
        reader->status = APR_ENOMEM;
        return reader->null;
    }
    integer = read_number(reader, at, number->valuedouble);
    cJSON_Delete(number);
    return integer;
}

static apr_int64_t read_integer(smartsupp_reader_t *reader,
                                const smartsupp_place_t *at)
{
    if (!at->value || cJSON_IsNull(at->value)) {
        return reader->null;
    }
    if (cJSON_IsNumber(at->value)) {
        return read_number(reader, at, at->value->valuedouble);
    }
    if (cJSON_IsString(at->value)) {
        return read_number_string(reader, at);
    }
    smartsupp_field_warning(reader, "type", at);
    return reader->null;
}

static apr_int64_t read_boolean(smartsupp_reader_t *reader,
                                const smartsupp_place_t *at)
{
    const cJSON *value = at->value;
    const char *text = cJSON_IsString(value) ? value->valuestring : "";
    apr_int64_t integer = -1;

    if (!value || cJSON_IsNull(value)) {
        return reader->null;
    }
    if (cJSON_IsBool(value)) {
        return cJSON_IsTrue(value) ? 1 : 0;
    }
    if (!strcmp(text, "1") || !strcmp(text, "true")) {
        integer = 1;
    }
    else if (!strcmp(text, "0") || !strcmp(text, "false")) {
        integer = 0;
    }
    else if (!smartsupp_field_whole(&integer, value) || integer < 0 ||
             integer > 1) {
        smartsupp_field_warning(reader, "type", at);
        return reader->null;
    }
    smartsupp_field_warning(reader, "coerced", at);
    return integer;
}

/* The field with that key, or -1. The search begins where the caller says and
 * goes round, so that members in documented order cost one comparison each. */
static int find_field(const smartsupp_fields_t *table, const char *key,
                      int first)
{
    int n;

    for (n = 0; n < table->count; n++) {
        int i = first + n < table->count ? first + n : first + n - table->count;

        if (!strcmp(key, table->fields[i].key)) {
            return i;
        }
    }
    return -1;
}

static void find_fields(const cJSON **found, smartsupp_reader_t *reader,
                        const smartsupp_place_t *at,
                        const smartsupp_fields_t *table)
{
    const cJSON *member;
    int next = 0;
    int i;

    for (i = 0; i < SMARTSUPP_FIELDS_MAX; i++) {
        found[i] = NULL;
    }
    cJSON_ArrayForEach(member, at->value)
    {
        i = find_field(table, member->string, next);
        if (i < 0) {
            continue;
        }
        if (found[i]) {
            smartsupp_place_t twice =
                smartsupp_place_member(at, member->string, member);

            smartsupp_field_error(reader, "duplicate", &twice);
        }
        found[i] = member;
        next = i + 1;
    }
}

void smartsupp_fields_read(void *record, const cJSON **found,
                           smartsupp_reader_t *reader,
                           const smartsupp_place_t *at,
                           const smartsupp_fields_t *table)
{
    int i;

    find_fields(found, reader, at, table);
    for (i = 0; i < table->count; i++) {
        const smartsupp_field_t *field = &table->fields[i];
        void *member = (char *)record + field->offset;
        smartsupp_place_t place =
            smartsupp_place_member(at, field->key, found[i]);

        switch (field->kind) {
        case SMARTSUPP_TEXT:
            *(const char **)member = smartsupp_field_text(reader, &place);
            break;
        case SMARTSUPP_ID:
            *(const char **)member = read_id(reader, &place);
            break;
        case SMARTSUPP_INTEGER:
            *(apr_int64_t *)member = read_integer(reader, &place);
            break;
        case SMARTSUPP_BOOLEAN:
            *(apr_int64_t *)member = read_boolean(reader, &place);
            break;
        case SMARTSUPP_OTHER:
            break;
        }
    }
}
