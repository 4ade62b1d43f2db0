/*
 * The directives: their structs, how they are inherited, what they may hold.
 *
 * A value that was not given is unset in the struct, inherited in the merge,
 * and gets its default from the getters below; read it only through them.
 */
#ifndef MOD_SMARTSUPP_CONFIG_H
#define MOD_SMARTSUPP_CONFIG_H

#include <httpd.h>
#include <http_config.h>

#include "smartsupp_schema.h"
#include "smartsupp_signature.h"

/* What the parent has made for a server in post_config, for its deliveries.
 * Each member belongs to the room that sets it. */
typedef struct smartsupp_runtime_t {
    int receives; /* mod_smartsupp_check: there is a hook for it */
    struct smartsupp_database_t *database; /* mod_smartsupp_dbd */
    struct smartsupp_spool_t *spool;       /* mod_smartsupp_spool; or NULL */
    struct smartsupp_metrics_t *metrics;   /* mod_smartsupp_receive */
} smartsupp_runtime_t;

extern const command_rec smartsupp_config_commands[];

void *smartsupp_config_create_server(apr_pool_t *pool, server_rec *server);
void *smartsupp_config_merge_server(apr_pool_t *pool, void *base, void *add);
void *smartsupp_config_create_dir(apr_pool_t *pool, char *dir);
void *smartsupp_config_merge_dir(apr_pool_t *pool, void *base, void *add);

/** SmartsuppMaxBody, in bytes. */
apr_size_t smartsupp_config_max_body(const request_rec *r);

/** SmartsuppSecret: those in force here. @return how many */
int smartsupp_config_secrets(smartsupp_secrets_t *secrets,
                             const request_rec *r);

/** SmartsuppAccount: whether deliveries of that account are taken here. */
int smartsupp_config_takes_account(const request_rec *r, apr_int64_t account);

/** SmartsuppDatabaseWait. */
apr_interval_time_t smartsupp_config_database_wait(const server_rec *server);

/** SmartsuppTablePrefix. */
const char *smartsupp_config_table_prefix(const server_rec *server);

/** SmartsuppSchema. */
smartsupp_schema_mode_e smartsupp_config_schema(const server_rec *server);

/** SmartsuppSpool: an absolute path, or NULL for off. */
const char *smartsupp_config_spool_path(const server_rec *server);

/** SmartsuppSpoolMaxSize, in bytes. */
apr_int64_t smartsupp_config_spool_max_size(const server_rec *server);

/** SmartsuppReplayInterval. */
apr_interval_time_t smartsupp_config_replay_interval(const server_rec *server);

/** The server's name, and port where the configuration names one: "host:80". */
const char *smartsupp_config_server_name(const server_rec *server,
                                         apr_pool_t *pool);

/** The server's own, to be filled in post_config; zeros before. */
smartsupp_runtime_t *smartsupp_config_runtime(const server_rec *server);

/**
 * httpd's post_config, before all others of ours: a virtual host that has none
 * of our directives has the main server's struct, not a copy (httpd,
 * merge_server_configs); give each its own, for its runtime.
 */
int smartsupp_config_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                 apr_pool_t *ptemp, server_rec *main_server);

#endif
