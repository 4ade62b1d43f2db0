#include "mod_smartsupp_receive.h"

#include <string.h>

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>

#include "mod_smartsupp_answer.h"
#include "mod_smartsupp_body.h"
#include "mod_smartsupp_config.h"
#include "mod_smartsupp_dbd.h"
#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_prefork.h"
#include "mod_smartsupp_shared.h"
#include "mod_smartsupp_spool.h"
#include "smartsupp_commit.h"
#include "smartsupp_conversation.h"
#include "smartsupp_json_memory.h"
#include "smartsupp_metrics.h"
#include "smartsupp_signature.h"

APLOG_USE_MODULE(smartsupp_hook);

/* One JSON value per 16 bytes of SmartsuppMaxBody: 65,536 per MiB, which
 * bounds the tree (reference/json.md, section 0). */
#define BYTES_PER_VALUE 16

/* The most errors that an answer lists. */
#define ERRORS_ANSWERED 16

/* Set once a child, before its first request. */
static apr_allocator_t *deliveries;

/* What a server's deliveries are counted in: found again by its name and how
 * many of that name were before it. */
static smartsupp_metrics_t *
share_metrics(server_rec *server, server_rec *main_server, apr_pool_t *ptemp)
{
    const char *name = smartsupp_config_server_name(server, ptemp);
    const server_rec *other;
    int before = 0;

    for (other = main_server; other != server; other = other->next) {
        before += !strcmp(smartsupp_config_server_name(other, ptemp), name);
    }
    return smartsupp_shared_record(
        apr_psprintf(ptemp, "metrics 2 %d %s", before, name),
        sizeof(smartsupp_metrics_t), main_server);
}

int smartsupp_receive_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                  apr_pool_t *ptemp, server_rec *main_server)
{
    server_rec *server;

    (void)pconf;
    (void)plog;
    for (server = main_server; server; server = server->next) {
        smartsupp_metrics_t *metrics =
            share_metrics(server, main_server, ptemp);

        if (!metrics) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        smartsupp_config_runtime(server)->metrics = metrics;
    }
    return OK;
}

void smartsupp_receive_child_init(apr_pool_t *pchild, server_rec *main_server)
{
    apr_status_t rv = smartsupp_delivery_allocator(&deliveries, pchild);

    smartsupp_json_memory_install();
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, main_server,
                     "SMARTSUPP0201: no memory: this child answers 503");
        deliveries = NULL;
    }
}

static void count(const request_rec *r, smartsupp_metric_e metric)
{
    smartsupp_metrics_count(smartsupp_config_runtime(r->server)->metrics,
                            metric);
}

/* Answer a problem that has one error at the root of the document. */
static int refuse(request_rec *r, int status, const char *code,
                  const char *detail)
{
    smartsupp_problems_t *errors = smartsupp_problems_make(1, r->pool);

    smartsupp_problems_add(errors, code, "", SMARTSUPP_PROBLEM_NO_OFFSET);
    return smartsupp_answer_problem(r, status, detail, errors);
}

static int answer_unread(request_rec *r, apr_status_t rv, int status)
{
    if (rv == APR_ENOSPC) {
        count(r, SMARTSUPP_REFUSED_TOO_LARGE);
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SMARTSUPP0203: refused (413): larger than "
                      "SmartsuppMaxBody, %" APR_SIZE_T_FMT " bytes",
                      smartsupp_config_max_body(r));
        return refuse(r, HTTP_REQUEST_ENTITY_TOO_LARGE, "body_too_large",
                      "The body is larger than this server accepts.");
    }
    if (rv == APR_ENOMEM) {
        count(r, SMARTSUPP_REFUSED_MEMORY);
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SMARTSUPP0208: not stored (503): out of memory");
        return refuse(r, HTTP_SERVICE_UNAVAILABLE, "no_memory",
                      "The server is short of memory; send this again.");
    }
    if (status == HTTP_REQUEST_TIME_OUT) {
        count(r, SMARTSUPP_REFUSED_TIMEOUT);
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SMARTSUPP0204: refused (408): the body did not arrive "
                      "in time");
        return refuse(r, status, "timeout", "The body did not arrive in time.");
    }
    count(r, SMARTSUPP_REFUSED_BODY);
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "SMARTSUPP0213: the body could not be read: cut off, "
                  "malformed, or refused by httpd itself");
    return status;
}

/* Whether a Content-Encoding is left that no input filter has decoded. */
static int is_encoded(const request_rec *r)
{
    const char *encoding = apr_table_get(r->headers_in, "Content-Encoding");

    return encoding && *encoding && strcasecmp(encoding, "identity") != 0;
}

