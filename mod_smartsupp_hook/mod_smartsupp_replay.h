/*
 * From the spool to the database, once it takes deliveries again.
 *
 * Every child has a watchdog thread for each spool (mod_watchdog), and the one
 * that holds the spool's lock drains it (mod_smartsupp_drain). It keeps the
 * lock until it ends, or until its own writer is stuck while those of others
 * work.
 *
 * When: every SmartsuppReplayInterval; at once when the database has come back
 * (some other delivery was committed); after a pass that found it down, after
 * a pause that doubles, up to a minute.
 */
#ifndef MOD_SMARTSUPP_REPLAY_H
#define MOD_SMARTSUPP_REPLAY_H

#include <httpd.h>

/** httpd's post_config, after that of mod_smartsupp_spool: have mod_watchdog
 * start a thread for each spool in each child. */
int smartsupp_replay_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                 apr_pool_t *ptemp, server_rec *main_server);

#endif
