#include "model/snapshot.h"

#include <errno.h>
#include <inttypes.h>

#include "base/buffer.h"

enum { RUNNING_MAX = 1000000 };

/* Digits up to one of `ends`; *at is left on that character. */
static bool parse_xid(const char **at, const char *ends, uint64_t *out)
{
    char *end = NULL;

    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *out = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0 && strchr(ends, *end) != NULL; /* finds the NUL too */
}

static bool parse_running(struct arena *a, const char *at, struct snapshot *s)
{
    size_t commas = 0;

    if (*at == '\0')
        return true;
    for (const char *c = at; *c != '\0'; c++)
        commas += *c == ',';
    if (commas >= RUNNING_MAX)
        return false;

    uint64_t *running = arena_alloc(a, (commas + 1) * sizeof *running);
    uint64_t least = s->xmin;
    for (;;) {
        uint64_t xid;

        if (!parse_xid(&at, ",", &xid) || xid < least || xid >= s->xmax)
            return false;
        running[s->n_running++] = xid;
        least = xid + 1;
        if (*at++ == '\0')
            break;
    }
    s->running = running;
    return true;
}

struct error *snapshot_parse(struct arena *a, const char *text, struct snapshot *out)
{
    struct snapshot s = {0};
    const char *at = text;

    if (!parse_xid(&at, ":", &s.xmin) || *at++ != ':' || !parse_xid(&at, ":", &s.xmax) || *at++ != ':')
        return error_new(ERROR_DATA, "\"%.100s\" is not a snapshot", text);
    /* A slot's snapshot may have xmin beyond xmax. The server asks for xmin first (XidInMVCCSnapshot), and so do we. */
    if (s.xmax < s.xmin)
        s.xmax = s.xmin;
    if (!parse_running(a, at, &s))
        return error_new(ERROR_DATA, "\"%.100s\" is not a snapshot", text);
    *out = s;
    return NULL;
}

char *snapshot_format(struct arena *a, const struct snapshot *s)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_printf(b, "%" PRIu64 ":%" PRIu64 ":", s->xmin, s->xmax);
    for (size_t i = 0; i < s->n_running; i++)
        buffer_printf(b, "%s%" PRIu64, i == 0 ? "" : ",", s->running[i]);
    return arena_strdup(a, buffer_text(b));
}

bool snapshot_sees(const struct snapshot *s, uint64_t xid)
{
    size_t low = 0, high = s->n_running;

    if (xid < s->xmin)
        return true;
    if (xid >= s->xmax)
        return false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->running[middle] == xid)
            return false;
        if (s->running[middle] < xid)
            low = middle + 1;
        else
            high = middle;
    }
    return true;
}

bool snapshot_covers(const struct snapshot *newer, const struct snapshot *older)
{
    for (size_t i = 0; i < newer->n_running; i++)
        if (snapshot_sees(older, newer->running[i]))
            return false;
    /* Ids that were not even known to have ended when the newer one was taken. */
    for (uint64_t xid = newer->xmax; xid < older->xmax; xid++)
        if (snapshot_sees(older, xid))
            return false;
    return true;
}

uint64_t xid_widen(uint32_t xid, uint64_t near)
{
    int32_t distance = (int32_t)(xid - (uint32_t)near);

    return distance < 0 && near < 0 - (uint64_t)(int64_t)distance ? xid : near + (uint64_t)(int64_t)distance;
}

bool gate_lets_through(const struct gate *g, uint32_t xid, struct lsn commit)
{
    return !lsn_before(commit, g->upto) || !snapshot_sees(&g->snapshot, xid_widen(xid, g->snapshot.xmax));
}
