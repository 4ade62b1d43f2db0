#include "mod_smartsupp_answer.h"

#include <string.h>

#include <apr_strings.h>
#include <http_protocol.h>

/* Seconds until a delivery that cannot be taken now may be sent again. */
#define RETRY_AFTER "10"

static int send_body(request_rec *r, int status, const char *type,
                     const char *body)
{
    r->status = status;
    ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)strlen(body));
    ap_rputs(body, r);
    return OK;
}

static void result_header(request_rec *r, const char *result)
{
    apr_table_setn(r->headers_out, "Smartsupp-Result", result);
}

/* The members that tell which conversation it was. */
static const char *identity(const smartsupp_delivery_t *delivery,
                            apr_pool_t *pool)
{
    const smartsupp_conversation_t *conversation = delivery->conversation;

    if (conversation) {
        return apr_psprintf(
            pool,
            "\"account\":%" APR_INT64_T_FMT ",\"channel\":%s,"
            "\"begin\":%" APR_INT64_T_FMT ",",
            conversation->account_id,
            smartsupp_problem_json_string(conversation->channel_id, pool),
            conversation->begin_at);
    }
    if (delivery->event->account_id == SMARTSUPP_NULL) {
        return "";
    }
    return apr_psprintf(pool, "\"account\":%" APR_INT64_T_FMT ",",
                        delivery->event->account_id);
}

int smartsupp_answer_taken(request_rec *r, int status, const char *result,
                           const smartsupp_delivery_t *delivery)
{
    const char *body = apr_pstrcat(
        r->pool, "{\"result\":\"", result, "\",", identity(delivery, r->pool),
        "\"warnings\":", smartsupp_problems_json(delivery->warnings, r->pool),
        "}\n", NULL);

    result_header(r, result);
    return send_body(r, status, "application/json", body);
}

int smartsupp_answer_problem(request_rec *r, int status, const char *detail,
                             const smartsupp_problems_t *errors)
{
    const char *line = ap_get_status_line(status); /* "400 Bad Request" */
    const char *body = apr_psprintf(
        r->pool,
        "{\"type\":\"about:blank\",\"title\":%s,\"status\":%d,\"detail\":%s,"
        "\"errors\":%s}\n",
        smartsupp_problem_json_string(line + strlen("400 "), r->pool), status,
        smartsupp_problem_json_string(detail, r->pool),
        smartsupp_problems_json(errors, r->pool));

    switch (status) {
    case HTTP_BAD_REQUEST:
    case HTTP_UNPROCESSABLE_ENTITY:
        result_header(r, "rejected");
        break;
    case HTTP_METHOD_NOT_ALLOWED:
        apr_table_setn(r->headers_out, "Allow", "POST");
        break;
    case HTTP_UNSUPPORTED_MEDIA_TYPE:
        /* RFC 9110, section 15.5.16 */
        apr_table_setn(r->headers_out, "Accept-Encoding", "identity");
        break;
    case HTTP_SERVICE_UNAVAILABLE:
        apr_table_setn(r->headers_out, "Retry-After", RETRY_AFTER);
        break;
    default:
        break;
    }
    return send_body(r, status, "application/problem+json", body);
}
