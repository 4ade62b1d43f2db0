/*
 * Any bytes as a file of the spool: as they are, and sealed, so that what is
 * wrong with them is not only their SHA-256. A header that is accepted is just
 * what the spool would have written; a file is read when it is whole, byte for
 * byte, and otherwise found damaged.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include <apr_strings.h>

#include "smartsupp_signature.h"
#include "smartsupp_spool.h"
#include "smartsupp_spool_header.h"

#define NAME "input"
#define CHECK "check "
#define CHECK_LINE (sizeof(CHECK) - 1 + SMARTSUPP_SHA256_HEX + 1)

/* The bytes of a file, and how many of them are lines of the header, above
 * its check. */
typedef struct image_t {
    char *bytes;
    size_t length;
    size_t lines;
} image_t;

static char top[256];
static const char *path; /* of the one file that is written and read */
static smartsupp_spool_usage_t usage;
static smartsupp_spool_t *spool;

static void remove_folders(void)
{
    static const char *const folders[] = {"/tmp", "/new", "/rejected", ""};
    char folder[sizeof(top) + 16];
    size_t i;

    unlink(path);
    for (i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(folder, sizeof(folder), "%s%s", top, folders[i]);
        rmdir(folder);
    }
}

static void make_spool(void)
{
    const char *temp = getenv("TMPDIR");
    const char *reason;

    snprintf(top, sizeof(top), "%s/smartsupp-fuzz-XXXXXX",
             temp ? temp : "/tmp");
    must(mkdtemp(top));
    path = apr_pstrcat(fuzz_pool, top, "/new/" NAME, NULL);
    spool = smartsupp_spool_create(top, 1 << 30, &usage, fuzz_pool);
    must(!smartsupp_spool_prepare(&reason, spool, geteuid(), getegid(),
                                  fuzz_pool));
    atexit(remove_folders);
}

static void write_file(const image_t *image)
{
    int file = open(path, O_WRONLY | O_CREAT, 0600);

    must(file >= 0);
    must(write(file, image->bytes, image->length) == (ssize_t)image->length);
    /* only now: ext4 writes to the disk what was cut to nothing first */
    must(ftruncate(file, (off_t)image->length) == 0);
    must(close(file) == 0);
}

/* At most 255 bytes without a control character. */
static int is_words(const char *text)
{
    const char *at;

    for (at = text; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            return 0;
        }
    }
    return at - text <= 255;
}

static void check_header(const smartsupp_spool_header_t *header,
                         const image_t *image)
{
    smartsupp_spool_header_t built = *header;
    char text[SMARTSUPP_SPOOL_HEADER_TEXT];

    must(header->received_at >= 1);
    must(header->received_at < APR_INT64_C(1) << 53);
    must((apr_int64_t)header->body_length < APR_INT64_C(1) << 40);
    must(header->body_offset <= image->length);
    must(header->body_offset < sizeof(text));
    must(strlen(header->body_sha256) == SMARTSUPP_SHA256_HEX);
    must(is_words(header->server) && is_words(header->reason));
    must(!smartsupp_spool_header_build(text, &built));
    must(built.body_offset == header->body_offset);
    must(!memcmp(text, image->bytes, header->body_offset));
}

/* Fewer bytes are no header, and more are the same one. */
static void check_length(const smartsupp_spool_header_t *header,
                         const image_t *image)
{
    char *exact = exact_copy(image->bytes, header->body_offset);
    smartsupp_spool_header_t other;

    must(!smartsupp_spool_parse(&other, exact, header->body_offset));
    must(other.body_offset == header->body_offset &&
         other.body_length == header->body_length &&
         other.received_at == header->received_at &&
         same_text(other.body_sha256, header->body_sha256) &&
         same_text(other.server, header->server) &&
         same_text(other.reason, header->reason));
    free(exact);
    exact = exact_copy(image->bytes, header->body_offset - 1);
    must(smartsupp_spool_parse(&other, exact, header->body_offset - 1) ==
         SMARTSUPP_ESPOOL_DAMAGED);
    free(exact);
    exact = exact_copy(image->bytes, header->body_offset - CHECK_LINE);
    must(smartsupp_spool_parse(&other, exact,
                               header->body_offset - CHECK_LINE) ==
         SMARTSUPP_ESPOOL_DAMAGED);
    free(exact);
}

static int is_whole(const smartsupp_spool_header_t *header,
                    const image_t *image)
{
    char hex[SMARTSUPP_SIGNATURE_HEX_SIZE];

    smartsupp_signature_sha256(hex, image->bytes + header->body_offset,
                               image->length - header->body_offset);
    return header->body_length == image->length - header->body_offset &&
           !strcmp(hex, header->body_sha256);
}

