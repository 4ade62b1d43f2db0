#include "smartsupp_signature.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

void smartsupp_signature_sha256(char hex[SMARTSUPP_SIGNATURE_HEX_SIZE],
                                const char *bytes, apr_size_t length)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    int i;

    SHA256((const unsigned char *)bytes, length, digest);
    for (i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * SHA256_DIGEST_LENGTH] = '\0';
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* @return whether the text is a digest in hex, and nothing else */
static int parse_digest(unsigned char digest[SHA256_DIGEST_LENGTH],
                        const char *text)
{
    int i;

    if (strlen(text) != 2 * SHA256_DIGEST_LENGTH) {
        return 0;
    }
    for (i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return 0;
        }
        digest[i] = (unsigned char)(high << 4 | low);
    }
    return 1;
}

smartsupp_signature_e
smartsupp_signature_verify(const char *header,
                           const smartsupp_secrets_t *secrets, const char *body,
                           apr_size_t length)
{
    unsigned char given[SHA256_DIGEST_LENGTH];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    int matches = 0;
    int i;

    if (!header || !*header) {
        return SMARTSUPP_SIGNATURE_MISSING;
    }
    if (!parse_digest(given, header)) {
        return SMARTSUPP_SIGNATURE_MALFORMED;
    }
    for (i = 0; i < secrets->count; i++) {
        const smartsupp_secret_t *secret = &secrets->list[i];

        /* all of them, so that the time does not tell which one it was */
        if (HMAC(EVP_sha256(), secret->bytes, (int)secret->length,
                 (const unsigned char *)body, length, digest, &size)) {
            matches |= !CRYPTO_memcmp(given, digest, sizeof(given));
        }
    }
    OPENSSL_cleanse(digest, sizeof(digest));
    return matches ? SMARTSUPP_SIGNATURE_VALID : SMARTSUPP_SIGNATURE_WRONG;
}

int smartsupp_signature_is_token(const char *given, apr_size_t length,
                                 const smartsupp_secret_t *secret)
{
    unsigned char a[SHA256_DIGEST_LENGTH];
    unsigned char b[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)given, length, a);
    SHA256((const unsigned char *)secret->bytes, secret->length, b);
    return length > 0 && !CRYPTO_memcmp(a, b, sizeof(a));
}
