#include "mod_smartsupp_remedy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>
#include <httpd.h>

/* Primary result codes of SQLite (sqlite.org/rescode.html). */
#define SQLITE_BUSY 5
#define SQLITE_IOERR 10
#define SQLITE_FULL 13
#define SQLITE_NOTADB 26

/* The first of the database's files that this process cannot write, or NULL. */
static const char *unwritable(const char *file, apr_pool_t *pool)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    size_t i;

    for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        const char *name = apr_pstrcat(pool, file, suffixes[i], NULL);

        if (access(name, F_OK) == 0 && access(name, R_OK | W_OK) != 0) {
            return name;
        }
    }
    return NULL;
}

/* What an administrator can do about a SQLite file, asked of the file system
 * by the user that has to write it. */
static const char *sqlite_remedy(const char *path,
                                 const smartsupp_sql_error_t *error,
                                 apr_pool_t *pool)
{
    const char *folder = ap_make_dirstr_parent(pool, path);
    const char *file = unwritable(path, pool);

    if (*path != '/') {
        return "DBDParams must be the absolute path of a file";
    }
    if (access(folder, F_OK) != 0) {
        return "its folder is missing: create it, owned by the user that "
               "httpd runs as";
    }
    if (access(folder, W_OK) != 0 && errno == EROFS) {
        return "its file system is mounted read-only";
    }
    switch (atoi(error->code) & 0xff) {
    case SQLITE_BUSY:
        return "another process holds its write lock: end it";
    case SQLITE_FULL:
        return "its disk is full: make room";
    case SQLITE_IOERR:
        return "its -wal or -shm was deleted or replaced while in use, or the "
               "disk fails: restart httpd gracefully";
    case SQLITE_NOTADB:
        return "the file that DBDParams names is no SQLite database";
    default:
        break;
    }
    if (access(folder, W_OK | X_OK) != 0) {
        return "its folder is not writable, and SQLite keeps two more files "
               "there: give the folder to the user that httpd runs as";
    }
    if (file) {
        return apr_pstrcat(pool, file,
                           " is not writable: give it to the user that httpd "
                           "runs as, and restart httpd gracefully",
                           NULL);
    }
    return "if all of its files are writable again, restart httpd gracefully; "
           "see the README under this tag";
}

const char *smartsupp_remedy(const char *driver, const char *params,
                             const smartsupp_sql_error_t *error,
                             apr_pool_t *pool)
{
    if (!driver) {
        return "add DBDriver and DBDParams to its server";
    }
    if (error->error_class == SMARTSUPP_SQL_STALE) {
        return "see SmartsuppSchema";
    }
    return !strcasecmp(driver, "sqlite3") && params
               ? sqlite_remedy(params, error, pool)
               : "see the README under this tag";
}
