/*
 * Which of two versions of one conversation is the newer: a total order, so
 * that deliveries in any order, on any number of servers, leave the same one
 * (design.md, promise 2).
 */
#ifndef SMARTSUPP_VERSION_H
#define SMARTSUPP_VERSION_H

#include <apr.h>

typedef struct smartsupp_version_t {
    apr_int64_t end_at; /* SMARTSUPP_NULL is the lowest */
    apr_int64_t message_rows;
    apr_int64_t received_at;
    const char *body_sha256;
} smartsupp_version_t;

/**
 * Compare two versions in the order of the members above.
 *
 * @return below, equal to or above 0 as a is older, the same or newer than b
 */
int smartsupp_version_compare(const smartsupp_version_t *a,
                              const smartsupp_version_t *b);

#endif
