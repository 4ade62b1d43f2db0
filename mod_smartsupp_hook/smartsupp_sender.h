/*
 * Who wrote a message: its `from`, in the forms of both generations, becomes a
 * kind and an id.
 *
 *   "agent:3", 3                  agent, "3"
 *   "visitor:abc"                 visitor, "abc"
 *   "abc" on a visitor's message  visitor, "abc"
 *   "system", null                system
 *   any other text or number      other, the whole of it (warning `sender`)
 *   absent                        unknown (warning `missing`)
 *   neither text nor number       unknown (warning `type`)
 *
 * An agent or visitor without an id has none, with the warning `format`. The
 * number, the null and the text without a colon are forms of generation 1.
 *
 * It serves smartsupp_conversation alone.
 */
#ifndef SMARTSUPP_SENDER_H
#define SMARTSUPP_SENDER_H

#include "smartsupp_field.h"

typedef struct smartsupp_sender_t {
    const char *kind; /* agent visitor system other unknown */
    const char *id;   /* NULL: none */
    int generation;   /* of the form; 2 where it tells nothing */
} smartsupp_sender_t;

/**
 * Read the value at `from`, which may be absent. The type is that of the
 * message, or NULL.
 */
smartsupp_sender_t smartsupp_sender_read(smartsupp_reader_t *reader,
                                         const smartsupp_place_t *from,
                                         const char *type);

#endif
