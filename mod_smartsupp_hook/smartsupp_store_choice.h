/*
 * Which deliveries of a batch are stored, and what the others are answered: the
 * inner face of smartsupp_store.
 */
#ifndef SMARTSUPP_STORE_CHOICE_H
#define SMARTSUPP_STORE_CHOICE_H

#include <apr_pools.h>

#include "smartsupp_store.h"
#include "smartsupp_version.h"

/* A conversation that is to be stored: the newest version in the batch. */
typedef struct smartsupp_store_candidate_t {
    const smartsupp_delivery_t *delivery;
    smartsupp_store_result_e *result;
    const char *key[SMARTSUPP_SQL_KEY_VALUES]; /* as SQL text */
    const char **values;       /* of the conversation statements */
    const char *stored_sha256; /* what is stored in the end */
} smartsupp_store_candidate_t;

/* What is given to smartsupp_store, and what was chosen of it. */
typedef struct smartsupp_store_choice_t {
    smartsupp_delivery_t *const *deliveries;
    smartsupp_store_result_e *results;
    int given;
    int *leaders; /* which one's version is stored in place of each */
    smartsupp_store_candidate_t *candidates;
    int count; /* of the candidates */
} smartsupp_store_choice_t;

/** The version of a conversation that a delivery brings. */
smartsupp_version_t
smartsupp_store_version_of(const smartsupp_delivery_t *delivery);

/**
 * Choose the newest versions, sorted by their keys: two servers that lock rows
 * in one order do not lock each other out. Each has the result STORED, for now.
 *
 * @param choice with deliveries, results and given; the rest is made here, from
 *        the pool
 */
void smartsupp_store_choose(smartsupp_store_choice_t *choice, apr_pool_t *pool);

/**
 * An answer for each that was not stored itself, because a newer version of its
 * conversation was in the batch; once the candidates have theirs, in whatever
 * order they are by then.
 */
void smartsupp_store_answer_others(const smartsupp_store_choice_t *choice);

#endif
