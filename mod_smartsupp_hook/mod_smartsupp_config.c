#include "mod_smartsupp_config.h"

#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>

#include "mod_smartsupp_hook.h"
#include "mod_smartsupp_source.h"

APLOG_USE_MODULE(smartsupp_hook);

#define DEFAULT_MAX_BODY (1024 * 1024)
#define DEFAULT_DATABASE_WAIT apr_time_from_sec(2)
#define DEFAULT_TABLE_PREFIX "smartsupp_"
#define DEFAULT_SPOOL_MAX_SIZE (APR_INT64_C(1024) * 1024 * 1024)
#define DEFAULT_REPLAY_INTERVAL apr_time_from_sec(5)

/* 2^53 - 1, as in the payload. */
#define LARGEST_ACCOUNT APR_INT64_C(9007199254740991)

/* Below what every supported database takes as one value. */
#define LARGEST_MAX_BODY (512 * 1024 * 1024)
#define LONGEST_TIME apr_time_from_sec(3600)

/* Room for one body of the default size in rejected/, which is a quarter. */
#define SMALLEST_SPOOL (8 * 1024 * 1024)
#define LARGEST_SPOOL (APR_INT64_C(1) << 40)
#define TABLE_PREFIX_MAX 32

#define UNSET (-1)

typedef struct server_config_t {
    int schema; /* smartsupp_schema_mode_e or UNSET */
    const char *table_prefix;
    apr_interval_time_t database_wait;
    const char *spool_path; /* "" for off, NULL for unset */
    apr_int64_t spool_max_size;
    apr_interval_time_t replay_interval;
    smartsupp_runtime_t runtime;
} server_config_t;

typedef struct dir_config_t {
    apr_int64_t max_body;
    apr_array_header_t *secrets;  /* of smartsupp_secret_t; NULL: unset */
    apr_array_header_t *accounts; /* of apr_int64_t; NULL: unset */
} dir_config_t;

static server_config_t *server_config(const server_rec *server)
{
    return ap_get_module_config(server->module_config, &smartsupp_hook_module);
}

void *smartsupp_config_create_server(apr_pool_t *pool, server_rec *server)
{
    server_config_t *config = apr_pcalloc(pool, sizeof(*config));

    (void)server;
    config->schema = UNSET;
    config->database_wait = UNSET;
    config->spool_max_size = UNSET;
    config->replay_interval = UNSET;
    return config;
}

void *smartsupp_config_merge_server(apr_pool_t *pool, void *basev, void *addv)
{
    const server_config_t *base = basev;
    const server_config_t *add = addv;
    server_config_t *config = apr_pcalloc(pool, sizeof(*config));

    config->schema = add->schema != UNSET ? add->schema : base->schema;
    config->table_prefix =
        add->table_prefix ? add->table_prefix : base->table_prefix;
    config->database_wait =
        add->database_wait != UNSET ? add->database_wait : base->database_wait;
    config->spool_path = add->spool_path ? add->spool_path : base->spool_path;
    config->spool_max_size = add->spool_max_size != UNSET
                                 ? add->spool_max_size
                                 : base->spool_max_size;
    config->replay_interval = add->replay_interval != UNSET
                                  ? add->replay_interval
                                  : base->replay_interval;
    return config;
}

void *smartsupp_config_create_dir(apr_pool_t *pool, char *dir)
{
    dir_config_t *config = apr_pcalloc(pool, sizeof(*config));

    (void)dir;
    config->max_body = UNSET;
    return config;
}

void *smartsupp_config_merge_dir(apr_pool_t *pool, void *basev, void *addv)
{
    const dir_config_t *base = basev;
    const dir_config_t *add = addv;
    dir_config_t *config = apr_pcalloc(pool, sizeof(*config));

    config->max_body = add->max_body != UNSET ? add->max_body : base->max_body;
    config->secrets = add->secrets ? add->secrets : base->secrets;
    config->accounts = add->accounts ? add->accounts : base->accounts;
    return config;
}

static const dir_config_t *dir_config(const request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &smartsupp_hook_module);
}

apr_size_t smartsupp_config_max_body(const request_rec *r)
{
    apr_int64_t max_body = dir_config(r)->max_body;

    return max_body != UNSET ? (apr_size_t)max_body : DEFAULT_MAX_BODY;
}

int smartsupp_config_secrets(smartsupp_secrets_t *secrets, const request_rec *r)
{
    const apr_array_header_t *array = dir_config(r)->secrets;

    secrets->count = array ? array->nelts : 0;
    secrets->list = array ? (const smartsupp_secret_t *)array->elts : NULL;
    return secrets->count;
}

int smartsupp_config_takes_account(const request_rec *r, apr_int64_t account)
{
    const apr_array_header_t *accounts = dir_config(r)->accounts;
    int i;

    for (i = 0; accounts && i < accounts->nelts; i++) {
        if (APR_ARRAY_IDX(accounts, i, apr_int64_t) == account) {
            return 1;
        }
    }
    return accounts == NULL;
}

