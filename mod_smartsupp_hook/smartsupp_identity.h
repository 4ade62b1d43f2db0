/*
 * The three members that identify a conversation and are its primary key.
 * This is the second gate's part on values: nothing is put right here, since
 * two conversations that are taken for one would overwrite each other. What is
 * wrong is an error: `missing`, `type`, `range` or `format`.
 *
 * It serves smartsupp_conversation alone.
 */
#ifndef SMARTSUPP_IDENTITY_H
#define SMARTSUPP_IDENTITY_H

#include "smartsupp_field.h"

/** accountId: an integer from 1 to SMARTSUPP_INTEGER_MAX. */
apr_int64_t smartsupp_identity_account(smartsupp_reader_t *reader,
                                       const smartsupp_place_t *at);

/** beginAt: epoch ms from 2000-01-01 to 2100-01-01. */
apr_int64_t smartsupp_identity_begin(smartsupp_reader_t *reader,
                                     const smartsupp_place_t *at);

/**
 * channel.id, as text: an integer from 0 to SMARTSUPP_INTEGER_MAX, or a string
 * of 1 to 128 bytes without control characters or space at its ends.
 */
const char *smartsupp_identity_channel(smartsupp_reader_t *reader,
                                       const smartsupp_place_t *at);

#endif
