/*
 * The databases that the configuration names, each once, however many servers
 * store in it; and in each child a commit room for each of them, which goes
 * with the child.
 */
#ifndef MOD_SMARTSUPP_DBD_H
#define MOD_SMARTSUPP_DBD_H

#include <httpd.h>

#include "smartsupp_breaker.h"
#include "smartsupp_commit.h"

/** httpd's pre_config: make the mutex known to the Mutex directive. */
int smartsupp_dbd_pre_config(apr_pool_t *pconf, apr_pool_t *plog,
                             apr_pool_t *ptemp);

/** httpd's post_config: one database for each that the servers name. */
int smartsupp_dbd_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                              apr_pool_t *ptemp, server_rec *main_server);

/**
 * httpd's child_init, after mod_dbd's: make the commit rooms. No connection is
 * opened and no thread started before the first delivery. When pchild goes,
 * the writers finish what they have, for a few seconds at most.
 */
void smartsupp_dbd_child_init(apr_pool_t *pchild, server_rec *main_server);

/** The commit room for the server's deliveries; NULL where none was made. */
smartsupp_commit_t *smartsupp_dbd_commit(const server_rec *server);

/**
 * End the process at once where the cleanups run on top of a delivery that was
 * interrupted (mod_smartsupp_prefork.h) while it was read, decoded, spooled or
 * answered, or held a commit room. It ends as by kill -9. Not where it waits
 * for the commit: that is then finished. For any cleanup of ours that frees
 * memory or joins a thread, first of all.
 */
void smartsupp_dbd_end_if_interrupted(void);

/** Whether two servers store in the same database, under the same prefix. */
int smartsupp_dbd_same(const server_rec *one, const server_rec *other);

/** The state of the server's database; NULL where it has none. */
const smartsupp_breaker_t *smartsupp_dbd_breaker(const server_rec *server);

/** The driver and the tables' prefix, for people; never DBDParams. */
const char *smartsupp_dbd_label(const server_rec *server, apr_pool_t *pool);

#endif
