#include "worker/accepted.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/json.h"
#include "sys/file.h"

/* Who gives the command on this machine; sudo hides nobody. */
static const char *person(struct arena *a)
{
    const struct passwd *user = getpwuid(getuid()); /* NOLINT(concurrency-mt-unsafe): before there are threads */
    const char *by_sudo = getenv("SUDO_USER");      /* NOLINT(concurrency-mt-unsafe): nobody here calls setenv */
    const char *name = user == NULL ? arena_printf(a, "uid %u", (unsigned)getuid()) : user->pw_name;

    return by_sudo == NULL || by_sudo[0] == '\0' ? arena_strdup(a, name) : arena_printf(a, "%s (as %s)", by_sudo, name);
}

static void append_line(struct buffer *lines, const struct check_item *item, const char *who)
{
    CLEANUP(json_decref)
    json_t *line = json_pack("{s:o, s:o, s:s, s:o, s:i}", "at", json_moment(clock_wall_us()), "who", json_text(who),
                             "item", item->id, "reason", json_text(item->reason), "objects", (int)item->n_objects);
    char *text = json_dumps(line, JSON_COMPACT);

    buffer_printf(lines, "%s\n", text == NULL ? "" : text);
    free(text);
}

struct error *accepted_record(struct arena *a, const char *folder, const struct check_item *items, unsigned n)
{
    CLEANUP(buffer_free) struct buffer *lines = buffer_new();
    const char *path = arena_printf(a, "%s/accepted", folder);
    const char *who = person(a);

    for (unsigned i = 0; i < n; i++) {
        if (!items[i].is_accepted)
            continue;
        log_info("alarm \"%s\" of the precheck was accepted by %s: %s", items[i].id, who, items[i].reason);
        append_line(lines, &items[i], who);
    }
    return lines->length == 0 ? file_remove(path) : file_replace(path, lines->bytes, lines->length);
}
