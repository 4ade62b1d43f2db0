#include "smartsupp_problem.h"

#include <string.h>

#include <apr_strings.h>

/* The most problems that the words for a log name. */
#define TEXT_MAX 3

struct smartsupp_problems_t {
    apr_pool_t *pool;
    smartsupp_problem_t *kept; /* NULL until the first one */
    int kept_count;
    int max;
    int count;
};

/* Text being written. Where `at` is NULL it is only measured. */
typedef struct output_t {
    char *at;
    apr_size_t length;
} output_t;

static void put(output_t *output, const char *bytes, apr_size_t length)
{
    if (output->at) {
        memcpy(output->at, bytes, length);
        output->at += length;
    }
    output->length += length;
}

static void put_text(output_t *output, const char *text)
{
    put(output, text, strlen(text));
}

static void put_integer(output_t *output, apr_int64_t integer)
{
    char digits[24];

    apr_snprintf(digits, sizeof(digits), "%" APR_INT64_T_FMT, integer);
    put_text(output, digits);
}

static void put_escape(output_t *output, unsigned int unit)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u'};

    escape[2] = hex[(unit >> 12) & 15];
    escape[3] = hex[(unit >> 8) & 15];
    escape[4] = hex[(unit >> 4) & 15];
    escape[5] = hex[unit & 15];
    put(output, escape, sizeof(escape));
}

/* U+2028 and U+2029 end a line in older JavaScript, even within a string. */
static int is_line_separator(const char *at)
{
    return !strncmp(at, "\xe2\x80\xa8", 3) || !strncmp(at, "\xe2\x80\xa9", 3);
}

static void put_json_string(output_t *output, const char *text)
{
    const char *at;
    const char *plain = text; /* the first byte that is not yet written */

    put(output, "\"", 1);
    for (at = text; *at; at++) {
        unsigned char byte = (unsigned char)*at;

        if (byte == 0xe2 && is_line_separator(at)) {
            put(output, plain, (apr_size_t)(at - plain));
            put_escape(output, at[2] == '\xa8' ? 0x2028 : 0x2029);
            at += 2;
            plain = at + 1;
        }
        else if (byte == '"' || byte == '\\') {
            put(output, plain, (apr_size_t)(at - plain));
            put(output, "\\", 1);
            plain = at;
        }
        else if (byte < 0x20 || byte == 0x7f || strchr("<>&", byte)) {
            put(output, plain, (apr_size_t)(at - plain));
            put_escape(output, byte);
            plain = at + 1;
        }
    }
    put(output, plain, (apr_size_t)(at - plain));
    put(output, "\"", 1);
}

static void put_problem(output_t *output, const smartsupp_problem_t *problem)
{
    put_text(output, "{\"code\":");
    put_json_string(output, problem->code);
    put_text(output, ",\"pointer\":");
    put_json_string(output, problem->pointer);
    if (problem->offset != SMARTSUPP_PROBLEM_NO_OFFSET) {
        put_text(output, ",\"offset\":");
        put_integer(output, problem->offset);
    }
    put_text(output, "}");
}

static void put_problems(output_t *output, const smartsupp_problems_t *problems)
{
    int i;

    put_text(output, "[");
    for (i = 0; i < problems->kept_count; i++) {
        put_text(output, i ? "," : "");
        put_problem(output, &problems->kept[i]);
    }
    if (problems->count > problems->kept_count) {
        put_text(output, problems->kept_count ? "," : "");
        put_text(output, "{\"code\":\"more\",\"count\":");
        put_integer(output, problems->count - problems->kept_count);
        put_text(output, "}");
    }
    put_text(output, "]");
}

/* The length of the pointer as it is kept: never with half a character or
 * half a "~0" at its end. */
static apr_size_t kept_length(const char *pointer)
{
    apr_size_t length = strlen(pointer);

    if (length <= SMARTSUPP_PROBLEM_POINTER_MAX) {
        return length;
    }
    length = SMARTSUPP_PROBLEM_POINTER_MAX;
    while (length && ((unsigned char)pointer[length] & 0xc0) == 0x80) {
        length--;
    }
    if (length && pointer[length - 1] == '~') {
        length--;
    }
    return length;
}

