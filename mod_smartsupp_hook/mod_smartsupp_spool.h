/*
 * The spools of the servers. A folder is one spool, however many servers name
 * it, and belongs to one database: that of the first server that receives. A
 * server that only inherits it and stores elsewhere has none.
 *
 * The folders are made in the parent, for the user that the children run as. A
 * first start fails where that user cannot write there; a restart goes on, so
 * that a disk in trouble does not end the whole server, and deliveries tell.
 */
#ifndef MOD_SMARTSUPP_SPOOL_H
#define MOD_SMARTSUPP_SPOOL_H

#include <httpd.h>

#include "smartsupp_spool.h"

/** httpd's post_config, after that of mod_smartsupp_dbd. */
int smartsupp_spools_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                 apr_pool_t *ptemp, server_rec *main_server);

/** The server's spool, or NULL. */
smartsupp_spool_t *smartsupp_spools_of(const server_rec *server);

/** What a status of smartsupp_spool_put or reject means, and what to do. */
const char *smartsupp_spools_words(apr_status_t status, apr_pool_t *pool);

/** Log what smartsupp_spool_scan has found left over, if anything. */
void smartsupp_spools_tell_left(const server_rec *server, int left);

#endif
