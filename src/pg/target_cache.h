/*
 * The prepared statements of one session: key to name, the least recently used forgotten first.
 *
 * Keys are compared in full (D5: a hash alone would run another table's statement). Pure; one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

enum prepared_state {
    PREPARED_NOT,  /* the server does not know it: prepare first */
    PREPARED_SENT, /* asked for, not answered: may be executed behind that in the same pipeline */
    PREPARED_DONE,
};

struct prepared {
    char name[24];
    enum prepared_state state;
};

struct statement_cache;

RETURNS_NONNULL struct statement_cache *statement_cache_new(unsigned capacity);
void statement_cache_free(struct statement_cache *c);
DEFINE_CLEANUP(struct statement_cache, statement_cache_free);

/*
 * The statement of this key, a new one in state NOT when there is none. Good until `capacity` further keys were asked
 * for. `evicted` gets the name of the statement that had to make room and that the server should forget, or "".
 */
RETURNS_NONNULL struct prepared *statement_cache_get(struct statement_cache *c, const void *key, size_t length,
                                                     char evicted[static 24]);

/* The server has forgotten them all, as with a new session. */
void statement_cache_forget(struct statement_cache *c);
