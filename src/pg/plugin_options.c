#include "pg/plugin_options.h"

#include <assert.h>

#include "pg/conn.h"

struct list {
    struct plugin_option *options;
    unsigned n;
};

static void add(struct list *list, const char *name, const char *value)
{
    assert(list->n < PLUGIN_OPTIONS_MAX);
    list->options[list->n++] = (struct plugin_option){name, value};
}

/* What a version brings beyond the one before is only used when it is asked for. */
static const char *protocol_version(int server_version)
{
    static const struct {
        int since;
        const char *protocol;
    } versions[] = {{160000, "4"}, {150000, "3"}, {140000, "2"}, {0, "1"}};
    unsigned i = 0;

    while (server_version < versions[i].since)
        i++;
    return versions[i].protocol;
}

/* Names, quoted as identifiers. */
static const char *publication_list(struct arena *a, const struct plugin_options *o)
{
    char *names = arena_strdup(a, "");

    for (unsigned i = 0; i < o->n_publications; i++)
        names = arena_printf(a, "%s%s%s", names, i == 0 ? "" : ",", pg_quote_identifier(a, o->publications[i]));
    return names;
}

static void add_pgoutput(struct list *list, struct arena *a, const struct plugin_options *o, int version)
{
    bool has_more = version >= 140000;

    add(list, "proto_version", protocol_version(version));
    add(list, "publication_names", publication_list(a, o));
    if (has_more)
        add(list, "messages", "true");
    if (has_more && o->streams)
        add(list, "streaming", "on");
    if (has_more && o->binary)
        add(list, "binary", "true");
}

unsigned plugin_options_list(struct arena *a, const struct plugin_options *o, int version,
                             struct plugin_option out[PLUGIN_OPTIONS_MAX])
{
    struct list list = {.options = out};

    if (o->is_test_decoding) {
        add(&list, "include-xids", "on");
        add(&list, "include-timestamp", "on");
    } else {
        add_pgoutput(&list, a, o, version);
    }
    return list.n;
}
