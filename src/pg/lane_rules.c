#include "pg/lane_rules.h"

#include <inttypes.h>

#include "pg/cells.h"
#include "pg/conn.h"

enum { FIRST_CAPACITY = 64 };

struct rule {
    uint32_t oid;
    const char *key; /* NULL: by table */
};

struct lane_rules {
    struct lane_rules_options options;
    struct pg_conn *conn;
    struct arena *arena; /* of the rules */
    struct rule *rules;  /* by oid */
    unsigned n, capacity;
    bool is_read; /* they were read: kept to the letter, none is added */
};

struct lane_rules *lane_rules_new(struct arena *a, struct lane_rules_options options)
{
    struct lane_rules *r = ARENA_NEW(a, struct lane_rules);

    *r = (struct lane_rules){.options = options, .arena = arena_new(a, "lane rules")};
    return r;
}

void lane_rules_close(struct lane_rules *r)
{
    if (r != NULL)
        pg_conn_close(TAKE(r->conn));
}

MUST_USE static struct error *connected(struct lane_rules *r)
{
    return pg_conn_keep(r->options.endpoint,
                        (struct pg_connect_options){.application_name = r->options.application_name,
                                                    .encoding = r->options.encoding,
                                                    .stop = r->options.stop},
                        &r->conn);
}

/* Where the rule is, or belongs. */
static unsigned place_of(const struct lane_rules *r, uint32_t oid)
{
    unsigned low = 0, high = r->n;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (r->rules[middle].oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add(struct lane_rules *r, unsigned at, struct rule rule)
{
    if (r->n == r->capacity) {
        unsigned wider = r->capacity == 0 ? FIRST_CAPACITY : 2 * r->capacity;
        struct rule *rules = arena_alloc(r->arena, wider * sizeof *rules);

        if (r->n > 0)
            memcpy(rules, r->rules, r->n * sizeof *rules);
        r->rules = rules;
        r->capacity = wider;
    }
    memmove(&r->rules[at + 1], &r->rules[at], (r->n - at) * sizeof *r->rules);
    r->rules[at] = rule;
    r->n++;
}

static void clear(struct lane_rules *r)
{
    arena_reset(r->arena);
    r->rules = NULL;
    r->n = 0;
    r->capacity = 0;
}

struct error *lane_rules_read(struct lane_rules *r)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "lane rules");
    struct pg_rows rows;

    clear(r);
    r->is_read = true;
    TRY(connected(r));
    TRY(pg_query(r->conn, a, "reading how tables were divided over lanes",
                 "SELECT source_oid::text, key FROM pgtide.lane_table WHERE task = $1 ORDER BY lane_table.source_oid",
                 &r->options.task, 1, &rows));
    for (unsigned i = 0; i < rows.n_rows; i++)
        add(r, r->n,
            (struct rule){.oid = cell_u32(rows.rows[i][0]),
                          .key = rows.rows[i][1] == NULL ? NULL : arena_strdup(r->arena, rows.rows[i][1])});
    return NULL;
}

struct error *lane_rules_forget(struct lane_rules *r)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "lane rules");
    struct pg_rows ignored;

    clear(r);
    r->is_read = false;
    TRY(connected(r));
    return pg_query(r->conn, a, "forgetting how tables were divided over lanes",
                    "DELETE FROM pgtide.lane_table WHERE task = $1", &r->options.task, 1, &ignored);
}

static const char *key_text(struct arena *a, const struct target_table *table)
{
    const char *text = "";

    for (unsigned i = 0; i < table->n_key; i++)
        text = arena_printf(a, "%s%s%s", text, i == 0 ? "" : ", ",
                            pg_quote_identifier(a, table->relation->columns[table->key[i]].name));
    return text;
}

MUST_USE static struct error *write(struct lane_rules *r, uint32_t oid, const char *key)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "lane rule");
    const char *params[] = {r->options.task, arena_printf(a, "%" PRIu32, oid), key};
    struct pg_rows ignored;

    TRY(connected(r));
    return pg_query(r->conn, a, "writing down how a table is divided over lanes",
                    "INSERT INTO pgtide.lane_table (task, source_oid, key) VALUES ($1, $2::oid, $3) "
                    "ON CONFLICT (task, source_oid) DO UPDATE SET key = excluded.key",
                    params, COUNT_OF(params), &ignored);
}

/* A stored rule says what must be; whether the table still allows it, what may be. */
static enum lane_rule rule_in_force(const struct lane_rules *r, const struct rule *rule, const char *key,
                                    enum lane_rule possible)
{
    if (rule->key == NULL)
        return LANE_BY_TABLE;
    if (strcmp(rule->key, key) != 0 || (possible != LANE_BY_KEY && !r->is_read))
        return LANE_ALONE;
    return LANE_BY_KEY;
}

struct error *lane_rules_fix(struct lane_rules *r, struct target_table *table)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "lane rule");
    const char *key = table->mode == TABLE_KEYED ? key_text(a, table) : "";
    uint32_t oid = table->relation->oid;
    unsigned at = place_of(r, oid);

    if (table->lane_rule == LANE_ALONE)
        return NULL;
    if (at < r->n && r->rules[at].oid == oid) {
        table->lane_rule = rule_in_force(r, &r->rules[at], key, table->lane_rule);
        return NULL;
    }
    if (r->is_read)
        return NULL;
    const char *stored = table->lane_rule == LANE_BY_KEY ? arena_strdup(r->arena, key) : NULL;
    TRY(write(r, oid, stored));
    add(r, at, (struct rule){.oid = oid, .key = stored});
    return NULL;
}