/* The pools of deliveries do not abort the process when memory is short, and
 * apr_pstrmemdup, like apr_pcalloc, would write to NULL. */
static const char *copy_pointer(const char *pointer, apr_pool_t *pool)
{
    apr_size_t length = kept_length(pointer);
    char *copy = apr_palloc(pool, length + 1);

    if (!copy) {
        return NULL;
    }
    memcpy(copy, pointer, length);
    copy[length] = '\0';
    return copy;
}

smartsupp_problems_t *smartsupp_problems_make(int max, apr_pool_t *pool)
{
    smartsupp_problems_t *problems = apr_palloc(pool, sizeof(*problems));

    if (!problems) {
        return NULL;
    }
    memset(problems, 0, sizeof(*problems));
    problems->pool = pool;
    problems->max = max;
    return problems;
}

void smartsupp_problems_add(smartsupp_problems_t *problems, const char *code,
                            const char *pointer, apr_int64_t offset)
{
    smartsupp_problem_t *problem;
    const char *copy;

    problems->count++;
    if (problems->kept_count >= problems->max) {
        return;
    }
    if (!problems->kept) {
        apr_size_t size = sizeof(*problem) * (apr_size_t)problems->max;

        problems->kept = apr_palloc(problems->pool, size);
        if (!problems->kept) {
            return;
        }
    }
    copy = copy_pointer(pointer, problems->pool);
    if (!copy) {
        return;
    }
    problem = &problems->kept[problems->kept_count++];
    problem->code = code;
    problem->pointer = copy;
    problem->offset = offset;
}

int smartsupp_problems_count(const smartsupp_problems_t *problems)
{
    return problems->count;
}

const smartsupp_problem_t *
smartsupp_problems_get(const smartsupp_problems_t *problems, int index)
{
    return index >= 0 && index < problems->kept_count ? &problems->kept[index]
                                                      : NULL;
}

const char *smartsupp_problems_json(const smartsupp_problems_t *problems,
                                    apr_pool_t *pool)
{
    output_t measure = {NULL, 0};
    output_t output = {NULL, 0};
    char *json;

    put_problems(&measure, problems);
    json = output.at = apr_palloc(pool, measure.length + 1);
    if (!json) {
        return NULL;
    }
    put_problems(&output, problems);
    json[output.length] = '\0';
    return json;
}

const char *smartsupp_problem_json_string(const char *text, apr_pool_t *pool)
{
    output_t measure = {NULL, 0};
    output_t output = {NULL, 0};
    char *json;

    put_json_string(&measure, text);
    json = output.at = apr_palloc(pool, measure.length + 1);
    if (!json) {
        return NULL;
    }
    put_json_string(&output, text);
    json[output.length] = '\0';
    return json;
}

const char *smartsupp_problems_text(const smartsupp_problems_t *problems,
                                    apr_pool_t *pool)
{
    static const char private_part[] = "/visitor/variables/";
    const char *text = "";
    const smartsupp_problem_t *problem;
    int i;

    for (i = 0; i < TEXT_MAX; i++) {
        problem = smartsupp_problems_get(problems, i);
        if (!problem) {
            break;
        }
        text = apr_pstrcat(
            pool, text, i ? ", " : "", problem->code, " ",
            problem->offset != SMARTSUPP_PROBLEM_NO_OFFSET
                ? apr_psprintf(pool, "at byte %" APR_INT64_T_FMT,
                               problem->offset)
            : !strncmp(problem->pointer, private_part, sizeof(private_part) - 1)
                ? "in /visitor/variables"
            : *problem->pointer ? problem->pointer
                                : "at the root",
            NULL);
    }
    return i < smartsupp_problems_count(problems)
               ? apr_pstrcat(pool, text, ", …", NULL)
               : text;
}
