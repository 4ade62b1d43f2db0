/*
 * What is wrong with a delivery (errors), or was put right in it (warnings):
 * a list of codes with the place each was found at. A code is a stable word
 * for programs, a pointer names the member (RFC 6901), an offset the byte.
 * No entry ever holds a value: chat content is personal data.
 *
 * A list keeps its first `max` entries and counts the rest, so that a hostile
 * body cannot grow it without bound. Everything is allocated from the pool
 * given to smartsupp_problems_make and lives as long as that pool.
 */
#ifndef SMARTSUPP_PROBLEM_H
#define SMARTSUPP_PROBLEM_H

#include <apr_pools.h>

/* The longest pointer that is kept, in bytes; a longer one is cut between
 * two characters. */
#define SMARTSUPP_PROBLEM_POINTER_MAX 256

/* The offset of a problem that has none. */
#define SMARTSUPP_PROBLEM_NO_OFFSET (-1)

typedef struct smartsupp_problem_t {
    const char *code;    /* a constant, such as "missing" */
    const char *pointer; /* RFC 6901; "" is the whole document */
    apr_int64_t offset;  /* bytes from the start, or NO_OFFSET */
} smartsupp_problem_t;

typedef struct smartsupp_problems_t smartsupp_problems_t;

/**
 * Make an empty list that keeps at most max entries, or NULL without memory.
 */
smartsupp_problems_t *smartsupp_problems_make(int max, apr_pool_t *pool);

/**
 * Add a problem. The code must be a constant; the pointer is copied. Without
 * memory for that the problem is only counted.
 */
void smartsupp_problems_add(smartsupp_problems_t *problems, const char *code,
                            const char *pointer, apr_int64_t offset);

/**
 * How many problems were added, those past `max` included.
 */
int smartsupp_problems_count(const smartsupp_problems_t *problems);

/**
 * The problem at index, or NULL past the last one kept.
 */
const smartsupp_problem_t *
smartsupp_problems_get(const smartsupp_problems_t *problems, int index);

/**
 * The list as a JSON array, "[]" when it is empty: objects with "code",
 * "pointer" and, where there is one, "offset". Where entries were left out, a
 * last object says so: code "more", with their number as "count".
 */
const char *smartsupp_problems_json(const smartsupp_problems_t *problems,
                                    apr_pool_t *pool);

/**
 * The first problems as words for a log: codes and places. The names of
 * visitor variables are left out, because they are the site's own words.
 */
const char *smartsupp_problems_text(const smartsupp_problems_t *problems,
                                    apr_pool_t *pool);

/**
 * The UTF-8 text as a JSON string, quotes included (RFC 8259, section 7), in
 * a form that is also safe inside HTML's <script>.
 */
const char *smartsupp_problem_json_string(const char *text, apr_pool_t *pool);

#endif
