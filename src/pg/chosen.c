#include "pg/chosen.h"

#include "base/buffer.h"
#include "model/nearest.h"
#include "pg/cells.h"
#include "pg/sql.h"

enum { PARTITION_LEVELS_MAX = 100 };

/* ---- relations ---- */

MUST_USE static struct error *read_relations(struct pg_conn *source, struct arena *a, struct chosen *out)
{
    struct pg_rows rows;

    TRY(pg_query(source, a, "reading the list of relations", sql_selection_relations, NULL, 0, &rows));
    out->n_relations = rows.n_rows;
    out->relations = arena_alloc(a, (rows.n_rows + 1UL) * sizeof *out->relations);
    for (unsigned r = 0; r < rows.n_rows; r++) {
        char **cell = rows.rows[r];

        out->relations[r] = (struct chosen_relation){
            .oid = cell_u32(cell[0]),
            .schema = cell[1],
            .name = cell[2],
            .kind = cell_char(cell[3]),
            .parent = cell_u32(cell[4]),
            .owner = cell_u32(cell[5]),
            .is_of_identity = cell_bool(cell[6]),
            .has_primary_key = cell_bool(cell[7]),
            .place = -1,
        };
    }
    return NULL;
}

static struct chosen_relation *find(const struct chosen *c, uint32_t oid)
{
    unsigned low = 0, high = c->n_relations;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (c->relations[middle].oid == oid)
            return &c->relations[middle];
        if (c->relations[middle].oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct chosen_relation *chosen_find(const struct chosen *c, uint32_t oid)
{
    return find(c, oid);
}

static int by_oid(const void *left, const void *right)
{
    const uint32_t *l = left, *r = right;

    return (*l > *r) - (*l < *r);
}

bool chosen_has(const struct chosen *c, uint32_t oid)
{
    return c->n_chosen > 0 && bsearch(&oid, c->oids, c->n_chosen, sizeof oid, by_oid) != NULL;
}

/* ---- the rules ---- */

static bool is_belonging(const struct chosen_relation *r)
{
    return r->kind == 'S' && r->owner != 0;
}

/* Of the rules that match a partition or what it is a part of the last one decides. */
static void decide_as_part(const struct chosen *c, struct chosen_relation *r)
{
    const struct chosen_relation *above = r;

    for (unsigned i = 0; above->parent != 0 && i < PARTITION_LEVELS_MAX; i++) {
        above = find(c, above->parent);
        if (above == NULL)
            return;
        if (above->place > r->place) {
            r->place = above->place;
            r->verdict = above->verdict;
        }
    }
}

static void decide(struct chosen *c, struct selection *selection)
{
    for (unsigned i = 0; i < c->n_relations; i++) {
        struct chosen_relation *r = &c->relations[i];

        r->verdict = selection_decide(selection, r->schema, r->name, &r->place);
    }
    for (unsigned i = 0; i < c->n_relations; i++)
        decide_as_part(c, &c->relations[i]);
    for (unsigned i = 0; i < c->n_relations; i++) {
        struct chosen_relation *r = &c->relations[i];

        r->is_chosen =
            r->verdict == SELECTION_CHOSEN || (r->verdict == SELECTION_SILENT && selection_takes_silent(selection));
        if (is_belonging(r) && (r->is_of_identity || r->verdict == SELECTION_SILENT))
            r->is_chosen = false;
    }
}

/* Sequences that belong to chosen tables. Whatever a rule says: their columns need them. */
static void choose_belongings(struct chosen *c)
{
    for (unsigned i = 0; i < c->n_relations; i++) {
        struct chosen_relation *r = &c->relations[i];
        const struct chosen_relation *owner = is_belonging(r) ? find(c, r->owner) : NULL;

        r->is_chosen = r->is_chosen || (owner != NULL && owner->is_chosen);
    }
}

static bool has_chosen_above(const struct chosen *c, const struct chosen_relation *r)
{
    for (unsigned i = 0; r != NULL && r->parent != 0 && i < PARTITION_LEVELS_MAX; i++) {
        r = find(c, r->parent);
        if (r != NULL && r->is_chosen)
            return true;
    }
    return false;
}

/* Partitions of what is chosen, but for those that a rule left out. */
static void choose_partitions(struct chosen *c)
{
    for (unsigned i = 0; i < c->n_relations; i++) {
        struct chosen_relation *r = &c->relations[i];

        if (r->parent != 0 && !r->is_chosen && r->verdict == SELECTION_SILENT)
            r->is_chosen = has_chosen_above(c, r);
    }
}

/* ---- what they need ---- */

/* Of those chosen that were not asked about yet. */
static char *oids_to_ask(struct arena *a, const struct chosen *c, bool *asked, unsigned *out_n)
{
    CLEANUP(buffer_free) struct buffer *oids = buffer_new();

    *out_n = 0;
    for (unsigned i = 0; i < c->n_relations; i++) {
        if (!c->relations[i].is_chosen || asked[i])
            continue;
        asked[i] = true;
        buffer_printf(oids, "%c%u", (*out_n)++ == 0 ? '{' : ',', c->relations[i].oid);
    }
    buffer_append_char(oids, '}');
    return arena_strdup(a, buffer_text(oids));
}

/* What one round of questions found. */
struct needs {
    struct pg_rows rows;
    struct needs *before;
};

static void add_extension(struct arena *a, struct chosen *c, const char *name)
{
    for (unsigned i = 0; i < c->n_extensions; i++)
        if (strcmp(c->extensions[i], name) == 0)
            return;
    const char **wider = arena_alloc(a, (c->n_extensions + 1UL) * sizeof *wider);
    if (c->n_extensions > 0)
        memcpy(wider, c->extensions, c->n_extensions * sizeof *wider);
    wider[c->n_extensions++] = name;
    c->extensions = wider;
}

/* A relation that a rule left out is not forced upon anybody. */
static void choose_needed(struct chosen *c, const struct pg_rows *needed)
{
    for (unsigned r = 0; r < needed->n_rows; r++) {
        struct chosen_relation *relation =
            strcmp(needed->rows[r][0], "0") == 0 ? NULL : find(c, cell_u32(needed->rows[r][2]));

        if (relation == NULL || relation->is_chosen || relation->verdict == SELECTION_LEFT_OUT)
            continue;
        relation->is_chosen = true;
        relation->was_added = true;
        c->n_added++;
    }
}

/* What a table inherits from or is a part of, by its own row in pg_depend. */
static const char *reason_of(const struct chosen_relation *by, const struct chosen_relation *needed, const char *what)
{
    if (strcmp(what, "itself") != 0)
        return what;
    if (by->parent == needed->oid)
        return "it is a partition of that";
    if (by->kind == 'S')
        return "it is the sequence of an identity column";
    return "it inherits from that, or has it as a column's type";
}

static void take_lacks(struct arena *a, struct chosen *c, const struct needs *all)
{
    unsigned room = 0;

    for (const struct needs *n = all; n != NULL; n = n->before)
        room += n->rows.n_rows;
    c->lacks = arena_alloc(a, (room + 1UL) * sizeof *c->lacks);
    for (const struct needs *n = all; n != NULL; n = n->before)
        for (unsigned r = 0; r < n->rows.n_rows; r++) {
            char **cell = n->rows.rows[r];
            const struct chosen_relation *by = find(c, cell_u32(cell[0]));
            const struct chosen_relation *needed = by == NULL ? NULL : find(c, cell_u32(cell[2]));

            if (by == NULL)
                add_extension(a, c, cell[2]);
            else if (needed != NULL && !needed->is_chosen)
                c->lacks[c->n_lacks++] = (struct chosen_lack){.by = by,
                                                              .needed = needed,
                                                              .what = reason_of(by, needed, cell[1]),
                                                              .is_foreign_key = cell_bool(cell[3])};
        }
}

MUST_USE static struct error *follow_needs(struct pg_conn *source, struct arena *a, struct chosen *c,
                                           bool with_dependencies)
{
    bool *asked = arena_alloc(a, (c->n_relations + 1UL) * sizeof *asked);
    struct needs *all = NULL;

    for (;;) {
        struct needs *round = ARENA_NEW(a, struct needs);
        unsigned n = 0;
        const char *oids = oids_to_ask(a, c, asked, &n);

        if (n == 0)
            break;
        TRY(pg_query(source, a, "reading what the chosen objects need", sql_selection_needs, &oids, 1, &round->rows));
        round->before = all;
        all = round;
        if (!with_dependencies)
            break;
        choose_needed(c, &round->rows);
        choose_partitions(c);
        choose_belongings(c);
    }
    take_lacks(a, c, all);
    return NULL;
}

/* ---- all ---- */

static void list_chosen(struct arena *a, struct chosen *c)
{
    uint32_t *oids = arena_alloc(a, (c->n_relations + 1UL) * sizeof *oids);

    c->n_chosen = 0;
    for (unsigned i = 0; i < c->n_relations; i++)
        if (c->relations[i].is_chosen)
            oids[c->n_chosen++] = c->relations[i].oid;
    c->oids = oids;
}

struct error *chosen_resolve(struct pg_conn *source, struct arena *a, struct selection *selection,
                             bool with_dependencies, struct chosen **out)
{
    struct chosen *c = ARENA_NEW(a, struct chosen);

    TRY(read_relations(source, a, c));
    decide(c, selection);
    choose_belongings(c);
    c->n_complaints = selection_complaints(a, selection, &c->complaints);
    TRY(follow_needs(source, a, c, with_dependencies));
    list_chosen(a, c);
    *out = c;
    return NULL;
}

/* Those that rules left out were there before whatever came later. */
static void choose_later_partitions(struct chosen *c, uint32_t newest)
{
    for (unsigned i = 0; i < c->n_relations; i++) {
        struct chosen_relation *r = &c->relations[i];

        if (r->parent != 0 && r->oid > newest)
            r->is_chosen = r->is_chosen || has_chosen_above(c, r);
    }
}

/* What is chosen now, and what was chosen and is gone. */
static void add_later(struct arena *a, struct chosen *c, const uint32_t *oids, unsigned n)
{
    uint32_t *all = arena_alloc(a, (c->n_relations + n + 1UL) * sizeof *all);
    unsigned n_all = 0, at = 0;

    for (unsigned i = 0; i < c->n_relations; i++) {
        while (at < n && oids[at] < c->relations[i].oid)
            all[n_all++] = oids[at++];
        if (at < n && oids[at] == c->relations[i].oid)
            at++;
        if (c->relations[i].is_chosen)
            all[n_all++] = c->relations[i].oid;
    }
    while (at < n)
        all[n_all++] = oids[at++];
    c->oids = all;
    c->n_chosen = n_all;
}

MUST_USE static struct error *mark_captured(struct pg_conn *source, struct chosen *c, const char *task)
{
    static const char there[] =
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'pgtide' AND "
        "c.relname = 'chosen_' || $1 AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')";
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "captured relations");
    struct pg_rows rows;

    if (task == NULL)
        return NULL;
    TRY(pg_query(source, scratch, "looking for what was chosen since", there, &task, 1, &rows));
    if (rows.n_rows == 0)
        return NULL;
    TRY(pg_query(source, scratch, "reading what was chosen since",
                 arena_printf(scratch,
                              "SELECT object::text FROM pgtide.%s WHERE class = 'pg_catalog.pg_class'::regclass",
                              pg_quote_identifier(scratch, arena_printf(scratch, "chosen_%s", task))),
                 NULL, 0, &rows));
    for (unsigned r = 0; r < rows.n_rows; r++) {
        struct chosen_relation *relation = find(c, cell_u32(rows.rows[r][0])); /* else an index, or a type's */

        if (relation != NULL)
            relation->is_chosen = true;
    }
    return NULL;
}

struct error *chosen_restore(struct pg_conn *source, struct arena *a, const struct chosen_before *before,
                             struct chosen **out)
{
    struct chosen *c = ARENA_NEW(a, struct chosen);