/* Keep what can never be stored as it is, for the administrator. */
static apr_status_t set_aside(request_rec *r,
                              const smartsupp_delivery_t *delivery,
                              const char *reason)
{
    smartsupp_spool_t *spool = smartsupp_spools_of(r->server);
    apr_status_t rv = APR_ENOTIMPL;

    if (spool) {
        rv = smartsupp_spool_reject(
            spool, delivery, smartsupp_config_server_name(r->server, r->pool),
            reason);
        if (rv != APR_SUCCESS) {
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                          "SMARTSUPP0214: could not be kept in rejected/: %s",
                          smartsupp_spools_words(rv, r->pool));
        }
    }
    return rv;
}

static int answer_undecoded(request_rec *r, apr_status_t rv,
                            const smartsupp_delivery_t *delivery,
                            const smartsupp_problems_t *errors)
{
    int is_syntax = rv == SMARTSUPP_ESYNTAX;
    int status = is_syntax ? HTTP_BAD_REQUEST : HTTP_UNPROCESSABLE_ENTITY;
    const char *words;

    if (!is_syntax && rv != SMARTSUPP_ESTRUCTURE) {
        return answer_unread(r, APR_ENOMEM, HTTP_SERVICE_UNAVAILABLE);
    }
    words = smartsupp_problems_text(errors, r->pool);
    count(r,
          is_syntax ? SMARTSUPP_REJECTED_SYNTAX : SMARTSUPP_REJECTED_STRUCTURE);
    rv = set_aside(r, delivery, apr_psprintf(r->pool, "%d %s", status, words));
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "%s: refused (%d)%s: %s; %" APR_SIZE_T_FMT
                  " bytes, SHA-256 %s",
                  is_syntax ? "SMARTSUPP0206" : "SMARTSUPP0207", status,
                  rv == APR_SUCCESS ? ", kept in rejected/" : "", words,
                  delivery->body_length, delivery->body_sha256);
    return smartsupp_answer_problem(
        r, status,
        is_syntax ? "The body is not JSON as RFC 8259 defines it."
                  : "The body is JSON, but not a Smartsupp conversation that "
                    "could be told apart from others.",
        errors);
}

/* Neither the database nor the spool takes it. */
static int answer_unavailable(request_rec *r, const char *code)
{
    count(r, SMARTSUPP_REFUSED_UNAVAILABLE);
    return refuse(r, HTTP_SERVICE_UNAVAILABLE, code,
                  "The delivery was not stored; send it again later.");
}

/* Without a spool: say what the database did. */
static int answer_unstored(request_rec *r, apr_status_t rv,
                           const smartsupp_batch_outcome_t *outcome)
{
    const char *code = "database_unavailable";

    if (rv == APR_TIMEUP) {
        code = "database_timeout";
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SMARTSUPP0210: not stored (503): the database did not "
                      "answer within SmartsuppDatabaseWait");
    }
    else if (rv == APR_EAGAIN) {
        code = "queue_full";
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SMARTSUPP0211: not stored (503): too many deliveries "
                      "wait for the database already");
    }
    else if (rv == APR_EGENERAL) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SMARTSUPP0212: not stored (503): %s (code %s)",
                      outcome->error.text, outcome->error.code);
    }
    else {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r,
                      "SMARTSUPP0209: not stored (503): this child has no "
                      "writer for the database");
    }
    return answer_unavailable(r, code);
}

/* The database refuses it for good. */
static int reject(request_rec *r, const smartsupp_delivery_t *delivery,
                  const smartsupp_sql_error_t *error)
{
    const char *reason =
        apr_psprintf(r->pool, "database %s %s", error->code, error->text);

    if (set_aside(r, delivery, reason) != APR_SUCCESS) {
        return answer_unavailable(r, "rejected_full");
    }
    count(r, SMARTSUPP_REJECTED_DATABASE);
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "SMARTSUPP0215: kept in rejected/ (202): the database "
                  "refuses it for good: %s (code %s); %" APR_SIZE_T_FMT
                  " bytes, SHA-256 %s",
                  error->text, error->code, delivery->body_length,
                  delivery->body_sha256);
    return smartsupp_answer_taken(r, HTTP_ACCEPTED, "rejected", delivery);
}

