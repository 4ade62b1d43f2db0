#include "mod_smartsupp_config.h"

#include <string.h>

#include <apr_file_info.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>

#include "mod_smartsupp_hook.h"

APLOG_USE_MODULE(smartsupp_hook);

#define DEFAULT_MAX_BODY (1024 * 1024)
#define DEFAULT_DATABASE_WAIT apr_time_from_sec(2)
#define DEFAULT_TABLE_PREFIX "smartsupp_"

/* Below what every supported database takes as one value. */
#define LARGEST_MAX_BODY (512 * 1024 * 1024)
#define LONGEST_DATABASE_WAIT apr_time_from_sec(3600)
#define TABLE_PREFIX_MAX 32

#define UNSET (-1)

typedef struct server_config_t {
    int schema; /* smartsupp_schema_mode_e or UNSET */
    const char *table_prefix;
    apr_interval_time_t database_wait;
    struct smartsupp_database_t *database;
} server_config_t;

typedef struct dir_config_t {
    apr_int64_t max_body;
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
    return config;
}

apr_size_t smartsupp_config_max_body(const request_rec *r)
{
    const dir_config_t *config =
        ap_get_module_config(r->per_dir_config, &smartsupp_hook_module);

    return config->max_body != UNSET ? (apr_size_t)config->max_body
                                     : DEFAULT_MAX_BODY;
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

struct smartsupp_database_t *smartsupp_config_database(const server_rec *server)
{
    return server_config(server)->database;
}

void smartsupp_config_set_database(server_rec *server,
                                   struct smartsupp_database_t *database)
{
    server_config(server)->database = database;
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

static const char *set_database_wait(cmd_parms *cmd, void *dir,
                                     const char *value)
{
    apr_interval_time_t wait;

    (void)dir;
    if (ap_timeout_parameter_parse(value, &wait, "s") != APR_SUCCESS ||
        wait <= 0 || wait > LONGEST_DATABASE_WAIT) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name,
                           ": not a time from 1ms to 1h (seconds, or with ms, "
                           "s, mi or h behind): ",
                           value, NULL);
    }
    server_config(cmd->server)->database_wait = wait;
    return NULL;
}

const command_rec smartsupp_config_commands[] = {
    AP_INIT_TAKE1("SmartsuppMaxBody", set_max_body, NULL, OR_LIMIT,
                  "the largest body that is accepted, in bytes"),
    AP_INIT_TAKE1("SmartsuppSchema", set_schema, NULL, RSRC_CONF,
                  "create: bring the tables up to date; check: only look"),
    AP_INIT_TAKE1("SmartsuppTablePrefix", set_table_prefix, NULL, RSRC_CONF,
                  "what the names of the tables begin with"),
    AP_INIT_TAKE1("SmartsuppDatabaseWait", set_database_wait, NULL, RSRC_CONF,
                  "the longest that a delivery waits for the database"),
    {NULL}};

static int is_directive(const ap_directive_t *node, const char *name)
{
    return !strcasecmp(node->directive, name);
}

static const char *first_word(const ap_directive_t *node, apr_pool_t *pool)
{
    const char *arguments = node->args;

    return ap_getword_conf(pool, &arguments);
}

static int sets_handler(const ap_directive_t *node, apr_pool_t *pool)
{
    return (is_directive(node, "SetHandler") ||
            is_directive(node, "AddHandler")) &&
           !strcasecmp(first_word(node, pool), SMARTSUPP_HOOK_HANDLER);
}

/* Note what these directives, and those inside of them, say of the server.
 * Those of a <VirtualHost> are another server's. */
static void read_tree(smartsupp_site_t *site, const ap_directive_t *node,
                      apr_pool_t *pool)
{
    for (; node; node = node->next) {
        if (is_directive(node, "<VirtualHost")) {
            continue;
        }
        if (is_directive(node, "DBDriver")) {
            site->driver = first_word(node, pool);
        }
        else if (is_directive(node, "DBDParams")) {
            site->params = first_word(node, pool);
        }
        else if (is_directive(node, "DBDMin")) {
            site->min = first_word(node, pool);
        }
        else if (is_directive(node, "DBDMax")) {
            site->max = first_word(node, pool);
        }
        else if (!site->hook && sets_handler(node, pool)) {
            site->hook = node;
        }
        read_tree(site, node->first_child, pool);
    }
}

/* The <VirtualHost> that made this server, or NULL. */
static const ap_directive_t *section_of(const server_rec *server)
{
    const ap_directive_t *node;

    for (node = ap_conftree; node; node = node->next) {
        if (is_directive(node, "<VirtualHost") &&
            node->line_num == (int)server->defn_line_number &&
            server->defn_name && !strcmp(node->filename, server->defn_name)) {
            return node;
        }
    }
    return NULL;
}

apr_array_header_t *smartsupp_config_sites(server_rec *main_server,
                                           apr_pool_t *pool)
{
    apr_array_header_t *sites =
        apr_array_make(pool, 4, sizeof(smartsupp_site_t));
    smartsupp_site_t base = {.server = main_server};
    server_rec *server;

    read_tree(&base, ap_conftree, pool);
    for (server = main_server; server; server = server->next) {
        smartsupp_site_t *site = apr_array_push(sites);
        const ap_directive_t *section = section_of(server);

        *site = base;
        site->server = server;
        if (server != main_server) {
            site->hook = NULL;
        }
        if (section) {
            read_tree(site, section->first_child, pool);
        }
    }
    return sites;
}

