/*
 * The first gate: is this RFC 8259, every byte of it? It runs before cJSON
 * sees the body, because cJSON 1.7.15 accepts 16 of JSONTestSuite's 188
 * must-reject files, cuts strings at U+0000 and lets any bytes pass as UTF-8,
 * and because its tree is 25 to 40 times the size of a hostile body.
 *
 * The scanner allocates nothing, does not recurse and reads each byte once.
 */
#ifndef SMARTSUPP_JSON_H
#define SMARTSUPP_JSON_H

#include <apr_errno.h>

#include "smartsupp_problem.h"

/* How deep arrays and objects may nest. */
#define SMARTSUPP_JSON_DEPTH_MAX 32

/* The longest number that every cJSON can parse, in characters: those before
 * 1.7.19 give up at a longer one, which is legal. */
#define SMARTSUPP_JSON_NUMBER_MAX 63

typedef struct smartsupp_json_scan_t {
    const char *code;        /* what is wrong, or NULL; see below */
    apr_size_t offset;       /* of the byte that is wrong */
    apr_size_t values;       /* JSON values seen (keys do not count) */
    apr_size_t unstorable;   /* escapes of U+0000 and of lone surrogates */
    apr_size_t long_numbers; /* of more than SMARTSUPP_JSON_NUMBER_MAX */
} smartsupp_json_scan_t;

/**
 * Scan length bytes of text, which need no terminator.
 *
 * Refuses more than max_values values, a depth over SMARTSUPP_JSON_DEPTH_MAX
 * and all that RFC 8259 does not allow. Escaped U+0000 and lone surrogate
 * escapes are legal JSON: they pass and are counted.
 *
 * @return APR_SUCCESS, or APR_EINVAL with scan->code set to one of json_empty,
 *         json_bom, json_syntax, json_eof, json_trailing, json_number,
 *         json_escape, json_control, json_utf8, json_depth, json_values
 */
apr_status_t smartsupp_json_scan(smartsupp_json_scan_t *scan, const char *text,
                                 apr_size_t length, apr_size_t max_values);

/**
 * In text that has passed the scan, turn every escape of U+0000 and every lone
 * surrogate escape into the escape of U+FFFD, in place (it is as long), and
 * add one warning for each: json_nul or json_surrogate, with its offset.
 */
void smartsupp_json_replace_unstorable(char *text, apr_size_t length,
                                       smartsupp_problems_t *warnings);

/**
 * In text that has passed the scan, rewrite each number that is longer than
 * SMARTSUPP_JSON_NUMBER_MAX, in place, as the shorter one with the same value
 * as a double, and spaces. A NUL follows the text.
 */
void smartsupp_json_shorten_numbers(char *text, apr_size_t length);

#endif
