/*
 * What the sender is told: JSON for a delivery that was taken, a problem
 * (RFC 9457) for one that was not. No answer repeats what was delivered.
 */
#ifndef MOD_SMARTSUPP_ANSWER_H
#define MOD_SMARTSUPP_ANSWER_H

#include <httpd.h>

#include "smartsupp_conversation.h"
#include "smartsupp_problem.h"

/**
 * Answer 200 or 202 with the result ("stored", "spooled", …), in a header as
 * well.
 * @return OK, for the handler to return
 */
int smartsupp_answer_taken(request_rec *r, int status, const char *result,
                           const smartsupp_delivery_t *delivery);

/**
 * Answer with the status, a sentence for people and the list of errors.
 *
 * @param detail what is wrong and what to do, without any value received
 * @return OK, for the handler to return
 */
int smartsupp_answer_problem(request_rec *r, int status, const char *detail,
                             const smartsupp_problems_t *errors);

#endif
