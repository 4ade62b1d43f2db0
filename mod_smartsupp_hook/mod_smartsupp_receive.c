#include "mod_smartsupp_receive.h"

#include <string.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <http_log.h>
#include <http_protocol.h>
#include <util_filter.h>

#include "mod_smartsupp_answer.h"
#include "mod_smartsupp_config.h"
#include "mod_smartsupp_dbd.h"
#include "mod_smartsupp_hook.h"
#include "smartsupp_commit.h"
#include "smartsupp_conversation.h"
#include "smartsupp_signature.h"

APLOG_USE_MODULE(smartsupp_hook);

/* How much is asked of the input filters at once, in bytes. */
#define READ_SIZE (16 * 1024)

/* The first size of a body's buffer: what the sender announces, within these
 * bounds; a longer body doubles it as it really comes in. */
#define BUFFER_SMALLEST (4 * 1024)
#define BUFFER_TRUSTED (64 * 1024)

/* One JSON value per 16 bytes of SmartsuppMaxBody: 65,536 per MiB, which
 * bounds the tree (reference/json.md, section 0). */
#define BYTES_PER_VALUE 16

/* The most errors that an answer lists, and that a log line lists. */
#define ERRORS_ANSWERED 16
#define ERRORS_LOGGED 3

/* What deliveries may keep of freed memory, in bytes, in each child. */
#define DELIVERIES_KEPT (8 * 1024 * 1024)

/* Set once a child, before its first request. */
static apr_allocator_t *deliveries;

/* A body that grows as it is read. */
typedef struct buffer_t {
    char *bytes;
    apr_size_t length;
    apr_size_t size;
    apr_size_t max;
    apr_pool_t *pool;
} buffer_t;

void smartsupp_receive_child_init(apr_pool_t *pchild, server_rec *main_server)
{
    apr_thread_mutex_t *mutex = NULL;

    if (apr_allocator_create(&deliveries) != APR_SUCCESS ||
        apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, pchild) !=
            APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server,
                     "SMARTSUPP0201: no memory: this child answers 503");
        deliveries = NULL;
        return;
    }
    apr_allocator_max_free_set(deliveries, DELIVERIES_KEPT);
    apr_allocator_mutex_set(deliveries, mutex);
}

/* Answer a problem that has one error at the root of the document. */
static int refuse(request_rec *r, int status, const char *code,
                  const char *detail)
{
    smartsupp_problems_t *errors = smartsupp_problems_make(1, r->pool);

    smartsupp_problems_add(errors, code, "", SMARTSUPP_PROBLEM_NO_OFFSET);
    return smartsupp_answer_problem(r, status, detail, errors);
}

/* Room for `more` bytes and a NUL. APR_ENOSPC: that would pass the limit. */
static apr_status_t reserve(buffer_t *buffer, apr_size_t more)
{
    apr_size_t size = buffer->size;
    char *bytes;

    if (more > buffer->max - buffer->length) {
        return APR_ENOSPC;
    }
    if (buffer->length + more < size) {
        return APR_SUCCESS;
    }
    while (size <= buffer->length + more) {
        size *= 2;
    }
    bytes = apr_palloc(buffer->pool, size);
    if (!bytes) {
        return APR_ENOMEM;
    }
    memcpy(bytes, buffer->bytes, buffer->length);
    buffer->bytes = bytes;
    buffer->size = size;
    return APR_SUCCESS;
}

