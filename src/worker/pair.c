#include "worker/pair.h"

#include "control/client.h"

enum { CALL_MS = 5000 };

struct error *pair_open(struct arena *a, const struct sync_options *options, struct stop *stop, struct pair *out)
{
    struct pair p = {.arena = a, .options = options, .stop = stop};

    TRY(pg_endpoint_parse(a, "source", options->source, &p.source));
    TRY(pg_endpoint_parse(a, "target", options->target, &p.target));
    p.name = arena_printf(a, "%s to %s", pg_endpoint_name(p.source), pg_endpoint_name(p.target));
    p.folder = task_folder_path(a, options->state_dir, pg_endpoint_key(p.source), pg_endpoint_key(p.target));
    TRY(task_record_read(a, p.folder, &p.record));
    *out = p;
    return NULL;
}

struct error *pair_ask(const struct pair *p, const char *command, json_t *arguments, json_t **out_reply)
{
    CLEANUP(control_close) struct control_client *client = NULL;

    *out_reply = NULL;
    TRY(control_connect(p->folder, &client));
    return client == NULL ? NULL : control_call(client, command, arguments, CALL_MS, out_reply);
}