apr_interval_time_t smartsupp_config_database_wait(const server_rec *server)
{
    const server_config_t *config = server_config(server);

    return config->database_wait != UNSET ? config->database_wait
                                          : DEFAULT_DATABASE_WAIT;
}

const char *smartsupp_config_table_prefix(const server_rec *server)
{
    const server_config_t *config = server_config(server);

    return config->table_prefix ? config->table_prefix : DEFAULT_TABLE_PREFIX;
}

smartsupp_schema_mode_e smartsupp_config_schema(const server_rec *server)
{
    const server_config_t *config = server_config(server);

    return config->schema != UNSET ? (smartsupp_schema_mode_e)config->schema
                                   : SMARTSUPP_SCHEMA_CREATE;
}

const char *smartsupp_config_spool_path(const server_rec *server)
{
    const char *path = server_config(server)->spool_path;

    return path && *path ? path : NULL;
}

apr_int64_t smartsupp_config_spool_max_size(const server_rec *server)
{
    const server_config_t *config = server_config(server);

    return config->spool_max_size != UNSET ? config->spool_max_size
                                           : DEFAULT_SPOOL_MAX_SIZE;
}

apr_interval_time_t smartsupp_config_replay_interval(const server_rec *server)
{
    const server_config_t *config = server_config(server);

    return config->replay_interval != UNSET ? config->replay_interval
                                            : DEFAULT_REPLAY_INTERVAL;
}

const char *smartsupp_config_server_name(const server_rec *server,
                                         apr_pool_t *pool)
{
    const char *name = server->server_hostname ? server->server_hostname : "";
    int port = server->port ? server->port : server->addrs->host_port;

    return port ? apr_psprintf(pool, "%s:%d", name, port) : name;
}

smartsupp_runtime_t *smartsupp_config_runtime(const server_rec *server)
{
    return &server_config(server)->runtime;
}

int smartsupp_config_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                 apr_pool_t *ptemp, server_rec *main_server)
{
    server_config_t *main_config = server_config(main_server);
    server_rec *server;

    (void)plog;
    (void)ptemp;
    for (server = main_server->next; server; server = server->next) {
        if (server_config(server) == main_config) {
            ap_set_module_config(
                server->module_config, &smartsupp_hook_module,
                apr_pmemdup(pconf, main_config, sizeof(*main_config)));
        }
    }
    return OK;
}

/* A size in bytes with k, m or g behind it, or -1. */
static apr_int64_t parse_size(const char *text)
{
    apr_int64_t size = 0;

    if (!apr_isdigit(*text)) {
        return -1;
    }
    while (apr_isdigit(*text)) {
        size = size * 10 + (*text++ - '0');
        if (size > APR_INT64_C(1) << 40) {
            return -1;
        }
    }
    switch (apr_tolower(*text)) {
    case 'g':
        size *= 1024;
        /* fall through */
    case 'm':
        size *= 1024;
        /* fall through */
    case 'k':
        size *= 1024;
        text++;
        break;
    default:
        break;
    }
    return *text ? -1 : size;
}

static const char *set_max_body(cmd_parms *cmd, void *dir, const char *value)
{
    dir_config_t *config = dir;

    config->max_body = parse_size(value);
    if (config->max_body < 1 || config->max_body > LARGEST_MAX_BODY) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name,
                           ": not a size from 1 to 512m (bytes, or with k, m "
                           "or g behind): ",
                           value, NULL);
    }
    return NULL;
}

static const char *add_secret(cmd_parms *cmd, void *dir, const char *source)
{
    dir_config_t *config = dir;

    if (!config->secrets) {
        config->secrets =
            apr_array_make(cmd->pool, 2, sizeof(smartsupp_secret_t));
    }
    return smartsupp_source_read(apr_array_push(config->secrets), cmd,
                                 cmd->cmd->name, source);
}

static const char *add_account(cmd_parms *cmd, void *dir, const char *value)
{
    dir_config_t *config = dir;
    char *end = NULL;
    apr_int64_t account = apr_strtoi64(value, &end, 10);

    if (!apr_isdigit(*value) || *end || account < 1 ||
        account > LARGEST_ACCOUNT) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name,
                           ": not the number of an account: ", value, NULL);
    }
    if (!config->accounts) {
        config->accounts = apr_array_make(cmd->pool, 2, sizeof(apr_int64_t));
    }
    APR_ARRAY_PUSH(config->accounts, apr_int64_t) = account;
    return NULL;
}

