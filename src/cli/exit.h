/* Exit statuses: a contract (SPEC section 11). */
#pragma once

#include "base/error.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_REFUSED = 3,
    EXIT_DIFFERENT = 4,
    EXIT_NOT_COMPARED = 5,
    EXIT_INTERRUPTED = 130,
};

/* NULL is EXIT_DONE. */
enum exit_status exit_status(const struct error *err);

/* For help; ends with a NULL meaning. */
struct exit_meaning {
    enum exit_status status;
    const char *meaning;
};
extern const struct exit_meaning exit_meanings[];
