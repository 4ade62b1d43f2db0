/*
 * What the fuzz targets share. Each is one file with LLVMFuzzerTestOneInput,
 * which any bytes are given to, and which ends the program where something
 * does not hold that must. It is linked twice: with libFuzzer (`make fuzz`),
 * and with replay.c, which gives it the seeds (t/050-fuzz-seeds-hold.t).
 */
#ifndef SMARTSUPP_FUZZ_H
#define SMARTSUPP_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_allocator.h>
#include <apr_pools.h>

/* What must hold. */
#define must(condition)                                                        \
    ((condition) ? (void)0 : does_not_hold(#condition, __FILE__, __LINE__))

static inline void does_not_hold(const char *condition, const char *file,
                                 int line)
{
    fprintf(stderr, "%s:%d: this must hold: %s\n", file, line, condition);
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Both live as long as the program; see memory.c. */
extern apr_pool_t *fuzz_pool;
extern apr_allocator_t *fuzz_allocator;

/* How many times apr_palloc was called, and which call of those to come gets
 * NULL: 0 is the next one, -1 none. */
extern int fuzz_requests;
extern int fuzz_requests_until_failure;

/* A copy with not a byte to spare, so that a sanitizer sees any read past its
 * end. */
static inline char *exact_copy(const void *bytes, size_t length)
{
    char *copy = malloc(length ? length : 1);

    must(copy);
    if (length) {
        memcpy(copy, bytes, length);
    }
    return copy;
}

/* The same, with a NUL after it. */
static inline char *text_copy(const void *bytes, size_t length)
{
    char *copy = malloc(length + 1);

    must(copy);
    if (length) {
        memcpy(copy, bytes, length);
    }
    copy[length] = '\0';
    return copy;
}

static inline int same_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

/* The length of the UTF-8 character at `at`, or 0 where there is none: by the
 * code point that it gives (RFC 3629, section 3), not by the bytes that may
 * follow each other, which is how smartsupp_json tells. */
static inline size_t utf8_character(const char *at, const char *end)
{
    static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)*at;
    size_t length = lead < 0x80   ? 1
                    : lead < 0xc0 ? 0
                    : lead < 0xe0 ? 2
                    : lead < 0xf0 ? 3
                    : lead < 0xf8 ? 4
                                  : 0;
    unsigned long point = length < 2 ? lead : lead & (0x7fu >> length);
    size_t i;

    if (length > (size_t)(end - at)) {
        return 0;
    }
    for (i = 1; i < length; i++) {
        if (((unsigned char)at[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | ((unsigned char)at[i] & 0x3f);
    }
    return length && point >= least[length] && point <= 0x10ffff &&
                   (point < 0xd800 || point > 0xdfff)
               ? length
               : 0;
}

static inline int is_utf8(const char *text, size_t length)
{
    const char *end = text + length;

    while (text < end) {
        size_t character = utf8_character(text, end);

        if (!character) {
            return 0;
        }
        text += character;
    }
    return 1;
}

#endif
