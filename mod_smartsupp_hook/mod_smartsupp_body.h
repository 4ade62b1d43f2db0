/*
 * The body of a request, read whole through httpd's input filters, whatever
 * length was announced.
 */
#ifndef MOD_SMARTSUPP_BODY_H
#define MOD_SMARTSUPP_BODY_H

#include <httpd.h>

#include "smartsupp_delivery.h"

/**
 * Read the body into delivery->body and body_length, with memory from the
 * delivery's pool.
 *
 * @param status what to answer, where this fails
 * @param max the longest body, in bytes
 * @return APR_SUCCESS; APR_ENOSPC: longer than max; APR_ENOMEM; APR_TIMEUP: it
 *         did not arrive in time; APR_EGENERAL: cut off, malformed, or refused
 *         by an input filter, with httpd's status for it
 */
apr_status_t smartsupp_body_read(int *status, request_rec *r, apr_size_t max,
                                 smartsupp_delivery_t *delivery);

#endif
