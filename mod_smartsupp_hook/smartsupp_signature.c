#include "smartsupp_signature.h"

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