    TRY(read_relations(source, a, c));
    c->oids = before->oids;
    c->n_chosen = before->n;
    for (unsigned i = 0; i < c->n_relations; i++)
        c->relations[i].is_chosen = chosen_has(c, c->relations[i].oid);
    choose_later_partitions(c, before->n == 0 ? 0 : before->oids[before->n - 1]);
    TRY(mark_captured(source, c, before->task));
    choose_belongings(c);
    add_later(a, c, before->oids, before->n);
    *out = c;
    return NULL;
}

const struct chosen_relation *chosen_top(const struct chosen *c, const struct chosen_relation *r)
{
    for (unsigned i = 0; r->parent != 0 && i < PARTITION_LEVELS_MAX; i++) {
        const struct chosen_relation *above = find(c, r->parent);

        if (above == NULL)
            break;
        r = above;
    }
    return r;
}

struct error *chosen_has_above(struct pg_conn *source, const struct chosen *c, uint32_t oid, bool *out_has)
{
    static const char sql[] =
        "WITH RECURSIVE up(oid) AS (SELECT $1::oid UNION SELECT i.inhparent FROM up JOIN pg_inherits i "
        "ON i.inhrelid = up.oid JOIN pg_class t ON t.oid = i.inhrelid AND t.relispartition) "
        "SELECT oid::text FROM up";
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "above");
    const char *param = arena_printf(scratch, "%u", oid);
    struct pg_rows rows;
    bool has = false;

