/*
 * Digests of the bytes as received. The only user of OpenSSL.
 */
#ifndef SMARTSUPP_SIGNATURE_H
#define SMARTSUPP_SIGNATURE_H

#include <apr.h>

/* The length of a SHA-256 in hex, and its NUL. */
#define SMARTSUPP_SIGNATURE_HEX_SIZE 65

/**
 * The SHA-256 (FIPS 180-4) of length bytes, in lower-case hex.
 */
void smartsupp_signature_sha256(char hex[SMARTSUPP_SIGNATURE_HEX_SIZE],
                                const char *bytes, apr_size_t length);

#endif
