/*
 * mod_smartsupp_hook: keeps what Smartsupp's POST hook delivers in the SQL
 * database that mod_dbd is configured for. This file holds the module record
 * and the order of its hooks, and no logic.
 */
#include "mod_smartsupp_hook.h"

#include "mod_smartsupp_check.h"
#include "mod_smartsupp_config.h"
#include "mod_smartsupp_dbd.h"
#include "mod_smartsupp_prefork.h"
#include "mod_smartsupp_receive.h"
#include "mod_smartsupp_replay.h"
#include "mod_smartsupp_spool.h"
#include "mod_smartsupp_status.h"
#include "mod_smartsupp_token.h"

static void register_hooks(apr_pool_t *pool);

/* clang-format off */
AP_DECLARE_MODULE(smartsupp_hook) = {
    STANDARD20_MODULE_STUFF,
    smartsupp_config_create_dir,
    smartsupp_config_merge_dir,
    smartsupp_config_create_server,
    smartsupp_config_merge_server,
    smartsupp_config_commands,
    register_hooks,
#ifdef AP_MODULE_FLAG_NONE /* since httpd 2.4.34 */
    AP_MODULE_FLAG_NONE,
#endif
};
/* clang-format on */

/* What each step makes, the next ones use. */
static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                       server_rec *main_server)
{
    static int (*const steps[])(apr_pool_t *, apr_pool_t *, apr_pool_t *,
                                server_rec *) = {
        smartsupp_config_post_config,  /* a struct for each server */
        smartsupp_check_post_config,   /* which servers receive */
        smartsupp_receive_post_config, /* what they are counted in */
        smartsupp_dbd_post_config,     /* their databases */
        smartsupp_spools_post_config,  /* their spools */
        smartsupp_replay_post_config,  /* who drains these */
    };
    size_t i;

    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int status = steps[i](pconf, plog, ptemp, main_server);

        if (status != OK) {
            return status;
        }
    }
    return OK;
}

static void child_init(apr_pool_t *pchild, server_rec *main_server)
{
    smartsupp_prefork_child_init(pchild);
    smartsupp_receive_child_init(pchild, main_server);
    smartsupp_dbd_child_init(pchild, main_server);
}

static void register_hooks(apr_pool_t *pool)
{
    static const char *const after_dbd[] = {"mod_dbd.c", NULL};
    static const char *const before_watchdog[] = {"mod_watchdog.c", NULL};

    /* before the configuration is read: Mutex must know our type */
    ap_hook_pre_config(smartsupp_dbd_pre_config, NULL, NULL, APR_HOOK_MIDDLE);

    /* once it is read, also under configtest: what can never work stops it */
    ap_hook_check_config(smartsupp_check_config, NULL, NULL, APR_HOOK_MIDDLE);

    /* in the parent, still root: mutexes, shared memory, folders, watchdogs
     * (before mod_watchdog counts them); no connection is opened here */
    ap_hook_post_config(post_config, after_dbd, before_watchdog,
                        APR_HOOK_MIDDLE);

    /* in each child: after mod_dbd has made its pools, and before mod_watchdog
     * starts its threads, so that at the end these are joined first */
    ap_hook_child_init(child_init, after_dbd, before_watchdog, APR_HOOK_MIDDLE);

    /* each request to a URL whose handler we are */
    ap_hook_handler(smartsupp_receive_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(smartsupp_status_handler, NULL, NULL, APR_HOOK_MIDDLE);

    /* who may deliver: Require smartsupp-token */
    smartsupp_token_register(pool);

    /* where mod_status is loaded: our rows in its page */
    smartsupp_status_register(pool);
}