/* Append a brigade's data. APR_EOF: the body is complete. */
static apr_status_t append(buffer_t *buffer, apr_bucket_brigade *brigade)
{
    apr_bucket *bucket;

    for (bucket = APR_BRIGADE_FIRST(brigade);
         bucket != APR_BRIGADE_SENTINEL(brigade);
         bucket = APR_BUCKET_NEXT(bucket)) {
        const char *data;
        apr_size_t length;
        apr_status_t rv;

        if (APR_BUCKET_IS_EOS(bucket)) {
            return APR_EOF;
        }
        if (APR_BUCKET_IS_METADATA(bucket)) {
            continue;
        }
        rv = apr_bucket_read(bucket, &data, &length, APR_BLOCK_READ);
        if (rv == APR_SUCCESS) {
            rv = reserve(buffer, length);
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
        memcpy(buffer->bytes + buffer->length, data, length);
        buffer->length += length;
    }
    return APR_SUCCESS;
}

static apr_status_t prepare_buffer(buffer_t *buffer, const request_rec *r,
                                   apr_pool_t *pool)
{
    const char *announced = apr_table_get(r->headers_in, "Content-Length");
    apr_int64_t size = announced ? apr_atoi64(announced) + 1 : 0;

    buffer->pool = pool;
    buffer->length = 0;
    buffer->max = smartsupp_config_max_body(r);
    buffer->size = size < BUFFER_SMALLEST  ? BUFFER_SMALLEST
                   : size > BUFFER_TRUSTED ? BUFFER_TRUSTED
                                           : (apr_size_t)size;
    buffer->bytes = apr_palloc(pool, buffer->size);
    return buffer->bytes ? APR_SUCCESS : APR_ENOMEM;
}

/*
 * Read the whole body, whatever length was announced, into the delivery.
 *
 * @param status what to answer, where this fails
 * @return APR_SUCCESS; APR_ENOSPC: longer than SmartsuppMaxBody; otherwise the
 *         error of the input filters, with httpd's status for it
 */
static apr_status_t read_body(int *status, request_rec *r,
                              smartsupp_delivery_t *delivery)
{
    apr_bucket_brigade *brigade =
        apr_brigade_create(r->pool, r->connection->bucket_alloc);
    buffer_t buffer;
    apr_status_t rv = prepare_buffer(&buffer, r, delivery->pool);

    *status = HTTP_SERVICE_UNAVAILABLE;
    while (rv == APR_SUCCESS) {
        rv = ap_get_brigade(r->input_filters, brigade, AP_MODE_READBYTES,
                            APR_BLOCK_READ, READ_SIZE);
        if (rv != APR_SUCCESS) {
            *status = ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
            /* never to be taken for the limit, or the end, found below */
            rv = APR_STATUS_IS_TIMEUP(rv) ? APR_TIMEUP : APR_EGENERAL;
            break;
        }
        rv = append(&buffer, brigade);
        apr_brigade_cleanup(brigade);
    }
    apr_brigade_destroy(brigade);
    if (rv != APR_EOF) {
        return rv;
    }
    buffer.bytes[buffer.length] = '\0';
    delivery->body = buffer.bytes;
    delivery->body_length = buffer.length;
    return APR_SUCCESS;
}

static int answer_unread(request_rec *r, apr_status_t rv, int status)
{
    if (rv == APR_ENOSPC) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SMARTSUPP0203: refused (413): larger than "
                      "SmartsuppMaxBody, %" APR_SIZE_T_FMT " bytes",
                      smartsupp_config_max_body(r));
        return refuse(r, HTTP_REQUEST_ENTITY_TOO_LARGE, "body_too_large",
                      "The body is larger than this server accepts.");
    }
    if (rv == APR_ENOMEM) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SMARTSUPP0208: not stored (503): out of memory");
        return refuse(r, HTTP_SERVICE_UNAVAILABLE, "no_memory",
                      "The server is short of memory; send this again.");
    }
    if (status == HTTP_REQUEST_TIME_OUT) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SMARTSUPP0204: refused (408): the body did not arrive "
                      "in time");
        return refuse(r, status, "timeout", "The body did not arrive in time.");
    }
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

/* The first errors as text for the log. Names of visitor variables are left
 * out, because they are the site's own words. */
static const char *log_errors(const smartsupp_problems_t *errors,
                              apr_pool_t *pool)
{
    static const char private_part[] = "/visitor/variables/";
    const char *text = "";
    const smartsupp_problem_t *error;
    int i;

    for (i = 0; i < ERRORS_LOGGED; i++) {
        error = smartsupp_problems_get(errors, i);
        if (!error) {
            break;
        }
        text = apr_pstrcat(
            pool, text, i ? ", " : "", error->code, " ",
            error->offset != SMARTSUPP_PROBLEM_NO_OFFSET
                ? apr_psprintf(pool, "at byte %" APR_INT64_T_FMT, error->offset)
            : !strncmp(error->pointer, private_part, sizeof(private_part) - 1)
                ? "in /visitor/variables"
            : *error->pointer ? error->pointer
                              : "at the root",
            NULL);
    }
    return i < smartsupp_problems_count(errors)
               ? apr_pstrcat(pool, text, ", …", NULL)
               : text;
}

