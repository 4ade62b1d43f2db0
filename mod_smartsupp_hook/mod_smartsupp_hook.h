/*
 * What the rooms that know httpd share: the module record, which httpd's
 * configuration and log calls are keyed by.
 */
#ifndef MOD_SMARTSUPP_HOOK_H
#define MOD_SMARTSUPP_HOOK_H

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>

extern module AP_MODULE_DECLARE_DATA smartsupp_hook_module;

/* The names for SetHandler. */
#define SMARTSUPP_HOOK_HANDLER "smartsupp-hook"
#define SMARTSUPP_STATUS_HANDLER "smartsupp-status"

#endif
