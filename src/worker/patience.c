#include "worker/patience.h"

enum { TRIES = 3 };

void patience_renew(struct patience *p)
{
    *p = (struct patience){.failures = 0};
}

bool patience_allows(struct patience *p, const struct error *err)
{
    switch (error_kind(err)) {
    case ERROR_TRANSIENT:
        return true;
    case ERROR_CONFIG:
    case ERROR_BUG:
        return ++p->failures < TRIES;
    case ERROR_DATA:
    case ERROR_HISTORY:
    case ERROR_REFUSED:
    case ERROR_USAGE:
    case ERROR_CANCELLED:
    case ERROR_KIND_COUNT:
        return false;
    }
    return false;
}

bool patience_wait(struct patience *p, const struct stop *stop)
{
    return stop_wait_ms(stop, backoff_next_ms(&p->backoff));
}
