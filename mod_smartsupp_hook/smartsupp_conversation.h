/*
 * A delivery is the bytes as received; a conversation (or an event) is what
 * they mean. This room turns the one into the other through the three gates:
 * syntax, identity and structure, and then everything else, which is stored
 * with a warning and never refused. With its helpers smartsupp_event,
 * smartsupp_field, smartsupp_identity, smartsupp_sender and
 * smartsupp_json_memory it is the only user of cJSON, and no cJSON type or
 * pointer leaves them.
 */
#ifndef SMARTSUPP_CONVERSATION_H
#define SMARTSUPP_CONVERSATION_H

#include <apr_errno.h>

#include "smartsupp_delivery.h"
#include "smartsupp_problem.h"

/* An integer or boolean that is SQL NULL. No value of a payload equals it:
 * integers end at 2^53-1. */
#define SMARTSUPP_NULL APR_INT64_MIN

/* Statuses of smartsupp_conversation_decode. */
#define SMARTSUPP_ESYNTAX (APR_OS_START_USERERR + 1)
#define SMARTSUPP_ESTRUCTURE (APR_OS_START_USERERR + 2)

/* In all of these a string that is NULL is SQL NULL; "" is itself. */

typedef struct smartsupp_message_t {
    const char *type;
    const char *name;
    const char *sender_kind; /* agent visitor system other unknown */
    const char *sender_id;
    const char *content;
    const char *triggered_by;
    const char *email;
    apr_int64_t sent_at; /* epoch ms */
} smartsupp_message_t;

typedef struct smartsupp_path_t {
    const char *url;
    const char *title;
} smartsupp_path_t;

typedef struct smartsupp_variable_t {
    const char *name;
    const char *label;
    const char *value;
    const char *value_type; /* string number boolean null */
} smartsupp_variable_t;

typedef struct smartsupp_conversation_t {
    /* the key */
    apr_int64_t account_id;
    const char *channel_id;
    apr_int64_t begin_at; /* epoch ms */

    apr_int64_t end_at; /* epoch ms */

    /* booleans: 0, 1 or SMARTSUPP_NULL */
    apr_int64_t is_chat;
    apr_int64_t is_missed;
    apr_int64_t is_triggered;
    apr_int64_t is_offline;
    apr_int64_t is_completed;
    apr_int64_t is_dropped;

    apr_int64_t duration;       /* s */
    apr_int64_t avg_response;   /* s */
    apr_int64_t first_response; /* s */
    apr_int64_t messages_count; /* as sent; not the length of messages */
    apr_int64_t words_count;
    apr_int64_t rating;
    const char *rating_desc;

    const char *visitor_id;
    const char *visitor_name;
    const char *visitor_email;
    const char *visitor_note;
    const char *visitor_group;
    const char *visitor_ip_address;
    const char *visitor_city;
    const char *visitor_country_code;
    const char *visitor_country;
    const char *visitor_user_agent;
    const char *visitor_platform;
    const char *visitor_referer;

    int generation; /* 1: before November 2018, 2: since */

    const smartsupp_message_t *messages;
    const smartsupp_path_t *paths;
    const smartsupp_variable_t *variables;
    int message_rows;
    int path_rows;
    int variable_rows;
} smartsupp_conversation_t;

/* A Smartsupp REST webhook, kept raw. */
typedef struct smartsupp_event_t {
    apr_int64_t account_id; /* SMARTSUPP_NULL unless it is a whole number */
    const char *event;
    const char *timestamp; /* as sent */
} smartsupp_event_t;

/**
 * Decode delivery->body and set conversation or event, and warnings (none of
 * them unless it succeeds). All of it is copied into delivery->pool; the JSON
 * tree is gone when this returns.
 *
 * @param errors takes what is wrong, at most its own `max`
 * @param max_values refuse a body with more JSON values than this, before any
 *        memory is spent on them
 * @return APR_SUCCESS; SMARTSUPP_ESYNTAX: not strict JSON (400);
 *         SMARTSUPP_ESTRUCTURE: identity or structure is wrong (422);
 *         APR_ENOMEM: try again later (503)
 */
apr_status_t smartsupp_conversation_decode(smartsupp_delivery_t *delivery,
                                           smartsupp_problems_t *errors,
                                           apr_size_t max_values);

#endif
