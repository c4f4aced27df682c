/*
 * model/lsn and model/snapshot: what a server answers when asked for a position or a snapshot. The input is that text.
 *
 * Any text is refused or is a value that comes back the same through its own text; a snapshot keeps what it promises, and a
 * gate (G2) lets through what its snapshot saw running.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "model/lsn.h"
#include "model/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void demand(bool holds)
{
    if (!holds)
        abort();
}

static void check_lsn(const char *text)
{
    struct lsn lsn, again;

    if (!lsn_parse(text, &lsn))
        return;
    demand(lsn_parse(lsn_format(lsn).text, &again));
    demand(lsn_equal(lsn, again));
}

static void check_same(struct arena *a, const struct snapshot *s)
{
    struct snapshot again;

    demand(snapshot_parse(a, snapshot_format(a, s), &again) == NULL);
    demand(again.xmin == s->xmin && again.xmax == s->xmax && again.n_running == s->n_running);
    for (size_t i = 0; i < s->n_running; i++)
        demand(again.running[i] == s->running[i]);
    demand(snapshot_covers(s, &again));
}

/* The stream carries 32 bits of an id; they are enough for 2^31 transactions before the snapshot. */
static bool is_told_by_32_bits(const struct snapshot *s, uint64_t xid)
{
    return s->xmax - xid < UINT64_C(1) << 31;
}

static void check_promises(const struct snapshot *s)
{
    const struct gate gate = {.snapshot = *s, .upto = {100}};

    demand(s->xmin == 0 || snapshot_sees(s, s->xmin - 1));
    demand(!snapshot_sees(s, s->xmax));
    for (size_t i = 0; i < s->n_running; i++) {
        demand(!snapshot_sees(s, s->running[i]));
        demand(!is_told_by_32_bits(s, s->running[i]) ||
               gate_lets_through(&gate, (uint32_t)s->running[i], (struct lsn){99}));
    }
    demand(gate_lets_through(&gate, (uint32_t)s->xmin, gate.upto));
}

static void check_snapshot(const char *text)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "snapshot");
    struct snapshot s;
    struct error *err = snapshot_parse(a, text, &s);

    if (err != NULL) {
        demand(error_kind(err) == ERROR_DATA);
        error_free(err);
        return;
    }
    check_same(a, &s);
    check_promises(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char *text = malloc(length + 1); /* of exactly this size, so that a read past the NUL is seen */

    demand(text != NULL);
    if (length > 0)
        memcpy(text, bytes, length);
    text[length] = '\0';
    check_lsn(text);
    check_snapshot(text);
    free(text);
    return 0;
}
