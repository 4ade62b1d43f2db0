#include "mod_smartsupp_check.h"

#include <string.h>

#include <apr_file_info.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>

#include "mod_smartsupp_config.h"
#include "mod_smartsupp_hook.h"

APLOG_USE_MODULE(smartsupp_hook);

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

apr_array_header_t *smartsupp_check_sites(server_rec *main_server,
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

static int is_folder(const char *path, apr_pool_t *pool)
{
    apr_finfo_t info;

    return apr_stat(&info, path, APR_FINFO_TYPE, pool) == APR_SUCCESS &&
           info.filetype == APR_DIR;
}

/* SQLite opens whatever path it is given, and relative ones from a folder
 * that differs between httpd's ways to start. */
static int check_sqlite_path(const smartsupp_site_t *site, apr_pool_t *pool)
{
    const char *params = site->params ? site->params : "";
    const char *folder = ap_make_dirstr_parent(pool, params);

    if (*params != '/') {
        return refuse(site,
                      apr_pstrcat(pool,
                                  "SMARTSUPP0103: DBDParams must be the "
                                  "absolute path of the SQLite file, and is \"",
                                  params, "\"", NULL));
    }
    if (is_folder(params, pool)) {
        return refuse(site, apr_pstrcat(pool,
                                        "SMARTSUPP0105: DBDParams names the "
                                        "folder ",
                                        params,
                                        ", and must name a file "
                                        "in it",
                                        NULL));
    }
    if (!is_folder(folder, pool)) {
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

/* The folder of the spool is made at the start, the one that it is in is not.
 */
static int check_spool(const smartsupp_site_t *site, apr_pool_t *pool)
{
    const char *path = smartsupp_config_spool_path(site->server);
    const char *parent;

    if (!path) {
        return OK;
    }
    if (!ap_find_linked_module("mod_watchdog.c")) {
        return refuse(site, "SMARTSUPP0111: SmartsuppSpool needs mod_watchdog, "
                            "which drains it: add LoadModule watchdog_module");
    }
    parent = ap_make_dirstr_parent(pool, path);
    if (!is_folder(parent, pool)) {
        return refuse(site,
                      apr_pstrcat(pool, "SMARTSUPP0112: the folder ", parent,
                                  " that SmartsuppSpool is to be made in is "
                                  "missing: create it",
                                  NULL));
    }
    return OK;
}

static int equal(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

/* What waits in a spool goes to one database. */
static int check_shared_spool(const smartsupp_site_t *site,
                              const smartsupp_site_t *before, apr_pool_t *pool)
{
    const char *path = smartsupp_config_spool_path(site->server);

    if (!path || !site->hook || !before->hook ||
        !equal(path, smartsupp_config_spool_path(before->server)) ||
        (equal(site->driver, before->driver) &&
         equal(site->params, before->params) &&
         equal(smartsupp_config_table_prefix(site->server),
               smartsupp_config_table_prefix(before->server)))) {
        return OK;
    }
    return refuse(site,
                  apr_psprintf(pool,
                               "SMARTSUPP0113: SmartsuppSpool %s is that of "
                               "another server too, which stores elsewhere: "
                               "give this one a folder of its own (the other: "
                               "%s:%d)",
                               path, before->hook->filename,
                               before->hook->line_num));
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
    if (is_driver(site, "sqlite3")) {
        int status = check_sqlite_path(site, pool);

        if (status != OK) {
            return status;
        }
    }
    return check_spool(site, pool);
}

/* Whether this is the first of the two passes that httpd makes at a start. */
static int is_first_pass(void)
{
    return ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG &&
           ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_CONFIG_TEST;
}

static void warn(const smartsupp_site_t *site, const char *what)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, site->server, "%s (%s:%d)", what,
                 site->hook->filename, site->hook->line_num);
}

/* Whether a Require, or a SmartsuppSecret, lets not everyone in. */
static int is_restriction(const ap_directive_t *node, apr_pool_t *pool)
{
    const char *rest = node->args;

    if (!is_directive(node, "Require")) {
        return is_directive(node, "SmartsuppSecret");
    }
    return strcasecmp(ap_getword_conf(pool, &rest), "all") != 0 ||
           strcasecmp(ap_getword_conf(pool, &rest), "denied") == 0;
}

/* Whether one of these directives, or of those inside of them, is one. */
static int restricts(const ap_directive_t *node, apr_pool_t *pool)
{
    for (; node; node = node->next) {
        if (is_restriction(node, pool) || restricts(node->first_child, pool)) {
            return 1;
        }
    }
    return 0;
}

/* Whether one of these directives is Require all granted. */
static int grants_all(const ap_directive_t *node, apr_pool_t *pool)
{
    while (node &&
           (!is_directive(node, "Require") || is_restriction(node, pool))) {
        node = node->next;
    }
    return node != NULL;
}

/* Whether what stands in a section holds in another one too: it has the same
 * argument, or, of two <Location>s, its path is that of a folder above. */
static int covers(const ap_directive_t *section, const ap_directive_t *other,
                  apr_pool_t *pool)
{
    const char *above = first_word(section, pool);
    const char *below = first_word(other, pool);
    size_t length = strlen(above);

    if (strcasecmp(section->directive, other->directive) != 0) {
        return 0;
    }
    if (!strcmp(section->args, other->args)) {
        return 1;
    }
    /* "/a/>" and "/a>": the end of the section's line is in the argument */
    length -= length > 0 && above[length - 1] == '>';
    length -= length > 0 && above[length - 1] == '/';
    return is_directive(section, "<Location") && *above == '/' &&
           !strncmp(above, below, length) &&
           (below[length] == '/' || below[length] == '>' || !below[length]);
}

/* Whether a section among these nodes, of the same server, restricts what is in
 * that one. */
static int is_restricted(const ap_directive_t *node,
                         const ap_directive_t *section, apr_pool_t *pool)
{
    for (; node; node = node->next) {
        if (!is_directive(node, "<VirtualHost") &&
            ((covers(node, section, pool) &&
              restricts(node->first_child, pool)) ||
             is_restricted(node->first_child, section, pool))) {
            return 1;
        }
    }
    return 0;
}

/* Whether a hook, as far as the configuration tree tells, is open to all. */
static int is_open(const ap_directive_t *hook, apr_pool_t *pool)
{
    const ap_directive_t *host = hook->parent;
    const ap_directive_t *section;

    while (host && !is_directive(host, "<VirtualHost")) {
        host = host->parent;
    }
    for (section = hook->parent; section != host; section = section->parent) {
        if (grants_all(section->first_child, pool)) {
            /* takes the place of what others demand */
            return !restricts(section->first_child, pool);
        }
        if (is_restricted(ap_conftree, section, pool) ||
            (host && is_restricted(host->first_child, section, pool))) {
            return 0;
        }
    }
    return 1;
}

/* Warn of each hook among these nodes that is. Those of a <VirtualHost> are
 * another server's. */
static void warn_of_open_hooks(const smartsupp_site_t *site,
                               const ap_directive_t *node, apr_pool_t *pool)
{
    for (; node; node = node->next) {
        if (is_directive(node, "<VirtualHost")) {
            continue;
        }
        if (sets_handler(node, pool) && is_open(node, pool)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, site->server,
                         "SMARTSUPP0115: anyone may deliver: the hook has "
                         "neither Require smartsupp-token nor SmartsuppSecret "
                         "nor another Require that restricts (%s:%d)",
                         node->filename, node->line_num);
        }
        warn_of_open_hooks(site, node->first_child, pool);
    }
}

static void warn_of_site(const smartsupp_site_t *site, apr_pool_t *pool)
{
    const ap_directive_t *section;

    if (is_driver(site, "mysql") && !mentions(site, "reconnect=0")) {
        warn(site, "SMARTSUPP0107: DBDParams lacks reconnect=0: the driver "
                   "reconnects behind mod_dbd's back, which costs deliveries "
                   "time");
    }
    if (is_driver(site, "pgsql") && !mentions(site, "connect_timeout")) {
        warn(site, "SMARTSUPP0108: DBDParams lacks connect_timeout: a "
                   "database that does not answer is waited for without end; "
                   "add connect_timeout=2");
    }
    if (!site->min || strcmp(site->min, "0") != 0) {
        warn(site, "SMARTSUPP0109: DBDMin is not 0: while the database does "
                   "not answer, no child can start; add DBDMin 0");
    }
    if (!smartsupp_config_spool_path(site->server)) {
        warn(site, "SMARTSUPP0114: the hook has no spool: what the database "
                   "cannot take is answered 503 and may be lost; add "
                   "SmartsuppSpool");
    }
    section = section_of(site->server);
    warn_of_open_hooks(site, section ? section->first_child : ap_conftree,
                       pool);
}

static void warn_of_sites(const apr_array_header_t *sites, apr_pool_t *pool)
{
    int i;

    for (i = 0; i < sites->nelts; i++) {
        const smartsupp_site_t *site =
            &APR_ARRAY_IDX(sites, i, smartsupp_site_t);

        if (site->hook && site->driver) {
            warn_of_site(site, pool);
        }
    }
}

int smartsupp_check_config(apr_pool_t *pconf, apr_pool_t *plog,
                           apr_pool_t *ptemp, server_rec *main_server)
{
    apr_array_header_t *sites = smartsupp_check_sites(main_server, ptemp);
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
        int j;

        for (j = 0; j < i && status == OK; j++) {
            status = check_shared_spool(&site[i], &site[j], ptemp);
        }
        if (status != OK) {
            return status;
        }
    }
    if (ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST) {
        warn_of_sites(sites, ptemp);
    }
    return OK;
}

int smartsupp_check_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                                apr_pool_t *ptemp, server_rec *main_server)
{
    apr_array_header_t *sites = smartsupp_check_sites(main_server, ptemp);
    const smartsupp_site_t *site = (const smartsupp_site_t *)sites->elts;
    int i;

    (void)pconf;
    (void)plog;
    for (i = 0; i < sites->nelts; i++) {
        /* a hook outside of all virtual hosts is in each of them */
        smartsupp_config_runtime(site[i].server)->receives =
            site[i].hook != NULL || site[0].hook != NULL;
    }
    if (!is_first_pass()) {
        warn_of_sites(sites, ptemp);
    }
    return OK;
}
