/*
 * `Require smartsupp-token SOURCE`: an authorization provider, to stand alone
 * or beside others in <RequireAny> and <RequireAll>. Grants requests that carry
 * the token as ?token=, as `Authorization: Bearer` (RFC 6750) or as
 * `X-Smartsupp-Token`.
 */
#ifndef MOD_SMARTSUPP_TOKEN_H
#define MOD_SMARTSUPP_TOKEN_H

#include <httpd.h>

/** Make the provider known. For register_hooks. */
void smartsupp_token_register(apr_pool_t *pool);

#endif
