#include "smartsupp_json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_lib.h>

/* The end of the string whose first quote is at `at`. */
static char *skip_string(char *at)
{
    for (at++; *at != '"'; at++) {
        at += *at == '\\';
    }
    return at + 1;
}

static char *skip_number(char *at, const char *end)
{
    while (at < end && *at && strchr("+-.0123456789Ee", *at)) {
        at++;
    }
    return at;
}

/* All digits of a double, or what cJSON reads as infinity. */
static void shorten(char *number, char *end)
{
    char text[32];
    double value = strtod(number, NULL); /* ends at what follows the number */
    size_t length = (size_t)snprintf(
        text, sizeof(text), isinf(value) ? "%s1e999" : "%s%.17g",
        isinf(value) && value < 0 ? "-" : "", value);

    memcpy(number, text, length);
    memset(number + length, ' ', (size_t)(end - number) - length);
}

void smartsupp_json_shorten_numbers(char *text, apr_size_t length)
{
    /* whatever another module has set: a comma is no decimal point here */
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    locale_t before = plain ? uselocale(plain) : (locale_t)0;
    char *end = text + length;
    char *at = text;

    while (at < end) {
        char *start = at;

        if (*at == '"') {
            at = skip_string(at);
        }
        else if (*at == '-' || apr_isdigit(*at)) {
            at = skip_number(at, end);
            if (at - start > SMARTSUPP_JSON_NUMBER_MAX) {
                shorten(start, at);
            }
        }
        else {
            at++;
        }
    }
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
}
