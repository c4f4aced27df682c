#include "model/structure.h"

#include <string.h>

struct changes {
    struct arena *arena;
    const struct structure *before;
    const struct structure *now;
    const struct structure *there;
    struct structure_change *list;
    unsigned n;
};

static const struct structure_entry *find(const struct structure *s, const char *key)
{
    unsigned low = 0, high = s->n;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = strcmp(s->entries[middle].key, key);

        if (order == 0)
            return &s->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool is_table(const struct structure_entry *e)
{
    return e->key[0] == 't';
}

static const char *parent_name(const struct structure *s, const struct structure_entry *e)
{
    const struct structure_entry *parent = *e->parent == '\0' ? NULL : find(s, e->parent);

    return parent == NULL ? "" : parent->name;
}

/* `column "x" of table "public.a"` */
static const char *whole_name(struct arena *a, const struct structure *s, const struct structure_entry *e)
{
    const char *parent = parent_name(s, e);

    return *parent == '\0' ? e->name : arena_printf(a, "%s of %s", e->name, parent);
}

/* By name: keys are each server's own. */
static const struct structure_entry *find_there(const struct changes *c, const struct structure *of,
                                                const struct structure_entry *e)
{
    const char *parent = parent_name(of, e);

    for (unsigned i = 0; i < c->there->n; i++) {
        const struct structure_entry *other = &c->there->entries[i];

        if (strcmp(other->name, e->name) == 0 && strcmp(parent_name(c->there, other), parent) == 0)
            return other;
    }
    return NULL;
}

static void add(struct changes *c, const struct structure_entry *e, bool is_new_table, const char *what)
{
    c->list[c->n++] = (struct structure_change){.what = what, .key = e->key, .is_new_table = is_new_table};
}

static void note_created(struct changes *c, const struct structure_entry *e)
{
    const char *name = whole_name(c->arena, c->now, e);

    if (*e->parent != '\0' && find(c->before, e->parent) == NULL)
        return;
    if (is_table(e))
        add(c, e, true, arena_printf(c->arena, "%s was created", name));
    else if (find_there(c, c->now, e) == NULL)
        add(c, e, false, arena_printf(c->arena, "%s was added (%s)", name, e->definition));
}

static void note_dropped(struct changes *c, const struct structure_entry *e)
{
    if (*e->parent != '\0' && find(c->now, e->parent) == NULL)
        return;
    if (find_there(c, c->before, e) != NULL)
        add(c, e, false, arena_printf(c->arena, "%s was dropped", whole_name(c->arena, c->before, e)));
}

static void note_altered(struct changes *c, const struct structure_entry *was, const struct structure_entry *is)
{
    const struct structure_entry *there = find_there(c, c->now, is);
    const char *old_name = whole_name(c->arena, c->before, was);

    if (strcmp(was->name, is->name) != 0 && there == NULL)
        add(c, is, false, arena_printf(c->arena, "%s was renamed: it is %s now", old_name, is->name));
    if (strcmp(was->definition, is->definition) != 0 &&
        (there == NULL || strcmp(there->definition, is->definition) != 0))
        add(c, is, false, arena_printf(c->arena, "%s was %s and is %s now", old_name, was->definition, is->definition));
}

struct structure_change *structure_changes(struct arena *a, const struct structure *before, const struct structure *now,
                                           const struct structure *there, unsigned *out_n)
{
    struct changes c = {.arena = a, .before = before, .now = now, .there = there};
    unsigned b = 0, n = 0;

    c.list = arena_alloc(a, (2 * (size_t)(before->n + now->n) + 1) * sizeof *c.list);
    while (b < before->n || n < now->n) {
        int order = b == before->n ? 1 : n == now->n ? -1 : strcmp(before->entries[b].key, now->entries[n].key);

        if (order < 0)
            note_dropped(&c, &before->entries[b++]);
        else if (order > 0)
            note_created(&c, &now->entries[n++]);
        else
            note_altered(&c, &before->entries[b++], &now->entries[n++]);
    }
    *out_n = c.n;
    return c.list;
}