/* Refuse the start: what is wrong, where, and what to do. */
static int refuse(const smartsupp_site_t *site, const char *reason)
{
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, site->server,
                 "%s (%s:%d, %s %s)", reason, site->hook->filename,
                 site->hook->line_num, site->hook->directive, site->hook->args);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* SQLite opens whatever path it is given, and relative ones from a folder
 * that differs between httpd's ways to start. */
static int check_sqlite_path(const smartsupp_site_t *site, apr_pool_t *pool)
{
    const char *params = site->params ? site->params : "";
    const char *folder = ap_make_dirstr_parent(pool, params);
    apr_finfo_t info;

    if (*params != '/') {
        return refuse(site,
                      apr_pstrcat(pool,
                                  "SMARTSUPP0103: DBDParams must be the "
                                  "absolute path of the SQLite file, and is \"",
                                  params, "\"", NULL));
    }
    if (apr_stat(&info, params, APR_FINFO_TYPE, pool) == APR_SUCCESS &&
        info.filetype == APR_DIR) {
        return refuse(site, apr_pstrcat(pool,
                                        "SMARTSUPP0105: DBDParams names the "
                                        "folder ",
                                        params,
                                        ", and must name a file "
                                        "in it",
                                        NULL));
    }
    if (apr_stat(&info, folder, APR_FINFO_TYPE, pool) != APR_SUCCESS ||
        info.filetype != APR_DIR) {
        return refuse(site,
                      apr_pstrcat(pool, "SMARTSUPP0104: the folder ", folder,
                                  " of the SQLite file is missing: create it, "
                                  "owned by the user that httpd runs as",
                                  NULL));
    }
    return OK;
}

static int is_driver(const smartsupp_site_t *site, const char *name)
{
    return site->driver && !strcasecmp(site->driver, name);
}

static int mentions(const smartsupp_site_t *site, const char *word)
{
    return site->params && ap_strcasestr(site->params, word) != NULL;
}

static int check_site(const smartsupp_site_t *site, int some_driver,
                      apr_pool_t *pool)
{
    if (!site->hook) {
        return OK;
    }
    if (!ap_find_linked_module("mod_dbd.c")) {
        return refuse(site, "SMARTSUPP0101: the hook needs mod_dbd: add "
                            "LoadModule dbd_module");
    }
    /* a hook outside of all virtual hosts is in each of them */
    if (!site->driver && (site->server->is_virtual || !some_driver)) {
        return refuse(site, "SMARTSUPP0102: the hook has no database: add "
                            "DBDriver and DBDParams to its server");
    }
    if (is_driver(site, "freetds") || is_driver(site, "oracle")) {
        return refuse(site, "SMARTSUPP0106: this DBDriver is not supported: "
                            "use sqlite3, pgsql, mysql or odbc");
    }
    /* with it, an INSERT that a known key turns into none counts a row */
    if (is_driver(site, "mysql") && mentions(site, "CLIENT_FOUND_ROWS")) {
        return refuse(site, "SMARTSUPP0110: DBDParams must not have "
                            "flags=CLIENT_FOUND_ROWS");
    }
    return is_driver(site, "sqlite3") ? check_sqlite_path(site, pool) : OK;
}

void smartsupp_config_warn(const apr_array_header_t *sites)
{
    int i;

    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG &&
        ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_CONFIG_TEST) {
        return;
    }
    for (i = 0; i < sites->nelts; i++) {
        const smartsupp_site_t *site =
            &APR_ARRAY_IDX(sites, i, smartsupp_site_t);

        if (!site->hook || !site->driver) {
            continue;
        }
        if (is_driver(site, "mysql") && !mentions(site, "reconnect=0")) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, site->server,
                         "SMARTSUPP0107: DBDParams lacks reconnect=0: the "
                         "driver reconnects behind mod_dbd's back, which "
                         "costs deliveries time (%s:%d)",
                         site->hook->filename, site->hook->line_num);
        }
        if (is_driver(site, "pgsql") && !mentions(site, "connect_timeout")) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, site->server,
                         "SMARTSUPP0108: DBDParams lacks connect_timeout: a "
                         "database that does not answer is waited for without "
                         "end; add connect_timeout=2 (%s:%d)",
                         site->hook->filename, site->hook->line_num);
        }
        if (!site->min || strcmp(site->min, "0") != 0) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, site->server,
                         "SMARTSUPP0109: DBDMin is not 0: while the database "
                         "does not answer, no child can start; add DBDMin 0 "
                         "(%s:%d)",
                         site->hook->filename, site->hook->line_num);
        }
    }
}

int smartsupp_config_check(apr_pool_t *pconf, apr_pool_t *plog,
                           apr_pool_t *ptemp, server_rec *main_server)
{
    apr_array_header_t *sites = smartsupp_config_sites(main_server, ptemp);
    const smartsupp_site_t *site = (const smartsupp_site_t *)sites->elts;
    int some_driver = 0;
    int i;

    (void)pconf;
    (void)plog;
    for (i = 0; i < sites->nelts; i++) {
        some_driver = some_driver || site[i].driver;
    }
    for (i = 0; i < sites->nelts; i++) {
        int status = check_site(&site[i], some_driver, ptemp);

        if (status != OK) {
            return status;
        }
    }
    if (ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST) {
        smartsupp_config_warn(sites);
    }
    return OK;
}