    TRY(pg_query(source, scratch, "asking what a table is a partition of", sql, &param, 1, &rows));
    for (unsigned r = 0; r < rows.n_rows; r++)
        has = has || chosen_has(c, cell_u32(rows.rows[r][0]));
    *out_has = has;
    return NULL;
}

static bool takes_chosen(const void *self, uint32_t oid, const char *schema, const char *name)
{
    (void)schema;
    (void)name;
    return chosen_has(self, oid);
}

struct relation_filter chosen_filter(const struct chosen *c)
{
    return c == NULL ? (struct relation_filter){0} : (struct relation_filter){.takes = takes_chosen, .self = c};
}

void chosen_filter_rows(const struct chosen *c, struct pg_rows *rows, unsigned oid_column)
{
    unsigned kept = 0;

    for (unsigned r = 0; r < rows->n_rows; r++)
        if (c == NULL || chosen_has(c, cell_u32(rows->rows[r][oid_column])))
            rows->rows[kept++] = rows->rows[r];
    rows->n_rows = kept;
}

const char *chosen_oids(struct arena *a, const struct chosen *c)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    if (c == NULL)
        return NULL;
    for (unsigned i = 0; i < c->n_chosen; i++)
        buffer_printf(text, "%c%u", i == 0 ? '{' : ',', c->oids[i]);
    buffer_append_text(text, c->n_chosen == 0 ? "{}" : "}");
    return arena_strdup(a, buffer_text(text));
}

void chosen_filter_catalog(const struct chosen *c, struct catalog *catalog)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < catalog->n_tables; i++)
        if (c == NULL || chosen_has(c, catalog->tables[i].oid))
            catalog->tables[kept++] = catalog->tables[i];
    catalog->n_tables = kept;
}

char *chosen_nearest(struct arena *a, const struct chosen *c, const struct selection_rule *rule)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "nearest");
    struct nearest schema = {0}, whole = {0};
    const char *typed = rule->is_exact ? arena_printf(scratch, "%s.%s", rule->schema, rule->name) : rule->schema;

    for (unsigned i = 0; i < c->n_relations; i++) {
        const struct chosen_relation *r = &c->relations[i];

        if (rule->is_exact)
            nearest_try(&whole, typed, arena_printf(scratch, "%s.%s", r->schema, r->name));
        else if (strpbrk(typed, "*?\\") == NULL)
            nearest_try(&schema, typed, r->schema);
        else if (strcmp(typed, "*") == 0)
            nearest_try(&schema, rule->name, r->schema); /* a schema's name alone means a table of that name */
    }
    if (whole.name != NULL)
        return arena_strdup(a, whole.name);
    return schema.name == NULL ? NULL : arena_printf(a, "%s.*", schema.name);
}