/* The database cannot take it now. */
static int spool(request_rec *r, smartsupp_spool_t *spool,
                 const smartsupp_delivery_t *delivery)
{
    apr_status_t rv = smartsupp_spool_put(
        spool, delivery, smartsupp_config_server_name(r->server, r->pool));

    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SMARTSUPP0216: not stored (503): the database cannot "
                      "take it now, nor can the spool: %s",
                      smartsupp_spools_words(rv, r->pool));
        return answer_unavailable(r, APR_STATUS_IS_ENOSPC(rv) ? "spool_full"
                                                              : "spool_failed");
    }
    count(r, SMARTSUPP_SPOOLED);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "spooled: %" APR_SIZE_T_FMT " bytes, SHA-256 %s",
                  delivery->body_length, delivery->body_sha256);
    return smartsupp_answer_taken(r, HTTP_ACCEPTED, "spooled", delivery);
}

static int answer_committed(request_rec *r, smartsupp_store_result_e result,
                            const smartsupp_delivery_t *delivery)
{
    static const struct {
        const char *name;
        smartsupp_metric_e metric;
    } results[] = {
        [SMARTSUPP_STORE_STORED] = {"stored", SMARTSUPP_STORED},
        [SMARTSUPP_STORE_UPDATED] = {"updated", SMARTSUPP_UPDATED},
        [SMARTSUPP_STORE_DUPLICATE] = {"duplicate", SMARTSUPP_DUPLICATE},
        [SMARTSUPP_STORE_STALE] = {"stale", SMARTSUPP_STALE},
    };

    count(r, results[result].metric);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "%s: %" APR_SIZE_T_FMT " bytes, SHA-256 %s, %d warnings",
                  results[result].name, delivery->body_length,
                  delivery->body_sha256,
                  smartsupp_problems_count(delivery->warnings));
    return smartsupp_answer_taken(r, HTTP_OK, results[result].name, delivery);
}

/* Have the decoded delivery stored, else kept in the spool, and answer. */
static int commit(request_rec *r, smartsupp_delivery_t *delivery,
                  apr_time_t received)
{
    smartsupp_spool_t *refuge = smartsupp_spools_of(r->server);
    smartsupp_commit_t *room = smartsupp_dbd_commit(r->server);
    smartsupp_commit_entry_t *entry = NULL;
    smartsupp_batch_outcome_t outcome = {.status = APR_EOF};
    apr_status_t rv = APR_EOF;

    if (room) {
        rv = smartsupp_commit_submit(&entry, room, delivery,
                                     refuge ? SMARTSUPP_COMMIT_SPOOLABLE
                                            : SMARTSUPP_COMMIT_PATIENT);
    }
    if (rv == APR_SUCCESS) {
        rv = smartsupp_commit_wait(
            &outcome, room, entry,
            received + smartsupp_config_database_wait(r->server));
    }
    if (rv == APR_SUCCESS) {
        smartsupp_metrics_time(smartsupp_config_runtime(r->server)->metrics,
                               apr_time_now() - received);
        return answer_committed(r, outcome.result, delivery);
    }
    if (!refuge) {
        return answer_unstored(r, rv, &outcome);
    }
    return rv == APR_EGENERAL &&
                   outcome.error.error_class == SMARTSUPP_SQL_PERMANENT
               ? reject(r, delivery, &outcome.error)
               : spool(r, refuge, delivery);
}

/* Whether the body is signed, where it must be. Not OK: it was answered. */
static int authenticate(request_rec *r, const smartsupp_delivery_t *delivery)
{
    smartsupp_secrets_t secrets;
    const char *header = apr_table_get(r->headers_in, "X-Smartsupp-Hmac");
    const char *what = "signature_wrong";

    if (!smartsupp_config_secrets(&secrets, r)) {
        return OK;
    }
    switch (smartsupp_signature_verify(header, &secrets, delivery->body,
                                       delivery->body_length)) {
    case SMARTSUPP_SIGNATURE_VALID:
        return OK;
    case SMARTSUPP_SIGNATURE_MISSING:
        what = "signature_missing";
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SMARTSUPP0217: refused (403): no X-Smartsupp-Hmac. "
                      "Smartsupp does not sign the POST hook: for that one use "
                      "Require smartsupp-token, not SmartsuppSecret");
        break;
    case SMARTSUPP_SIGNATURE_MALFORMED:
        what = "signature_malformed";
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SMARTSUPP0218: refused (403): X-Smartsupp-Hmac is not "
                      "64 hex digits");
        break;
    case SMARTSUPP_SIGNATURE_WRONG:
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SMARTSUPP0219: refused (403): X-Smartsupp-Hmac is not "
                      "that of the body under any SmartsuppSecret");
        break;
    }
    count(r, SMARTSUPP_REFUSED_SIGNATURE);
    refuse(r, HTTP_FORBIDDEN, what,
           "The delivery is not signed as it must be.");
    return HTTP_FORBIDDEN;
}

