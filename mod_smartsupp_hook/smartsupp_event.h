/*
 * The members of a Smartsupp REST webhook that have columns of their own.
 * Nothing of an event is refused or warned of: its row holds the raw body.
 *
 * It serves smartsupp_conversation alone.
 */
#ifndef SMARTSUPP_EVENT_H
#define SMARTSUPP_EVENT_H

#include "smartsupp_conversation.h"
#include "smartsupp_field.h"

/** Whether a body is one: it calls itself so. */
int smartsupp_event_is(const cJSON *root);

/**
 * Fill all of the event; strings are copied into the reader's pool. Where
 * memory runs out, the reader's status tells.
 */
void smartsupp_event_read(smartsupp_event_t *event, smartsupp_reader_t *reader,
                          const cJSON *root);

#endif
