/*
 * The handler `smartsupp-hook`: reads one POST, decodes it, has it stored, else
 * kept in the spool, and answers. 2xx means durable.
 */
#ifndef MOD_SMARTSUPP_RECEIVE_H
#define MOD_SMARTSUPP_RECEIVE_H

#include <httpd.h>

/** httpd's post_config: what each server's deliveries are counted in. */
int smartsupp_receive_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                  apr_pool_t *ptemp, server_rec *main_server);

/** httpd's child_init: the memory that deliveries are made of. */
void smartsupp_receive_child_init(apr_pool_t *pchild, server_rec *main_server);

/** httpd's handler. Answers with status and body of its own and returns OK;
 * errors that httpd has found in reading the request are left to httpd. */
int smartsupp_receive_handler(request_rec *r);

#endif
