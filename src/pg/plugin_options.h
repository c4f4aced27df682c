/*
 * What is asked of the output plugin, in one place for the stream and for queries (pg/stream, pg/slot_peek).
 *
 * pgoutput gets the highest protocol version that the server knows (1, from 14 on 2, from 15 on 3, from 16 on 4) and, from 14 on,
 * logical messages.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"

enum { PLUGIN_OPTIONS_MAX = 8 };

struct plugin_options {
    const char *const *publications;
    unsigned n_publications;
    bool binary;  /* from 14 on; before, it is not asked for */
    bool streams; /* transactions in progress, from 14 on */
    bool is_test_decoding;
};

struct plugin_option {
    const char *name;
    const char *value;
};

/* How many there are; texts in `a`. `version` is the server's, 150018. */
unsigned plugin_options_list(struct arena *a, const struct plugin_options *o, int version,
                             struct plugin_option out[PLUGIN_OPTIONS_MAX]);
