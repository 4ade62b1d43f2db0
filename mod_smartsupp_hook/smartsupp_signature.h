/*
 * Digests, signatures and tokens: who may deliver. The only user of OpenSSL.
 *
 * Whatever is compared with a secret is compared in constant time, and what is
 * absent, empty or malformed never matches.
 */
#ifndef SMARTSUPP_SIGNATURE_H
#define SMARTSUPP_SIGNATURE_H

#include <apr.h>

/* The length of a SHA-256 in hex, and its NUL. */
#define SMARTSUPP_SIGNATURE_HEX_SIZE 65

/* The key of a signature, or a token. Not empty. */
typedef struct smartsupp_secret_t {
    const char *bytes;
    apr_size_t length;
} smartsupp_secret_t;

/* Those of which any one may match. */
typedef struct smartsupp_secrets_t {
    const smartsupp_secret_t *list;
    int count;
} smartsupp_secrets_t;

/* What became of a signature. */
typedef enum smartsupp_signature_e {
    SMARTSUPP_SIGNATURE_VALID,
    SMARTSUPP_SIGNATURE_MISSING,   /* there is none */
    SMARTSUPP_SIGNATURE_MALFORMED, /* not 64 hex digits */
    SMARTSUPP_SIGNATURE_WRONG      /* of none of the secrets */
} smartsupp_signature_e;

/**
 * The SHA-256 (FIPS 180-4) of length bytes, in lower-case hex.
 */
void smartsupp_signature_sha256(char hex[SMARTSUPP_SIGNATURE_HEX_SIZE],
                                const char *bytes, apr_size_t length);

/**
 * Verify the value of X-Smartsupp-Hmac: the HMAC-SHA256 (RFC 2104) of the body
 * under any of the secrets, in hex of either case.
 *
 * @param header the field's value, or NULL
 */
smartsupp_signature_e
smartsupp_signature_verify(const char *header,
                           const smartsupp_secrets_t *secrets, const char *body,
                           apr_size_t length);

/**
 * Whether a token that was given is the secret. Tells nothing by its time, the
 * length of the secret included.
 */
int smartsupp_signature_is_token(const char *given, apr_size_t length,
                                 const smartsupp_secret_t *secret);

#endif
