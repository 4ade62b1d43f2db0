#include "mod_smartsupp_status.h"

#include <stdlib.h>
#include <string.h>

#include <apr_optional_hooks.h>
#include <apr_strings.h>
#include <http_protocol.h>
#include <mod_status.h>
#include <util_script.h>

#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_status_report.h"

/* Seconds until a look may show another state. */
#define RETRY_AFTER "10"

#define PLAIN "text/plain; charset=utf-8"

typedef const char *render_fn(const smartsupp_status_report_t *report,
                              apr_pool_t *pool);

/* The forms, the one for whoever does not choose first. */
typedef struct form_t {
    const char *name;
    const char *type;
    render_fn *render;
} form_t;

static render_fn health;

static const form_t forms[] = {
    {"html", "text/html; charset=utf-8", smartsupp_status_html},
    {"json", "application/json", smartsupp_status_json},
    {"prometheus", "text/plain; version=0.0.4; charset=utf-8",
     smartsupp_status_prometheus},
    {"health", PLAIN, health},
};

static const char *health(const smartsupp_status_report_t *report,
                          apr_pool_t *pool)
{
    return apr_pstrcat(
        pool, smartsupp_status_sentence(report->worst, NULL, pool), "\n", NULL);
}

static const form_t *find_form(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (!strcmp(forms[i].name, name)) {
            return &forms[i];
        }
    }
    return NULL;
}

/* The form for a media type, or NULL: any will do, or none has it. */
static const form_t *form_of_type(const char *type)
{
    static const char *const types[][2] = {
        {"text/html", "html"},
        {"application/xhtml+xml", "html"},
        {"application/json", "json"},
        {"text/plain", "prometheus"},
        {"application/openmetrics-text", "prometheus"},
    };
    size_t i;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (!strcasecmp(types[i][0], type)) {
            return find_form(types[i][1]);
        }
    }
    return NULL;
}

/* The next word of a list, without the space around it. */
static char *next_word(const char **list, char separator, apr_pool_t *pool)
{
    char *word = ap_getword(pool, list, separator);

    apr_collapse_spaces(word, word);
    return word;
}

/* The form that a header Accept (RFC 9110, section 12.5.1) prefers; of two
 * that it likes as much, the first. */
static const form_t *negotiate(const char *accept, apr_pool_t *pool)
{
    const form_t *chosen = &forms[0];
    double best = 0;

    while (accept && *accept) {
        const char *range = next_word(&accept, ',', pool);
        const form_t *form = form_of_type(next_word(&range, ';', pool));
        double quality = 1;

        while (*range) {
            const char *parameter = next_word(&range, ';', pool);

            if (!strncasecmp(parameter, "q=", 2)) {
                quality = atof(parameter + 2);
            }
        }
        if (form && quality > best) {
            best = quality;
            chosen = form;
        }
    }
    return chosen;
}

/* The form that is asked for, or NULL: there is no such. */
static const form_t *choose(request_rec *r)
{
    apr_table_t *arguments;
    const char *name;

    ap_args_to_table(r, &arguments);
    name = apr_table_get(arguments, "format");
    if (name) {
        return find_form(name);
    }
    apr_table_mergen(r->headers_out, "Vary", "Accept");
    return negotiate(apr_table_get(r->headers_in, "Accept"), r->pool);
}

static int answer(request_rec *r, int status, const char *type,
                  const char *body)
{
    r->status = status;
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)strlen(body));
    ap_rputs(body, r);
    return OK;
}

static int answer_form(request_rec *r, const form_t *form)
{
    const smartsupp_status_report_t *report = smartsupp_status_collect(r->pool);
    int status = HTTP_OK;

    if (form->render == smartsupp_status_html) {
        apr_table_setn(r->headers_out, "Content-Security-Policy",
                       "default-src 'none'; style-src 'unsafe-inline'");
    }
    if (form->render == health && report->worst &&
        report->worst->state == SMARTSUPP_STATUS_REFUSED) {
        status = HTTP_SERVICE_UNAVAILABLE;
        apr_table_setn(r->headers_out, "Retry-After", RETRY_AFTER);
    }
    return answer(r, status, form->type, form->render(report, r->pool));
}

int smartsupp_status_handler(request_rec *r)
{
    const form_t *form;

    if (!r->handler || strcmp(r->handler, SMARTSUPP_STATUS_HANDLER) != 0) {
        return DECLINED;
    }
    ap_discard_request_body(r);
    if (r->method_number != M_GET) {
        apr_table_setn(r->headers_out, "Allow", "GET, HEAD");
        return answer(r, HTTP_METHOD_NOT_ALLOWED, PLAIN,
                      "The status is read with GET or HEAD.\n");
    }
    form = choose(r);
    if (!form) {
        return answer(r, HTTP_BAD_REQUEST, PLAIN,
                      "There is no such format; there are html, json, "
                      "prometheus and health.\n");
    }
    return answer_form(r, form);
}

/* mod_status's hook. */
static int add_rows(request_rec *r, int flags)
{
    const smartsupp_status_report_t *report = smartsupp_status_collect(r->pool);

    if (report->hosts->nelts) {
        ap_rputs(smartsupp_status_rows(report, flags, r->pool), r);
    }
    return OK;
}

void smartsupp_status_register(apr_pool_t *pool)
{
    (void)pool;
    APR_OPTIONAL_HOOK(ap, status_hook, add_rows, NULL, NULL, APR_HOOK_MIDDLE);
}
