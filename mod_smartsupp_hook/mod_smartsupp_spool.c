#include "mod_smartsupp_spool.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>
#include <ap_mpm.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <unixd.h>

#include "mod_smartsupp_config.h"
#include "mod_smartsupp_dbd.h"
#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_shared.h"

APLOG_USE_MODULE(smartsupp_hook);

smartsupp_spool_t *smartsupp_spools_of(const server_rec *server)
{
    return smartsupp_config_runtime(server)->spool;
}

const char *smartsupp_spools_words(apr_status_t status, apr_pool_t *pool)
{
    char words[120];

    if (status == SMARTSUPP_ESPOOL_FULL) {
        return "rejected/ has a quarter of SmartsuppSpoolMaxSize: delete what "
               "is of no use there";
    }
    if (APR_STATUS_IS_ENOSPC(status)) {
        return "it has SmartsuppSpoolMaxSize, or its disk is full";
    }
    return apr_pstrdup(pool, apr_strerror(status, words, sizeof(words)));
}

/* In a process of its own: become the children's user, and try. */
static int probe_as_user(const smartsupp_spool_t *spool)
{
    if (initgroups(ap_unixd_config.user_name, ap_unixd_config.group_id) != 0 ||
        setgid(ap_unixd_config.group_id) != 0 ||
        setuid(ap_unixd_config.user_id) != 0) {
        return errno;
    }
    return smartsupp_spool_probe(spool);
}

/* Whether the children will be able to write there. */
static apr_status_t probe(const smartsupp_spool_t *spool)
{
    pid_t pid;
    int status = 0;

    if (geteuid() != 0) {
        return smartsupp_spool_probe(spool);
    }
    pid = fork();
    if (pid < 0) {
        return errno;
    }
    if (pid == 0) {
        _exit(probe_as_user(spool) & 0xff);
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return errno;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : APR_EGENERAL;
}

static apr_status_t make_folders(server_rec *server, smartsupp_spool_t *spool,
                                 apr_pool_t *ptemp)
{
    const char *path = smartsupp_spool_path(spool);
    const char *reason = NULL;
    int is_root = geteuid() == 0; /* else User and Group mean nothing */
    apr_status_t rv = smartsupp_spool_prepare(
        &reason, spool, is_root ? ap_unixd_config.user_id : geteuid(),
        is_root ? ap_unixd_config.group_id : getegid(), ptemp);

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, rv, server,
                     "SMARTSUPP0401: SmartsuppSpool %s cannot be used: %s",
                     path, reason);
        return rv;
    }
    rv = probe(spool);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, rv, server,
                     "SMARTSUPP0402: SmartsuppSpool %s cannot be written by "
                     "the user that httpd runs as",
                     path);
    }
    return rv;
}

void smartsupp_spools_tell_left(const server_rec *server, int left)
{
    if (left > 0) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                     "SMARTSUPP0506: files in tmp/ that a crash had left: %d; "
                     "whole ones wait in new/ now, others are in rejected/",
                     left);
    }
}

static int is_restart(void)
{
    int generation = 0;

    ap_mpm_query(AP_MPMQ_GENERATION, &generation);
    return generation > 0;
}

static int is_threaded(void)
{
    int threaded = 0;

    ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
    return threaded != AP_MPMQ_NOT_SUPPORTED;
}

/* The spool of that folder, for the server that is the first to name it. NULL:
 * the start must fail, and the log tells why. */
static smartsupp_spool_t *open_spool(server_rec *server, const char *path,
                                     apr_pool_t *pconf, apr_pool_t *ptemp)
{
    smartsupp_spool_usage_t *usage = smartsupp_shared_record(
        apr_pstrcat(ptemp, "spool 1 ", path, NULL), sizeof(*usage), server);
    smartsupp_spool_t *spool;

    if (!usage) {
        return NULL;
    }
    spool = smartsupp_spool_create(
        path, smartsupp_config_spool_max_size(server), usage, pconf);
    if (is_threaded()) {
        /* where it cannot be had, each syncs alone */
        (void)smartsupp_spool_share_syncs(spool, pconf);
    }
    if (make_folders(server, spool, ptemp) == APR_SUCCESS) {
        apr_array_header_t *names;
        int left = 0;

        /* so that its size is known before the first delivery */
        smartsupp_spool_scan(&names, &left, spool, 1, ptemp);
        smartsupp_spools_tell_left(server, left);
        return spool;
    }
    return is_restart() ? spool : NULL;
}

/* Whether two paths are those of one folder, by whatever names. */
static int is_same(const char *one, const char *other)
{
    struct stat a;
    struct stat b;

    return !strcmp(one, other) ||
           (stat(one, &a) == 0 && stat(other, &b) == 0 &&
            a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* A server before this one with the same folder, or NULL. */
static server_rec *owner_of(const char *path, server_rec *main_server,
                            const server_rec *end)
{
    server_rec *server;

    for (server = main_server; server; server = server->next) {
        const char *known = smartsupp_config_spool_path(server);

        if (server != end && known && smartsupp_spools_of(server) &&
            is_same(known, path)) {
            return server;
        }
    }
    return NULL;
}

/* Give a server its spool. @return OK, or the start must fail */
static int assign(server_rec *server, server_rec *main_server,
                  apr_pool_t *pconf, apr_pool_t *ptemp)
{
    smartsupp_runtime_t *runtime = smartsupp_config_runtime(server);
    const char *path = smartsupp_config_spool_path(server);
    server_rec *owner;

    if (!path || runtime->spool || !smartsupp_dbd_breaker(server)) {
        return OK;
    }
    owner = owner_of(path, main_server, server);
    if (!owner) {
        runtime->spool = open_spool(server, path, pconf, ptemp);
        return runtime->spool ? OK : HTTP_INTERNAL_SERVER_ERROR;
    }
    if (smartsupp_dbd_same(server, owner)) {
        runtime->spool = smartsupp_spools_of(owner);
    }
    else if (runtime->receives) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "SMARTSUPP0403: SmartsuppSpool %s belongs to %s, which "
                     "stores in another database: %s has no spool; give it a "
                     "folder of its own",
                     path, owner->server_hostname, server->server_hostname);
    }
    return OK;
}

int smartsupp_spools_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                 apr_pool_t *ptemp, server_rec *main_server)
{
    server_rec *server;
    int receives;

    (void)plog;
    /* those that receive first: theirs is the database of a folder */
    for (receives = 1; receives >= 0; receives--) {
        for (server = main_server; server; server = server->next) {
            if (smartsupp_config_runtime(server)->receives == receives &&
                assign(server, main_server, pconf, ptemp) != OK) {
                return HTTP_INTERNAL_SERVER_ERROR;
            }
        }
    }
    return OK;
}
