#include "smartsupp_identity.h"

#include <string.h>

/* The longest channel id, in bytes; its column is VARCHAR(128). */
#define CHANNEL_ID_MAX 128

/* 2000-01-01 and 2100-01-01 in epoch ms. What lies outside is no time of a
 * conversation, or one in seconds. */
#define BEGIN_AT_MIN APR_INT64_C(946684800000)
#define BEGIN_AT_MAX APR_INT64_C(4102444800000)

/* An id that no database merges with another one or shows as another one. */
static int is_clean_id(const char *id)
{
    apr_size_t length = strlen(id);
    const unsigned char *at = (const unsigned char *)id;

    if (!length || length > CHANNEL_ID_MAX || id[0] == ' ' ||
        id[length - 1] == ' ') {
        return 0;
    }
    for (; *at; at++) {
        int is_c1 = at[0] == 0xc2 && at[1] < 0xa0; /* U+0080 to U+009F */

        if (*at < 0x20 || *at == 0x7f || is_c1) {
            return 0;
        }
    }
    return 1;
}

/* The integer, or reader->null and an error. */
static apr_int64_t read_integer(smartsupp_reader_t *reader,
                                const smartsupp_place_t *at, apr_int64_t min,
                                apr_int64_t max)
{
    const char *code = "range";
    apr_int64_t integer;

    if (smartsupp_field_whole(&integer, at->value) && integer >= min &&
        integer <= max) {
        return integer;
    }
    if (!at->value || cJSON_IsNull(at->value)) {
        code = "missing";
    }
    else if (!cJSON_IsNumber(at->value)) {
        code = "type";
    }
    smartsupp_field_error(reader, code, at);
    return reader->null;
}

apr_int64_t smartsupp_identity_account(smartsupp_reader_t *reader,
                                       const smartsupp_place_t *at)
{
    return read_integer(reader, at, 1, SMARTSUPP_INTEGER_MAX);
}

apr_int64_t smartsupp_identity_begin(smartsupp_reader_t *reader,
                                     const smartsupp_place_t *at)
{
    return read_integer(reader, at, BEGIN_AT_MIN, BEGIN_AT_MAX);
}

const char *smartsupp_identity_channel(smartsupp_reader_t *reader,
                                       const smartsupp_place_t *at)
{
    if (cJSON_IsString(at->value)) {
        if (is_clean_id(at->value->valuestring)) {
            return smartsupp_field_copy(reader, at->value->valuestring);
        }
        smartsupp_field_error(reader, "format", at);
        return NULL;
    }
    return read_integer(reader, at, 0, SMARTSUPP_INTEGER_MAX) == reader->null
               ? NULL
               : smartsupp_field_number(reader, at);
}
