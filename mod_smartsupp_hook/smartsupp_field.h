/*
 * The members of one JSON object, found by a table and read as what SQL will
 * store: a text, an integer, a boolean. This is the third gate: what has the
 * wrong type is put right where that does no harm, else it is null, and either
 * way there is a warning. Nothing is refused here but a known key that stands
 * twice.
 *
 * It serves smartsupp_conversation alone and shares its knowledge of cJSON.
 */
#ifndef SMARTSUPP_FIELD_H
#define SMARTSUPP_FIELD_H

#include <apr_errno.h>
#include <apr_pools.h>

#include <cjson/cJSON.h>

#include "smartsupp_problem.h"

/* 2^53-1: above it a double, all that cJSON keeps of a number, may stand for
 * several integers. */
#define SMARTSUPP_INTEGER_MAX APR_INT64_C(9007199254740991)

/* The most members that one table names. */
#define SMARTSUPP_FIELDS_MAX 16

/* What every function here needs. */
typedef struct smartsupp_reader_t {
    apr_pool_t *pool;               /* takes every text */
    smartsupp_problems_t *errors;   /* for which the delivery is refused */
    smartsupp_problems_t *warnings; /* for which it is not */
    apr_int64_t null;               /* an integer or boolean that is null */
    apr_status_t status;            /* APR_ENOMEM once memory has run out */
} smartsupp_reader_t;

/* A value, and the way to it from the root. */
typedef struct smartsupp_place_t {
    const struct smartsupp_place_t *above; /* NULL: this is the root */
    const char *key;                       /* NULL: an element of an array */
    int index;                             /* of that element */
    const cJSON *value;                    /* NULL: absent */
} smartsupp_place_t;

typedef enum smartsupp_field_kind_t {
    SMARTSUPP_OTHER, /* only found: the caller reads it */
    SMARTSUPP_TEXT,
    SMARTSUPP_ID, /* a text whose usual form is an integer */
    SMARTSUPP_INTEGER,
    SMARTSUPP_BOOLEAN
} smartsupp_field_kind_t;

typedef struct smartsupp_field_t {
    const char *key;
    smartsupp_field_kind_t kind;
    apr_size_t offset; /* in the record: a const char * or an apr_int64_t */
} smartsupp_field_t;

/* The known members of one kind of object, in documented order. */
typedef struct smartsupp_fields_t {
    const smartsupp_field_t *fields;
    int count; /* SMARTSUPP_FIELDS_MAX at most */
} smartsupp_fields_t;

/** The place of a member of the object at above; value NULL is an absent one.
 */
smartsupp_place_t smartsupp_place_member(const smartsupp_place_t *above,
                                         const char *key, const cJSON *value);

/** Add an error at the place. */
void smartsupp_field_error(smartsupp_reader_t *reader, const char *code,
                           const smartsupp_place_t *at);

/** Add a warning at the place. */
void smartsupp_field_warning(smartsupp_reader_t *reader, const char *code,
                             const smartsupp_place_t *at);

/** Zeroed memory from the reader's pool, or NULL and reader->status set. */
void *smartsupp_field_alloc(smartsupp_reader_t *reader, apr_size_t size);

/** A copy of text in the reader's pool, or NULL and reader->status set. */
const char *smartsupp_field_copy(smartsupp_reader_t *reader, const char *text);

/**
 * Whether the value is a number, whole and within +-SMARTSUPP_INTEGER_MAX;
 * then, and only then, *integer takes it.
 */
int smartsupp_field_whole(apr_int64_t *integer, const cJSON *value);

/**
 * A number as text: an integer in decimal, any other in the fewest digits
 * that read back as the same double, with a point in every locale. NULL with
 * a warning `range` for an integer beyond SMARTSUPP_INTEGER_MAX.
 */
const char *smartsupp_field_number(smartsupp_reader_t *reader,
                                   const smartsupp_place_t *at);

/**
 * The value as a text, NULL where it is absent, null or no text. A number
 * becomes one with the warning `coerced`.
 */
const char *smartsupp_field_text(smartsupp_reader_t *reader,
                                 const smartsupp_place_t *at);

/**
 * Read the object at the place into a record: every member that the table
 * gives a kind, an absent one as null. Unknown members are passed over, keys
 * are compared byte by byte, and one that stands twice is the error
 * `duplicate`.
 *
 * @param found takes the value of each field of the table, NULL for an absent
 *        one; SMARTSUPP_FIELDS_MAX long
 */
void smartsupp_fields_read(void *record, const cJSON **found,
                           smartsupp_reader_t *reader,
                           const smartsupp_place_t *at,
                           const smartsupp_fields_t *table);

#endif
