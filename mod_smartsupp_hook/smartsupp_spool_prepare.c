#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>
#include <apr_user.h>

#include "smartsupp_spool_file.h"

/* One of the four folders. */
typedef struct place_t {
    int parent;       /* open, or AT_FDCWD where the name is a path */
    const char *name; /* in the parent */
    const char *path; /* for reasons */
    uid_t uid;
    gid_t gid;
    int made; /* by us, just now */
} place_t;

static const char *system_words(apr_status_t rv, apr_pool_t *pool)
{
    char words[128];

    return apr_pstrdup(pool, apr_strerror(rv, words, sizeof(words)));
}

static const char *user_words(uid_t uid, apr_pool_t *pool)
{
    char *name;

    return apr_uid_name_get(&name, uid, pool) == APR_SUCCESS
               ? name
               : apr_psprintf(pool, "%ld", (long)uid);
}

static const char *parent_path(const char *path, apr_pool_t *pool)
{
    const char *slash = strrchr(path, '/');

    if (!slash) {
        return ".";
    }
    return slash == path
               ? "/"
               : apr_pstrmemdup(pool, path, (apr_size_t)(slash - path));
}

static int is_empty(int folder)
{
    int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *entry;
    int found = 0;
    DIR *dir;

    if (again < 0) {
        return 0;
    }
    dir = fdopendir(again);
    if (!dir) {
        close(again);
        return 0;
    }
    while (!found && (entry = readdir(dir)) != NULL) {
        found =
            strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(dir);
    return !found;
}

/* Make the folder where there is nothing of that name. */
static apr_status_t make(const char **reason, place_t *place, apr_pool_t *pool)
{
    apr_status_t rv;

    if (mkdirat(place->parent, place->name, S_IRWXU) == 0) {
        place->made = 1;
        return APR_SUCCESS;
    }
    rv = smartsupp_spool_file_error();
    if (APR_STATUS_IS_EEXIST(rv)) {
        return APR_SUCCESS; /* another process was faster */
    }
    if (APR_STATUS_IS_ENOENT(rv)) {
        *reason = apr_psprintf(pool,
                               "%s cannot be made, because the folder %s does "
                               "not exist: make that one first",
                               place->path, parent_path(place->path, pool));
        return rv;
    }
    *reason = apr_psprintf(pool,
                           "the folder %s cannot be made: %s; make it, give it "
                           "to the user %s, and let it have mode 0700",
                           place->path, system_words(rv, pool),
                           user_words(place->uid, pool));
    return rv;
}

/* See what has that name, before it is opened. */
static apr_status_t find_or_make(const char **reason, place_t *place,
                                 apr_pool_t *pool)
{
    struct stat info;
    apr_status_t rv;

    if (fstatat(place->parent, place->name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        rv = smartsupp_spool_file_error();
        if (APR_STATUS_IS_ENOENT(rv)) {
            return make(reason, place, pool);
        }
        *reason = apr_psprintf(pool,
                               "the folder %s cannot be looked at: %s; let the "
                               "user %s enter the folders above it",
                               place->path, system_words(rv, pool),
                               user_words(place->uid, pool));
        return rv;
    }
    if (S_ISLNK(info.st_mode)) {
        *reason =
            apr_psprintf(pool,
                         "%s is a symbolic link, and could lead elsewhere "
                         "any time: put a folder in its place, or name "
                         "the folder that it leads to",
                         place->path);
        return APR_EGENERAL;
    }
    if (!S_ISDIR(info.st_mode)) {
        *reason = apr_psprintf(pool,
                               "%s is not a folder: move it away, or name "
                               "another place",
                               place->path);
        return APR_ENOTDIR;
    }
    return APR_SUCCESS;
}

static apr_status_t not_ours(const char **reason, const place_t *place,
                             uid_t owner, apr_pool_t *pool)
{
    const char *user = user_words(place->uid, pool);

    *reason = apr_psprintf(pool,
                           "the folder %s belongs to the user %s, not to %s: "
                           "give it away with \"chown -R %s %s\", or name "
                           "another",
                           place->path, user_words(owner, pool), user, user,
                           place->path);
    return APR_EACCES;
}

/* Make the open folder the user's, and nobody else's to read. */
static apr_status_t make_private(const char **reason, const place_t *place,
                                 int folder, apr_pool_t *pool)
{
    int is_root = geteuid() == 0;
    struct stat info;
    apr_status_t rv;

    if (fstat(folder, &info) != 0) {
        rv = smartsupp_spool_file_error();
        *reason = apr_psprintf(pool, "the folder %s cannot be looked at: %s",
                               place->path, system_words(rv, pool));
        return rv;
    }
    if (info.st_uid != place->uid &&
        (!is_root || info.st_uid != 0 || !is_empty(folder))) {
        return not_ours(reason, place, info.st_uid, pool);
    }
    if (is_root && (info.st_uid != place->uid || place->made) &&
        fchown(folder, place->uid, place->gid) != 0) {
        rv = smartsupp_spool_file_error();
        *reason = apr_psprintf(
            pool, "the folder %s cannot be given to the user %s: %s",
            place->path, user_words(place->uid, pool), system_words(rv, pool));
        return rv;
    }
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0 &&
        fchmod(folder, info.st_mode & S_IRWXU) != 0) {
        rv = smartsupp_spool_file_error();
        *reason =
            apr_psprintf(pool,
                         "the mode of the folder %s cannot be narrowed: "
                         "%s; do it with \"chmod 0700 %s\"",
                         place->path, system_words(rv, pool), place->path);
        return rv;
    }
    return APR_SUCCESS;
}

static apr_status_t sync_open(const char **reason, const place_t *place,
                              int folder, apr_pool_t *pool)
{
    apr_status_t rv;

    if (fsync(folder) == 0) {
        return APR_SUCCESS;
    }
    rv = smartsupp_spool_file_error();
    *reason = apr_psprintf(pool,
                           "the folder %s cannot be synced to the disk: %s; "
                           "name one on a local file system",
                           place->path, system_words(rv, pool));
    return rv;
}

/* Make one of the four what it should be, and open it. */
static apr_status_t settle(int *folder, const char **reason, place_t *place,
                           apr_pool_t *pool)
{
    apr_status_t rv = find_or_make(reason, place, pool);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    *folder = openat(place->parent, place->name,
                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*folder < 0) {
        rv = smartsupp_spool_file_error();
        *reason = apr_psprintf(pool,
                               "the folder %s cannot be opened: %s; let it "
                               "belong to the user %s and have mode 0700",
                               place->path, system_words(rv, pool),
                               user_words(place->uid, pool));
        return rv;
    }
    rv = make_private(reason, place, *folder, pool);
    if (rv == APR_SUCCESS) {
        rv = sync_open(reason, place, *folder, pool);
    }
    if (rv != APR_SUCCESS) {
        close(*folder);
    }
    return rv;
}

/* The three in the open one; through it, so that nobody can put another in its
 * place meanwhile and have root make folders there. */
static apr_status_t settle_inner(const char **reason, const place_t *spool,
                                 int folder, apr_pool_t *pool)
{
    static const char *const names[] = {"tmp", "new", "rejected"};
    apr_size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        place_t place = *spool;
        apr_status_t rv;
        int inner;

        place.parent = folder;
        place.name = names[i];
        place.path = apr_pstrcat(pool, spool->path, "/", names[i], NULL);
        place.made = 0;
        rv = settle(&inner, reason, &place, pool);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        close(inner);
    }
    return sync_open(reason, spool, folder, pool);
}

apr_status_t smartsupp_spool_prepare(const char **reason,
                                     const smartsupp_spool_t *spool, uid_t uid,
                                     gid_t gid, apr_pool_t *pool)
{
    const char *path = smartsupp_spool_path(spool);
    const char *above = parent_path(path, pool);
    place_t place = {AT_FDCWD, path, path, uid, gid, 0};
    apr_status_t rv;
    int folder;

    *reason = NULL;
    rv = settle(&folder, reason, &place, pool);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = settle_inner(reason, &place, folder, pool);
    close(folder);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* One that we may not read was not changed by us. */
    rv = smartsupp_spool_file_sync(above, O_DIRECTORY);
    if (rv != APR_SUCCESS && place.made) {
        *reason =
            apr_psprintf(pool,
                         "the folder %s cannot be synced to the disk: "
                         "%s; let the user %s read it",
                         above, system_words(rv, pool), user_words(uid, pool));
        return rv;
    }
    return APR_SUCCESS;
}
