/*
 * What has become of the deliveries and how database and spool are, for people
 * (HTML), programs (JSON), Prometheus, load balancers (health), and as rows in
 * httpd's own server-status.
 *
 * Shown is every virtual host that has a hook in the configuration or has
 * received a delivery since httpd started, whichever host is asked. Never
 * shown is anything that was delivered, and no DBDParams.
 */
#ifndef MOD_SMARTSUPP_STATUS_H
#define MOD_SMARTSUPP_STATUS_H

#include <httpd.h>

/**
 * httpd's handler, for SetHandler smartsupp-status. The query string chooses
 * the form, format=html, json, prometheus or health; without one the header
 * Accept does, and what it does not decide is HTML. Other formats are refused
 * with 400, other methods than GET and HEAD with 405.
 *
 * health is answered 200 while every host that receives could keep a delivery,
 * in its database or in its spool, and 503 otherwise.
 */
int smartsupp_status_handler(request_rec *r);

/** Add our rows to mod_status's page, where it is loaded. For register_hooks.
 */
void smartsupp_status_register(apr_pool_t *pool);

#endif
