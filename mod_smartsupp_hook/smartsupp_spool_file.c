#include "smartsupp_spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "smartsupp_signature.h"

/* A file that was opened, whose header is right and promises just the bytes
 * that there are. */
typedef struct opened_t {
    int file;
    apr_int64_t size;
    char text[SMARTSUPP_SPOOL_HEADER_TEXT]; /* the first bytes */
    apr_size_t text_length;
    smartsupp_spool_header_t header;
} opened_t;

static apr_status_t write_all(int file, const char *bytes, apr_size_t length)
{
    while (length > 0) {
        ssize_t written = write(file, bytes, length);

        if (written < 0 && errno != EINTR) {
            return smartsupp_spool_file_error();
        }
        if (written > 0) {
            bytes += written;
            length -= (apr_size_t)written;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t fill(int file, const char *text, const char *body,
                         apr_size_t body_length)
{
    apr_status_t rv = write_all(file, text, strlen(text));

    if (rv == APR_SUCCESS) {
        rv = write_all(file, body, body_length);
    }
    if (rv == APR_SUCCESS && fsync(file) != 0) {
        rv = smartsupp_spool_file_error();
    }
    return rv;
}

static apr_status_t read_all(int file, char *bytes, apr_size_t length)
{
    while (length > 0) {
        ssize_t taken = read(file, bytes, length);

        if (taken == 0) {
            return SMARTSUPP_ESPOOL_DAMAGED; /* shorter than it just was */
        }
        if (taken < 0 && errno != EINTR) {
            return smartsupp_spool_file_error();
        }
        if (taken > 0) {
            bytes += taken;
            length -= (apr_size_t)taken;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t read_header(opened_t *opened)
{
    smartsupp_spool_header_t *header = &opened->header;
    struct stat info;
    apr_status_t rv;

    if (fstat(opened->file, &info) != 0) {
        return smartsupp_spool_file_error();
    }
    if (!S_ISREG(info.st_mode)) {
        return SMARTSUPP_ESPOOL_DAMAGED;
    }
    opened->size = info.st_size;
    opened->text_length = opened->size < (apr_int64_t)sizeof(opened->text)
                              ? (apr_size_t)opened->size
                              : sizeof(opened->text);
    rv = read_all(opened->file, opened->text, opened->text_length);
    if (rv == APR_SUCCESS) {
        rv = smartsupp_spool_parse(header, opened->text, opened->text_length);
    }
    if (rv == APR_SUCCESS &&
        (apr_int64_t)header->body_offset + (apr_int64_t)header->body_length !=
            opened->size) {
        rv = SMARTSUPP_ESPOOL_DAMAGED;
    }
    return rv;
}

static apr_status_t open_file(opened_t *opened, const char *path)
{
    apr_status_t rv;

    memset(opened, 0, sizeof(*opened));
    /* A fifo would block, a terminal would become ours. */
    opened->file =
        open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (opened->file < 0) {
        /* A symbolic link; a socket. */
        return errno == ELOOP || errno == EMLINK || errno == ENXIO
                   ? SMARTSUPP_ESPOOL_DAMAGED
                   : smartsupp_spool_file_error();
    }
    rv = read_header(opened);
    if (rv != APR_SUCCESS) {
        close(opened->file);
    }
    return rv;
}

static apr_status_t read_body(smartsupp_delivery_t *delivery,
                              const opened_t *opened)
{
    const smartsupp_spool_header_t *header = &opened->header;
    apr_size_t there = opened->text_length - header->body_offset;
    char *body = apr_palloc(delivery->pool, header->body_length + 1);
    apr_status_t rv;

    if (!body) {
        return APR_ENOMEM;
    }
    memcpy(body, opened->text + header->body_offset, there);
    body[header->body_length] = '\0';
    rv = read_all(opened->file, body + there, header->body_length - there);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    smartsupp_signature_sha256(delivery->body_sha256, body,
                               header->body_length);
    delivery->body = body;
    delivery->body_length = header->body_length;
    delivery->received_at = header->received_at;
    return strcmp(delivery->body_sha256, header->body_sha256) == 0
               ? APR_SUCCESS
               : SMARTSUPP_ESPOOL_DAMAGED;
}

apr_status_t smartsupp_spool_file_error(void)
{
    return errno == 0        ? APR_EGENERAL
           : errno == EDQUOT ? APR_ENOSPC
                             : APR_FROM_OS_ERROR(errno);
}

apr_status_t smartsupp_spool_file_write(const char *path, const char *text,
                                        const char *body,
                                        apr_size_t body_length)
{
    apr_status_t rv;
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    S_IRUSR | S_IWUSR);

    if (file < 0) {
        return smartsupp_spool_file_error();
    }
    rv = fill(file, text, body, body_length);
    if (close(file) != 0 && rv == APR_SUCCESS) {
        rv = smartsupp_spool_file_error();
    }
    if (rv != APR_SUCCESS) {
        unlink(path);
    }
    return rv;
}

apr_status_t smartsupp_spool_file_read(smartsupp_delivery_t **delivery,
                                       smartsupp_spool_header_t *header,
                                       const char *path,
                                       apr_allocator_t *allocator)
{
    opened_t opened;
    apr_status_t rv = open_file(&opened, path);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    *header = opened.header;
    *delivery = NULL;
    rv = smartsupp_delivery_create(delivery, allocator);
    if (rv == APR_SUCCESS) {
        rv = read_body(*delivery, &opened);
    }
    if (rv != APR_SUCCESS && *delivery) {
        smartsupp_delivery_release(*delivery);
        *delivery = NULL;
    }
    close(opened.file);
    return rv;
}

int smartsupp_spool_file_holds(const char *path,
                               const smartsupp_delivery_t *delivery)
{
    char bytes[8192];
    opened_t opened;
    apr_size_t left = delivery->body_length;
    const char *body = delivery->body;
    int same = 1;

    if (open_file(&opened, path) != APR_SUCCESS) {
        return 0;
    }
    if (opened.header.body_length != left ||
        lseek(opened.file, (off_t)opened.header.body_offset, SEEK_SET) < 0) {
        same = 0;
    }
    while (same && left > 0) {
        apr_size_t part = left < sizeof(bytes) ? left : sizeof(bytes);

        same = read_all(opened.file, bytes, part) == APR_SUCCESS &&
               memcmp(bytes, body, part) == 0;
        body += part;
        left -= part;
    }
    close(opened.file);
    return same &&
           strcmp(opened.header.body_sha256, delivery->body_sha256) == 0;
}

apr_status_t smartsupp_spool_file_sync(const char *path, int kind)
{
    apr_status_t rv = APR_SUCCESS;
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | kind);

    if (file < 0) {
        return smartsupp_spool_file_error();
    }
    if (fsync(file) != 0) {
        rv = smartsupp_spool_file_error();
    }
    close(file);
    return rv;
}
