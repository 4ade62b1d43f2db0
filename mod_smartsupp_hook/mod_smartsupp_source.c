#include "mod_smartsupp_source.h"

#include <stdlib.h>
#include <string.h>

#include <apr_file_io.h>
#include <apr_strings.h>

/* No secret is longer; a file that is, is some other file. */
#define LONGEST 4096

static const char *wrong(const cmd_parms *cmd, const char *source,
                         const char *what)
{
    return apr_pstrcat(cmd->pool, source, ": ", what, NULL);
}

static const char *read_file(smartsupp_secret_t *secret, const cmd_parms *cmd,
                             const char *source)
{
    const char *path =
        ap_server_root_relative(cmd->temp_pool, source + strlen("file:"));
    char *bytes = apr_palloc(cmd->pool, LONGEST + 2);
    apr_size_t length = 0;
    apr_finfo_t info;
    apr_file_t *file;
    apr_status_t rv;

    if (path &&
        apr_stat(&info, path, APR_FINFO_TYPE, cmd->temp_pool) == APR_SUCCESS &&
        info.filetype != APR_REG) {
        return wrong(cmd, source, "is no file"); /* a fifo would block */
    }
    rv = path ? apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, 0,
                              cmd->temp_pool)
              : APR_EBADPATH;

    if (rv == APR_SUCCESS) {
        rv = apr_file_read_full(file, bytes, LONGEST + 2, &length);
        apr_file_close(file);
    }
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv)) {
        char words[120];

        return wrong(cmd, source, apr_strerror(rv, words, sizeof(words)));
    }
    if (length > 0 && bytes[length - 1] == '\n') {
        length--;
    }
    secret->bytes = bytes;
    secret->length = length;
    return NULL;
}

static const char *read_environment(smartsupp_secret_t *secret,
                                    const cmd_parms *cmd, const char *source)
{
    const char *value = getenv(source + strlen("env:"));

    if (!value) {
        return wrong(cmd, source,
                     "httpd's environment has no variable of that name");
    }
    secret->bytes = apr_pstrdup(cmd->pool, value);
    secret->length = strlen(value);
    return NULL;
}

static const char *read_source(smartsupp_secret_t *secret, const cmd_parms *cmd,
                               const char *source)
{
    if (!strncmp(source, "file:", strlen("file:"))) {
        return read_file(secret, cmd, source);
    }
    if (!strncmp(source, "env:", strlen("env:"))) {
        return read_environment(secret, cmd, source);
    }
    /* it may be the secret itself: not to be printed */
    return "neither file:PATH nor env:NAME; a secret itself is not taken here, "
           "because httpd prints directives";
}

const char *smartsupp_source_read(smartsupp_secret_t *secret,
                                  const cmd_parms *cmd, const char *directive,
                                  const char *source)
{
    const char *error = read_source(secret, cmd, source);

    if (!error && secret->length == 0) {
        error = wrong(cmd, source, "is empty");
    }
    if (!error && secret->length > LONGEST) {
        error = wrong(cmd, source, "is longer than 4096 bytes");
    }
    return error ? apr_pstrcat(cmd->pool, directive, ": ", error, NULL) : NULL;
}