static const char *set_schema(cmd_parms *cmd, void *dir, const char *value)
{
    server_config_t *config = server_config(cmd->server);

    (void)dir;
    if (!strcasecmp(value, "create")) {
        config->schema = SMARTSUPP_SCHEMA_CREATE;
    }
    else if (!strcasecmp(value, "check")) {
        config->schema = SMARTSUPP_SCHEMA_CHECK;
    }
    else {
        return apr_pstrcat(cmd->pool, cmd->cmd->name,
                           ": neither create nor check: ", value, NULL);
    }
    return NULL;
}

static const char *set_table_prefix(cmd_parms *cmd, void *dir,
                                    const char *value)
{
    const char *c;

    (void)dir;
    for (c = value; *c; c++) {
        int first = (*c >= 'a' && *c <= 'z') || *c == '_';

        if (!first && !(c > value && *c >= '0' && *c <= '9')) {
            break;
        }
    }
    if (!strncmp(value, "sqlite_", 7)) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name,
                           ": SQLite keeps names in sqlite_ to itself: ", value,
                           NULL);
    }
    if (*c || c == value || c - value > TABLE_PREFIX_MAX) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name,
                           ": not 1 to 32 of a-z, 0-9 and _, the first one no "
                           "digit: ",
                           value, NULL);
    }
    server_config(cmd->server)->table_prefix = value;
    return NULL;
}

static const char *set_time(apr_interval_time_t *time, const cmd_parms *cmd,
                            const char *value)
{
    if (ap_timeout_parameter_parse(value, time, "s") != APR_SUCCESS ||
        *time <= 0 || *time > LONGEST_TIME) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name,
                           ": not a time from 1ms to 1h (seconds, or with ms, "
                           "s, mi or h behind): ",
                           value, NULL);
    }
    return NULL;
}

static const char *set_database_wait(cmd_parms *cmd, void *dir,
                                     const char *value)
{
    (void)dir;
    return set_time(&server_config(cmd->server)->database_wait, cmd, value);
}

static const char *set_replay_interval(cmd_parms *cmd, void *dir,
                                       const char *value)
{
    (void)dir;
    return set_time(&server_config(cmd->server)->replay_interval, cmd, value);
}

/* A path without those at its end, with which it would be another folder's
 * name for who takes the last part off. */
static char *without_slashes(char *path)
{
    size_t length = path ? strlen(path) : 0;

    while (length > 0 && path[length - 1] == '/') {
        path[--length] = '\0';
    }
    return path;
}

static const char *set_spool(cmd_parms *cmd, void *dir, const char *value)
{
    const char *path = "";

    (void)dir;
    if (strcasecmp(value, "off") != 0) {
        path = *value
                   ? without_slashes(ap_server_root_relative(cmd->pool, value))
                   : NULL;
        if (!path || !*path) {
            return apr_pstrcat(cmd->pool, cmd->cmd->name,
                               ": neither a folder nor off: ", value, NULL);
        }
    }
    server_config(cmd->server)->spool_path = path;
    return NULL;
}

static const char *set_spool_max_size(cmd_parms *cmd, void *dir,
                                      const char *value)
{
    server_config_t *config = server_config(cmd->server);

    (void)dir;
    config->spool_max_size = parse_size(value);
    if (config->spool_max_size < SMALLEST_SPOOL ||
        config->spool_max_size > LARGEST_SPOOL) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name,
                           ": not a size from 8m to 1024g (bytes, or with k, m "
                           "or g behind): ",
                           value, NULL);
    }
    return NULL;
}

const command_rec smartsupp_config_commands[] = {
    AP_INIT_TAKE1("SmartsuppSecret", add_secret, NULL, OR_AUTHCFG,
                  "file:PATH or env:NAME of a key that signs deliveries"),
    AP_INIT_ITERATE("SmartsuppAccount", add_account, NULL, OR_AUTHCFG,
                    "the accounts whose deliveries are taken"),
    AP_INIT_TAKE1("SmartsuppMaxBody", set_max_body, NULL, OR_LIMIT,
                  "the largest body that is accepted, in bytes"),
    AP_INIT_TAKE1("SmartsuppSchema", set_schema, NULL, RSRC_CONF,
                  "create: bring the tables up to date; check: only look"),
    AP_INIT_TAKE1("SmartsuppTablePrefix", set_table_prefix, NULL, RSRC_CONF,
                  "what the names of the tables begin with"),
    AP_INIT_TAKE1("SmartsuppDatabaseWait", set_database_wait, NULL, RSRC_CONF,
                  "the longest that a delivery waits for the database"),
    AP_INIT_TAKE1("SmartsuppSpool", set_spool, NULL, RSRC_CONF,
                  "the folder for deliveries that the database cannot take "
                  "now, or off"),
    AP_INIT_TAKE1("SmartsuppSpoolMaxSize", set_spool_max_size, NULL, RSRC_CONF,
                  "the most that the spool may hold, in bytes"),
    AP_INIT_TAKE1("SmartsuppReplayInterval", set_replay_interval, NULL,
                  RSRC_CONF, "how often the spool is drained"),
    {NULL}};
