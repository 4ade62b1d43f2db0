#include "mod_smartsupp_token.h"

#include <string.h>

#include <apr_strings.h>
#include <http_config.h>
#include <http_request.h>
#include <mod_auth.h>

#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_prefork.h"
#include "mod_smartsupp_source.h"

APLOG_USE_MODULE(smartsupp_hook);

static const char *parse(cmd_parms *cmd, const char *line, const void **parsed)
{
    smartsupp_secret_t *secret = apr_palloc(cmd->pool, sizeof(*secret));
    const char *rest = line;
    const char *source = ap_getword_conf(cmd->temp_pool, &rest);

    if (!*source || *rest) {
        return "Require smartsupp-token takes one source, file:PATH or "
               "env:NAME";
    }
    *parsed = secret;
    return smartsupp_source_read(secret, cmd, "Require smartsupp-token",
                                 source);
}

/* Whether an argument of the query string is the token. */
static int is_in_query(const request_rec *r, const smartsupp_secret_t *secret)
{
    const char *rest = r->args;
    int found = 0;

    while (rest && *rest) {
        char *argument = ap_getword(r->pool, &rest, '&');
        char *value = argument + strlen("token=");

        if (strncmp(argument, "token=", strlen("token=")) != 0) {
            continue;
        }
        /* as it stands too: of a token with a plus sign, say */
        found |= smartsupp_signature_is_token(value, strlen(value), secret);
        found |= ap_unescape_urlencoded(value) == OK &&
                 smartsupp_signature_is_token(value, strlen(value), secret);
    }
    return found;
}

static int is_bearer(const request_rec *r, const smartsupp_secret_t *secret)
{
    static const char scheme[] = "Bearer ";
    const char *value = apr_table_get(r->headers_in, "Authorization");

    if (!value || strncasecmp(value, scheme, strlen(scheme)) != 0) {
        return 0;
    }
    value += strlen(scheme);
    while (*value == ' ') {
        value++;
    }
    return smartsupp_signature_is_token(value, strlen(value), secret);
}

static int is_in_header(const request_rec *r, const smartsupp_secret_t *secret)
{
    const char *value = apr_table_get(r->headers_in, "X-Smartsupp-Token");

    return value && smartsupp_signature_is_token(value, strlen(value), secret);
}

static authz_status check(request_rec *r, const char *line, const void *parsed)
{
    const smartsupp_secret_t *secret = parsed;
    smartsupp_prefork_phase_e before =
        smartsupp_prefork_enter(SMARTSUPP_PREFORK_AT_WORK);
    int found = is_in_query(r, secret) || is_bearer(r, secret) ||
                is_in_header(r, secret);

    (void)line;
    smartsupp_prefork_enter(before);
    return found ? AUTHZ_GRANTED : AUTHZ_DENIED;
}

void smartsupp_token_register(apr_pool_t *pool)
{
    static const authz_provider provider = {check, parse};

    ap_register_auth_provider(pool, AUTHZ_PROVIDER_GROUP, "smartsupp-token",
                              AUTHZ_PROVIDER_VERSION, &provider,
                              AP_AUTH_INTERNAL_PER_CONF);
}
