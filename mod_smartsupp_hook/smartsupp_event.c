#include "smartsupp_event.h"

#include <string.h>

#include <apr_strings.h>

int smartsupp_event_is(const cJSON *root)
{
    const cJSON *member;

    if (!cJSON_IsObject(root)) {
        return 0;
    }
    cJSON_ArrayForEach(member, root)
    {
        if (!strcmp(member->string, "type") && cJSON_IsString(member) &&
            !strcmp(member->valuestring, "event_callback")) {
            return 1;
        }
    }
    return 0;
}

/* A whole number, or the string of digits that Smartsupp makes of it here. */
static apr_int64_t read_account(const cJSON *value)
{
    const char *text = cJSON_IsString(value) ? value->valuestring : "";
    apr_size_t length = strlen(text);
    apr_int64_t account = -1;

    if (length && length <= 16 && strspn(text, "0123456789") == length) {
        account = apr_strtoi64(text, NULL, 10);
    }
    else {
        smartsupp_field_whole(&account, value);
    }
    return account >= 0 && account <= SMARTSUPP_INTEGER_MAX ? account
                                                            : SMARTSUPP_NULL;
}

void smartsupp_event_read(smartsupp_event_t *event, smartsupp_reader_t *reader,
                          const cJSON *root)
{
    const cJSON *member;

    event->account_id = SMARTSUPP_NULL;
    cJSON_ArrayForEach(member, root)
    {
        if (!strcmp(member->string, "account_id")) {
            event->account_id = read_account(member);
        }
        if (!cJSON_IsString(member)) {
            continue;
        }
        if (!strcmp(member->string, "event")) {
            event->event = smartsupp_field_copy(reader, member->valuestring);
        }
        else if (!strcmp(member->string, "timestamp")) {
            event->timestamp =
                smartsupp_field_copy(reader, member->valuestring);
        }
    }
}
