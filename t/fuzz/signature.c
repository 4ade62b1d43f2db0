/*
 * Signatures and tokens of any bytes: the first line of the input is what
 * stands in the header, the rest is the body. A signature is right when it is
 * the HMAC-SHA256 of the body, reckoned here as RFC 2104 tells, and only then.
 */
#include "fuzz.h"

#include <ctype.h>

#include "smartsupp_signature.h"

#define DIGITS "0123456789abcdefABCDEF"
#define HEX_LENGTH (SMARTSUPP_SIGNATURE_HEX_SIZE - 1)
#define BLOCK 64
#define DIGEST 32

static const char current[] = "the current one";
/* Longer than a block: it is hashed first. */
static const char former[] = "the former one, which was chosen by somebody who "
                             "had read that longer is better";
static const smartsupp_secret_t secrets[] = {{current, sizeof(current) - 1},
                                             {former, sizeof(former) - 1}};
static const smartsupp_secrets_t both = {secrets, 2};
static const smartsupp_secrets_t none = {NULL, 0};

/* A body, and its signature under each secret. */
typedef struct right_t {
    const char *body;
    size_t length;
    char hex[2][SMARTSUPP_SIGNATURE_HEX_SIZE];
} right_t;

static smartsupp_signature_e
verify(const char *header, const smartsupp_secrets_t *any, const right_t *right)
{
    return smartsupp_signature_verify(header, any, right->body, right->length);
}

/* The SHA-256 of the two after each other. */
static void sha256(unsigned char digest[DIGEST], const void *a, size_t a_length,
                   const void *b, size_t b_length)
{
    char *bytes = malloc(a_length + b_length + 1);
    char hex[SMARTSUPP_SIGNATURE_HEX_SIZE];
    int i;

    must(bytes);
    memcpy(bytes, a, a_length);
    if (b_length) {
        memcpy(bytes + a_length, b, b_length);
    }
    smartsupp_signature_sha256(hex, bytes, a_length + b_length);
    must(strlen(hex) == HEX_LENGTH);
    for (i = 0; i < DIGEST; i++) {
        char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        digest[i] = (unsigned char)strtoul(byte, NULL, 16);
    }
    free(bytes);
}

static void hmac(char hex[SMARTSUPP_SIGNATURE_HEX_SIZE],
                 const smartsupp_secret_t *secret, const char *body,
                 size_t length)
{
    unsigned char key[BLOCK] = {0};
    unsigned char inner[BLOCK];
    unsigned char outer[BLOCK];
    unsigned char digest[DIGEST];
    int i;

    if (secret->length > BLOCK) {
        sha256(key, secret->bytes, secret->length, NULL, 0);
    }
    else {
        memcpy(key, secret->bytes, secret->length);
    }
    for (i = 0; i < BLOCK; i++) {
        inner[i] = key[i] ^ 0x36;
        outer[i] = key[i] ^ 0x5c;
    }
    sha256(digest, inner, BLOCK, body, length);
    sha256(digest, outer, BLOCK, digest, DIGEST);
    for (i = 0; i < DIGEST; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

static int same_but_case(const char *a, const char *b)
{
    for (; *a && tolower((unsigned char)*a) == *b; a++, b++) {
    }
    return !*a && !*b;
}

static smartsupp_signature_e expected(const char *header, const right_t *right)
{
    int i;

    if (!*header) {
        return SMARTSUPP_SIGNATURE_MISSING;
    }
    if (strlen(header) != HEX_LENGTH || strspn(header, DIGITS) != HEX_LENGTH) {
        return SMARTSUPP_SIGNATURE_MALFORMED;
    }
    for (i = 0; i < both.count; i++) {
        if (same_but_case(header, right->hex[i])) {
            return SMARTSUPP_SIGNATURE_VALID;
        }
    }
    return SMARTSUPP_SIGNATURE_WRONG;
}

/* The right signature in any case, and all that is nearly right. The bytes at
 * `choice` tell which digit is in which case, and which one is made wrong. */
static void check_right(const right_t *right, const char *choice,
                        size_t choices)
{
    int i = choices ? choice[choices - 1] & 1 : 0;
    size_t at = choices ? (unsigned char)choice[0] % HEX_LENGTH : 0;
    smartsupp_secrets_t only = {&secrets[i], 1};
    char hex[SMARTSUPP_SIGNATURE_HEX_SIZE];
    char digit;
    size_t n;

    memcpy(hex, right->hex[i], sizeof(hex));
    for (n = 0; n < HEX_LENGTH && n < choices; n++) {
        if (choice[n] & 1) {
            hex[n] = (char)toupper((unsigned char)hex[n]);
        }
    }
    must(verify(hex, &both, right) == SMARTSUPP_SIGNATURE_VALID);
    must(verify(hex, &only, right) == SMARTSUPP_SIGNATURE_VALID);
    must(verify(hex, &none, right) == SMARTSUPP_SIGNATURE_WRONG);
    digit = hex[at];
    hex[at] = digit == '0' ? '1' : '0';
    must(verify(hex, &only, right) == SMARTSUPP_SIGNATURE_WRONG);
    hex[at] = 'g';
    must(verify(hex, &only, right) == SMARTSUPP_SIGNATURE_MALFORMED);
    hex[at] = digit;
    hex[HEX_LENGTH - 1] = '\0';
    must(verify(hex, &only, right) == SMARTSUPP_SIGNATURE_MALFORMED);
}

/* A token is the secret, byte for byte, and nothing else is. */
static void check_token(const char *given, size_t given_length,
                        const char *bytes, size_t length)
{
    smartsupp_secret_t secret = {bytes, length};
    char *copy;

    if (!length) {
        return; /* no secret is empty */
    }
    must(smartsupp_signature_is_token(given, given_length, &secret) ==
         (given_length == length && !memcmp(given, bytes, length)));
    must(smartsupp_signature_is_token(bytes, length, &secret));
    must(!smartsupp_signature_is_token(bytes, length - 1, &secret));
    must(!smartsupp_signature_is_token("", 0, &secret));
    copy = exact_copy(bytes, length);
    copy[length / 2] = (char)(copy[length / 2] ^ 0x20);
    must(!smartsupp_signature_is_token(copy, length, &secret));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    const char *newline = size ? memchr(bytes, '\n', size) : NULL;
    size_t header_length = newline ? (size_t)(newline - bytes) : size;
    size_t length = newline ? size - header_length - 1 : 0;
    char *header = text_copy(bytes, header_length);
    char *body = exact_copy(newline ? newline + 1 : bytes, length);
    right_t right = {.body = body, .length = length};
    int i;

    for (i = 0; i < both.count; i++) {
        hmac(right.hex[i], &secrets[i], body, length);
    }
    must(verify(header, &both, &right) == expected(header, &right));
    must(verify(NULL, &both, &right) == SMARTSUPP_SIGNATURE_MISSING);
    check_right(&right, header, header_length);
    check_token(header, header_length, body, length);
    check_token(body, length, header, header_length);
    check_token(body, length, secrets[0].bytes, secrets[0].length);
    free(body);
    free(header);
    return 0;
}
