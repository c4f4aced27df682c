#include "cli/hide.h"

#include <string.h>

#include "base/macros.h"

bool argument_may_hold_secret(const char *argument)
{
    const char *authority = strstr(argument, "://");

    if (strcasestr(argument, "passw") != NULL)
        return true;
    /* postgresql://user:secret@host, and "%70assword=…" in a URI's query */
    return authority != NULL && (strchr(authority + 3, '@') != NULL || strchr(authority, '%') != NULL) &&
           (strchr(authority + 3, ':') != NULL || strchr(authority, '%') != NULL);
}

void arguments_hide(int argc, char **argv)
{
    static const char shown[] = "***";

    for (int i = 1; i < argc; i++) {
        size_t length = strlen(argv[i]);

        if (!argument_may_hold_secret(argv[i]))
            continue;
        explicit_bzero(argv[i], length);
        memcpy(argv[i], shown, length < sizeof shown ? length : sizeof shown - 1);
    }
}
