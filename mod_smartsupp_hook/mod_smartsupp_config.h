/*
 * The directives: their structs, how they are inherited, what they may hold,
 * and the checks of the whole configuration that stop a start.
 *
 * A value that was not given is unset in the struct, inherited in the merge,
 * and gets its default from the getters below; read it only through them.
 */
#ifndef MOD_SMARTSUPP_CONFIG_H
#define MOD_SMARTSUPP_CONFIG_H

#include <httpd.h>
#include <http_config.h>
#include <apr_tables.h>
#include <util_cfgtree.h>

#include "smartsupp_schema.h"

/* Where a server's deliveries go; it belongs to mod_smartsupp_dbd. */
struct smartsupp_database_t;

/* What the configuration tree says of one server. */
typedef struct smartsupp_site_t {
    server_rec *server;
    const char *driver;         /* DBDriver in force, or NULL */
    const char *params;         /* DBDParams in force, or NULL */
    const char *min;            /* DBDMin in force, or NULL */
    const char *max;            /* DBDMax in force, or NULL */
    const ap_directive_t *hook; /* the first that sets our handler, or NULL */
} smartsupp_site_t;

extern const command_rec smartsupp_config_commands[];

void *smartsupp_config_create_server(apr_pool_t *pool, server_rec *server);
void *smartsupp_config_merge_server(apr_pool_t *pool, void *base, void *add);
void *smartsupp_config_create_dir(apr_pool_t *pool, char *dir);
void *smartsupp_config_merge_dir(apr_pool_t *pool, void *base, void *add);

/** SmartsuppMaxBody, in bytes. */
apr_size_t smartsupp_config_max_body(const request_rec *r);

/** SmartsuppDatabaseWait. */
apr_interval_time_t smartsupp_config_database_wait(const server_rec *server);

/** SmartsuppTablePrefix. */
const char *smartsupp_config_table_prefix(const server_rec *server);

/** SmartsuppSchema. */
smartsupp_schema_mode_e smartsupp_config_schema(const server_rec *server);

/** The server's database, as it was set; NULL before post_config. */
struct smartsupp_database_t *
smartsupp_config_database(const server_rec *server);

/** Set it, in post_config. */
void smartsupp_config_set_database(server_rec *server,
                                   struct smartsupp_database_t *database);

/**
 * Every server with what the configuration tree says of it, as an array of
 * smartsupp_site_t. For check_config and post_config.
 */
apr_array_header_t *smartsupp_config_sites(server_rec *main_server,
                                           apr_pool_t *pool);

/**
 * Log, at warning, what in the configuration of these sites works now but will
 * hurt when the database is in trouble. Says nothing in the first of the two
 * passes that httpd makes at a start.
 */
void smartsupp_config_warn(const apr_array_header_t *sites);

/**
 * httpd's check_config: refuse, with file, line and remedy, a configuration
 * with which no delivery could ever be stored.
 */
int smartsupp_config_check(apr_pool_t *pconf, apr_pool_t *plog,
                           apr_pool_t *ptemp, server_rec *main_server);

#endif