static void check_delivery(const smartsupp_delivery_t *delivery,
                           const smartsupp_spool_header_t *header,
                           const image_t *image)
{
    must(delivery->body_length == header->body_length);
    must(!memcmp(delivery->body, image->bytes + header->body_offset,
                 header->body_length));
    must(!delivery->body[header->body_length]);
    must(delivery->received_at == header->received_at);
    must(same_text(delivery->body_sha256, header->body_sha256));
    must(delivery->references == 1 && !delivery->conversation &&
         !delivery->event && !delivery->warnings);
}

static void check_image(const image_t *image)
{
    char *exact = exact_copy(image->bytes, image->length);
    smartsupp_delivery_t *delivery = NULL;
    smartsupp_spool_header_t header;
    const char *server = NULL;
    apr_status_t parsed = smartsupp_spool_parse(&header, exact, image->length);
    apr_status_t rv;

    free(exact);
    write_file(image);
    rv = smartsupp_spool_read(&delivery, &server, spool, NAME, fuzz_allocator);
    if (parsed == APR_SUCCESS) {
        check_header(&header, image);
        check_length(&header, image);
    }
    must(parsed == APR_SUCCESS || parsed == SMARTSUPP_ESPOOL_DAMAGED);
    if (parsed == APR_SUCCESS && is_whole(&header, image)) {
        must(rv == APR_SUCCESS);
        check_delivery(delivery, &header, image);
        must(same_text(server, header.server));
        smartsupp_delivery_release(delivery);
        return;
    }
    must(rv == SMARTSUPP_ESPOOL_DAMAGED);
    must(!delivery && !server);
}

static void append(image_t *image, const void *bytes, size_t length)
{
    memcpy(image->bytes + image->length, bytes, length);
    image->length += length;
}

static void append_line(image_t *image, const char *name, const char *value)
{
    append(image, name, strlen(name));
    append(image, value, strlen(value));
    append(image, "\n", 1);
}

/* Where the line of the check begins, or the end. */
static size_t find_check(const char *bytes, size_t length)
{
    size_t at;

    for (at = 0; at + sizeof(CHECK) <= length; at++) {
        if (!memcmp(bytes + at, "\n" CHECK, sizeof(CHECK))) {
            return at + 1;
        }
    }
    return length;
}

/* A copy of a line of the header, but the body's length and SHA-256 are those
 * that it has. */
static void append_true_line(image_t *image, const char *line, size_t length,
                             const image_t *body)
{
    char value[SMARTSUPP_SIGNATURE_HEX_SIZE];

    if (length >= 7 && !memcmp(line, "length ", 7)) {
        snprintf(value, sizeof(value), "%lu", (unsigned long)body->length);
        append_line(image, "length ", value);
    }
    else if (length >= 7 && !memcmp(line, "sha256 ", 7)) {
        smartsupp_signature_sha256(value, body->bytes, body->length);
        append_line(image, "sha256 ", value);
    }
    else {
        append(image, line, length);
    }
}

/* The input with a right check; with `true_lines` what its header says of the
 * body is true as well. The caller frees its bytes. */
static image_t seal(const char *bytes, size_t length, int true_lines)
{
    size_t lines = find_check(bytes, length);
    size_t start = lines + CHECK_LINE < length ? lines + CHECK_LINE : length;
    image_t body = {.bytes = exact_copy(bytes + start, length - start),
                    .length = length - start};
    image_t image = {0};
    char check[SMARTSUPP_SIGNATURE_HEX_SIZE];
    size_t at = 0;

    /* what is put in a line's place is 96 bytes at most, and eight are the
     * shortest of these lines */
    image.bytes = malloc(12 * length + 2 * CHECK_LINE);
    must(image.bytes);
    while (at < lines) {
        const char *newline = memchr(bytes + at, '\n', lines - at);
        size_t line = newline ? (size_t)(newline - bytes) + 1 - at : lines - at;

        if (true_lines) {
            append_true_line(&image, bytes + at, line, &body);
        }
        else {
            append(&image, bytes + at, line);
        }
        at += line;
    }
    smartsupp_signature_sha256(check, image.bytes, image.length);
    append_line(&image, CHECK, check);
    append(&image, body.bytes, body.length);
    free(body.bytes);
    return image;
}

/* Text is cut between two characters, where the longest one would fit. */
static void check_cut(const char *bytes, size_t length)
{
    char *text = text_copy(bytes, length);
    size_t whole = strlen(text);
    size_t last = length ? (unsigned char)bytes[length - 1] : 0;
    size_t max;

    for (max = last; max < last + 4; max++) {
        size_t kept = smartsupp_spool_header_cut(text, max);

        must(kept <= max && kept <= whole);
        must(whole <= max ? kept == whole : kept + 3 >= max);
        must(!is_utf8(text, whole) || is_utf8(text, kept));
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    image_t image = {.bytes = exact_copy(data, size), .length = size};

    if (!spool) {
        make_spool();
    }
    check_cut(bytes, size);
    check_image(&image);
    free(image.bytes);
    image = seal(bytes, size, 0);
    check_image(&image);
    free(image.bytes);
    image = seal(bytes, size, 1);
    check_image(&image);
    free(image.bytes);
    return 0;
}
