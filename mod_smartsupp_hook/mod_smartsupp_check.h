/*
 * What the configuration tree says of each server, and what in it can never
 * work, and stops the start, or will hurt when the database is in trouble, and
 * is warned of.
 */
#ifndef MOD_SMARTSUPP_CHECK_H
#define MOD_SMARTSUPP_CHECK_H

#include <httpd.h>
#include <http_config.h>
#include <apr_tables.h>
#include <util_cfgtree.h>

/* What the configuration tree says of one server. */
typedef struct smartsupp_site_t {
    server_rec *server;
    const char *driver;         /* DBDriver in force, or NULL */
    const char *params;         /* DBDParams in force, or NULL */
    const char *min;            /* DBDMin in force, or NULL */
    const char *max;            /* DBDMax in force, or NULL */
    const ap_directive_t *hook; /* the first that sets our handler, or NULL */
} smartsupp_site_t;

/**
 * Every server with what the configuration tree says of it, the main server
 * first, as an array of smartsupp_site_t. For check_config and post_config.
 */
apr_array_header_t *smartsupp_check_sites(server_rec *main_server,
                                          apr_pool_t *pool);

/**
 * httpd's check_config: refuse, with file, line and remedy, a configuration
 * with which no delivery could ever be stored.
 */
int smartsupp_check_config(apr_pool_t *pconf, apr_pool_t *plog,
                           apr_pool_t *ptemp, server_rec *main_server);

/**
 * httpd's post_config, the first of ours: note which servers receive, and log,
 * at warning and in the second of the two passes of a start only, what works
 * now but will hurt when the database is in trouble.
 */
int smartsupp_check_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                apr_pool_t *ptemp, server_rec *main_server);

#endif