static apr_int64_t account_of(const smartsupp_delivery_t *delivery)
{
    return delivery->conversation ? delivery->conversation->account_id
                                  : delivery->event->account_id;
}

static int answer_unwanted(request_rec *r, const smartsupp_delivery_t *delivery)
{
    apr_int64_t account = account_of(delivery);

    count(r, SMARTSUPP_REFUSED_ACCOUNT);
    ap_log_rerror(
        APLOG_MARK, APLOG_WARNING, 0, r,
        "SMARTSUPP0220: refused (403): of %s, which SmartsuppAccount "
        "does not name",
        account == SMARTSUPP_NULL
            ? "no account"
            : apr_psprintf(r->pool, "account %" APR_INT64_T_FMT, account));
    return refuse(r, HTTP_FORBIDDEN, "account",
                  "Deliveries of this account are not taken here.");
}

static int receive(request_rec *r, smartsupp_delivery_t *delivery)
{
    apr_size_t max_body = smartsupp_config_max_body(r);
    smartsupp_problems_t *errors =
        smartsupp_problems_make(ERRORS_ANSWERED, r->pool);
    apr_time_t received;
    int status;
    apr_status_t rv = smartsupp_body_read(&status, r, max_body, delivery);

    if (rv != APR_SUCCESS) {
        return answer_unread(r, rv, status);
    }
    received = apr_time_now();
    if (is_encoded(r)) {
        count(r, SMARTSUPP_REFUSED_ENCODING);
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SMARTSUPP0205: refused (415): the body has a "
                      "Content-Encoding that no input filter has decoded; see "
                      "SetInputFilter DEFLATE");
        return refuse(r, HTTP_UNSUPPORTED_MEDIA_TYPE, "content_encoding",
                      "The body's Content-Encoding is not accepted here.");
    }
    if (authenticate(r, delivery) != OK) {
        return OK;
    }
    count(r, SMARTSUPP_RECEIVED);
    delivery->received_at = apr_time_as_msec(received);
    smartsupp_signature_sha256(delivery->body_sha256, delivery->body,
                               delivery->body_length);
    rv = smartsupp_conversation_decode(delivery, errors,
                                       max_body / BYTES_PER_VALUE);
    if (rv != APR_SUCCESS) {
        return answer_undecoded(r, rv, delivery, errors);
    }
    if (!smartsupp_config_takes_account(r, account_of(delivery))) {
        return answer_unwanted(r, delivery);
    }
    return commit(r, delivery, received);
}

/* Once since the start: it need not mean anything. */
static void warn_of_redirect(const request_rec *r)
{
    if (r->method_number == M_GET &&
        smartsupp_metrics_get(smartsupp_config_runtime(r->server)->metrics,
                              SMARTSUPP_REFUSED_METHOD) == 0) {
        ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r,
                      "SMARTSUPP0221: somebody sent a GET. If it was not a "
                      "person: a redirect turns POST into GET, so give "
                      "Smartsupp the address that answers directly");
    }
}

/* Take the delivery: memory for it, and give that back. */
static int take(request_rec *r)
{
    smartsupp_delivery_t *delivery;
    int status;

    if (!deliveries ||
        smartsupp_delivery_create(&delivery, deliveries) != APR_SUCCESS) {
        return answer_unread(r, APR_ENOMEM, HTTP_SERVICE_UNAVAILABLE);
    }
    status = receive(r, delivery);
    smartsupp_delivery_release(delivery);
    return status;
}

int smartsupp_receive_handler(request_rec *r)
{
    smartsupp_prefork_phase_e before;
    int status;

    if (!r->handler || strcmp(r->handler, SMARTSUPP_HOOK_HANDLER) != 0) {
        return DECLINED;
    }
    if (r->method_number != M_POST) {
        warn_of_redirect(r);
        count(r, SMARTSUPP_REFUSED_METHOD);
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "SMARTSUPP0202: refused (405): not a POST");
        ap_discard_request_body(r);
        return refuse(r, HTTP_METHOD_NOT_ALLOWED, "method",
                      "Deliveries are sent with POST.");
    }
    before = smartsupp_prefork_enter(SMARTSUPP_PREFORK_AT_WORK);
    status = take(r);
    smartsupp_prefork_enter(before);
    return status;
}
