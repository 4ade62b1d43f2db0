/*
 * The header of a file in the spool, as smartsupp_spool.h tells it, made from
 * text and into text (smartsupp_spool_parse is the other half). Touches no
 * file. The inner face of smartsupp_spool, for the files of that name only.
 */
#ifndef SMARTSUPP_SPOOL_HEADER_H
#define SMARTSUPP_SPOOL_HEADER_H

#include "smartsupp_spool.h"

/* Room for the longest header, and a NUL. */
#define SMARTSUPP_SPOOL_HEADER_TEXT 768

/**
 * How many bytes of the text, `max` at most, can be kept without cutting a
 * UTF-8 character in two.
 */
apr_size_t smartsupp_spool_header_cut(const char *text, apr_size_t max);

/**
 * Write the header's lines to the text, and a NUL; set its body_offset.
 *
 * @return APR_SUCCESS, or APR_EINVAL: nobody could read that back
 */
apr_status_t
smartsupp_spool_header_build(char text[SMARTSUPP_SPOOL_HEADER_TEXT],
                             smartsupp_spool_header_t *header);

#endif
