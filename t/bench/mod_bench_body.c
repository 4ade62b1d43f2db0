/*
 * What httpd itself can do: a handler that reads the body into memory and
 * answers 200.
 *
 *   SetHandler bench-body
 */
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>

module AP_MODULE_DECLARE_DATA bench_body_module;

#define PIECE 8192

static int answer(request_rec *r)
{
    char piece[PIECE];
    apr_off_t length = 0;
    long count;
    int status;

    if (!r->handler || strcmp(r->handler, "bench-body") != 0) {
        return DECLINED;
    }
    status = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK);
    if (status != OK) {
        return status;
    }
    if (ap_should_client_block(r)) {
        while ((count = ap_get_client_block(r, piece, sizeof(piece))) > 0) {
            length += count;
        }
        if (count < 0) {
            return HTTP_BAD_REQUEST;
        }
    }
    ap_set_content_type(r, "application/json");
    ap_rprintf(r, "{\"bytes\":%" APR_OFF_T_FMT "}", length);
    return OK;
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(answer, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(bench_body) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks,
    AP_MODULE_FLAG_NONE};
