/* One fault, struck by the nth call that asks. Shared by all fakes of a test, so that "nth" counts over all of them. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct fault {
    unsigned countdown; /* strikes when it gets to one; zero is never */
    bool struck;
    const char *call; /* that it struck */
};

/* ERROR_TRANSIENT when it strikes. `f` may be NULL. */
MUST_USE static inline struct error *fault_maybe(struct fault *f, const char *call)
{
    if (f == NULL || f->countdown == 0 || --f->countdown > 0)
        return NULL;
    f->struck = true;
    f->call = call;
    return error_new(ERROR_TRANSIENT, "injected fault in %s", call);
}