static int answer_undecoded(request_rec *r, apr_status_t rv,
                            const smartsupp_delivery_t *delivery,
                            const smartsupp_problems_t *errors)
{
    int is_syntax = rv == SMARTSUPP_ESYNTAX;
    int status = is_syntax ? HTTP_BAD_REQUEST : HTTP_UNPROCESSABLE_ENTITY;

    if (!is_syntax && rv != SMARTSUPP_ESTRUCTURE) {
        return answer_unread(r, APR_ENOMEM, HTTP_SERVICE_UNAVAILABLE);
    }
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "%s: refused (%d): %s; %" APR_SIZE_T_FMT " bytes, SHA-256 %s",
                  is_syntax ? "SMARTSUPP0206" : "SMARTSUPP0207", status,
                  log_errors(errors, r->pool), delivery->body_length,
                  delivery->body_sha256);
    return smartsupp_answer_problem(
        r, status,
        is_syntax ? "The body is not JSON as RFC 8259 defines it."
                  : "The body is JSON, but not a Smartsupp conversation that "
                    "could be told apart from others.",
        errors);
}

static const char *result_name(smartsupp_store_result_e result)
{
    static const char *const names[] = {
        [SMARTSUPP_STORE_STORED] = "stored",
        [SMARTSUPP_STORE_UPDATED] = "updated",
        [SMARTSUPP_STORE_DUPLICATE] = "duplicate",
        [SMARTSUPP_STORE_STALE] = "stale",
    };

    return names[result];
}

static int answer_unstored(request_rec *r, apr_status_t rv,
                           const smartsupp_commit_outcome_t *outcome)
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
    return refuse(r, HTTP_SERVICE_UNAVAILABLE, code,
                  "The delivery was not stored; send it again later.");
}

/* Have the decoded delivery stored, and answer. */
static int commit(request_rec *r, smartsupp_delivery_t *delivery,
                  apr_time_t deadline)
{
    smartsupp_commit_t *room = smartsupp_dbd_commit(r->server);
    smartsupp_commit_entry_t *entry = NULL;
    smartsupp_commit_outcome_t outcome = {.status = APR_EOF};
    apr_status_t rv =
        room ? smartsupp_commit_submit(&entry, room, delivery) : APR_EOF;

    if (rv == APR_SUCCESS) {
        rv = smartsupp_commit_wait(&outcome, room, entry, deadline);
    }
    if (rv != APR_SUCCESS) {
        return answer_unstored(r, rv, &outcome);
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "%s: %" APR_SIZE_T_FMT " bytes, SHA-256 %s, %d warnings",
                  result_name(outcome.result), delivery->body_length,
                  delivery->body_sha256,
                  smartsupp_problems_count(delivery->warnings));
    return smartsupp_answer_taken(r, result_name(outcome.result), delivery);
}

static int receive(request_rec *r, smartsupp_delivery_t *delivery)
{
    smartsupp_problems_t *errors =
        smartsupp_problems_make(ERRORS_ANSWERED, r->pool);
    apr_time_t received;
    int status;
    apr_status_t rv = read_body(&status, r, delivery);

    if (rv != APR_SUCCESS) {
        return answer_unread(r, rv, status);
    }
    received = apr_time_now();
    if (is_encoded(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SMARTSUPP0205: refused (415): the body has a "
                      "Content-Encoding that no input filter has decoded; see "
                      "SetInputFilter DEFLATE");
        return refuse(r, HTTP_UNSUPPORTED_MEDIA_TYPE, "content_encoding",
                      "The body's Content-Encoding is not accepted here.");
    }
    delivery->received_at = apr_time_as_msec(received);
    smartsupp_signature_sha256(delivery->body_sha256, delivery->body,
                               delivery->body_length);
    rv = smartsupp_conversation_decode(
        delivery, errors, smartsupp_config_max_body(r) / BYTES_PER_VALUE);
    if (rv != APR_SUCCESS) {
        return answer_undecoded(r, rv, delivery, errors);
    }
    return commit(r, delivery,
                  received + smartsupp_config_database_wait(r->server));
}

int smartsupp_receive_handler(request_rec *r)
{
    smartsupp_delivery_t *delivery;
    int status;

    if (!r->handler || strcmp(r->handler, SMARTSUPP_HOOK_HANDLER) != 0) {
        return DECLINED;
    }
    if (r->method_number != M_POST) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "SMARTSUPP0202: refused (405): not a POST");
        ap_discard_request_body(r);
        return refuse(r, HTTP_METHOD_NOT_ALLOWED, "method",
                      "Deliveries are sent with POST.");
    }
    if (!deliveries ||
        smartsupp_delivery_create(&delivery, deliveries) != APR_SUCCESS) {
        return answer_unread(r, APR_ENOMEM, HTTP_SERVICE_UNAVAILABLE);
    }
    status = receive(r, delivery);
    smartsupp_delivery_release(delivery);
    return status;
}
