/*
 * Where a secret comes from: `file:PATH`, relative to ServerRoot, of which one
 * newline at the end is dropped, or `env:NAME`, of httpd's own environment.
 * Never a literal, because httpd prints the arguments of directives (mod_info,
 * debug log).
 */
#ifndef MOD_SMARTSUPP_SOURCE_H
#define MOD_SMARTSUPP_SOURCE_H

#include <httpd.h>
#include <http_config.h>

#include "smartsupp_signature.h"

/**
 * Read the secret that a directive's argument names.
 *
 * @param secret takes it, from cmd->pool
 * @param directive its name, for what is returned
 * @return NULL, or why not, without any of it, for httpd to print with the
 *         directive's file and line: neither file: nor env:, no regular
 *         file, unreadable, empty, or longer than 4096 bytes
 */
const char *smartsupp_source_read(smartsupp_secret_t *secret,
                                  const cmd_parms *cmd, const char *directive,
                                  const char *source);

#endif
