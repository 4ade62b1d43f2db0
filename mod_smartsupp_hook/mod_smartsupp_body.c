#include "mod_smartsupp_body.h"

#include <string.h>

#include <apr_strings.h>
#include <http_protocol.h>
#include <util_filter.h>

/* How much is asked of the input filters at once, in bytes. */
#define READ_SIZE (16 * 1024)

/* The first size of a body's buffer: what the sender announces, within these
 * bounds; a longer body doubles it as it really comes in. */
#define BUFFER_SMALLEST (4 * 1024)
#define BUFFER_TRUSTED (64 * 1024)

/* A body that grows as it is read. */
typedef struct buffer_t {
    char *bytes;
    apr_size_t length;
    apr_size_t size;
    apr_size_t max;
    apr_pool_t *pool;
} buffer_t;

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
                                   apr_size_t max, apr_pool_t *pool)
{
    const char *announced = apr_table_get(r->headers_in, "Content-Length");
    apr_int64_t size = announced ? apr_atoi64(announced) + 1 : 0;

    buffer->pool = pool;
    buffer->length = 0;
    buffer->max = max;
    buffer->size = size < BUFFER_SMALLEST  ? BUFFER_SMALLEST
                   : size > BUFFER_TRUSTED ? BUFFER_TRUSTED
                                           : (apr_size_t)size;
    buffer->bytes = apr_palloc(pool, buffer->size);
    return buffer->bytes ? APR_SUCCESS : APR_ENOMEM;
}

apr_status_t smartsupp_body_read(int *status, request_rec *r, apr_size_t max,
                                 smartsupp_delivery_t *delivery)
{
    apr_bucket_brigade *brigade =
        apr_brigade_create(r->pool, r->connection->bucket_alloc);
    buffer_t buffer;
    apr_status_t rv = prepare_buffer(&buffer, r, max, delivery->pool);

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
