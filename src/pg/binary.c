#include "pg/binary.h"

#include "pg/cells.h"
#include "pg/sql.h"

/* Deeper than any sane type; ends the walk should a catalog be damaged. */
enum { DEPTH_MAX = 32 };

/*
 * Text declares its encoding in XML, and a plain array's element oid is compared by array_recv: since 14 only for
 * built-in ones.
 */
enum { OIDS_OF_USERS_START = 16384, ARRAY_RECV_TRUSTS_SENDER = 140000 };

/* What sends a raw oid of something that has another one over there, or has a meaning only inside its server. */
static const char *const never_binary[] = {
    "xml",     "regclass",  "regproc",      "regprocedure", "regoper",       "regoperator", "regtype",
    "regrole", "regconfig", "regnamespace", "regcollation", "regdictionary", "regdatabase", "aclitem",
};

static uint32_t *split_oids(struct arena *a, const char *text, unsigned *out_n)
{
    size_t room = text == NULL ? 0 : strlen(text) / 2 + 1;
    uint32_t *oids = arena_alloc(a, (room + 1) * sizeof *oids);
    unsigned n = 0;

    for (char *p = (char *)(uintptr_t)text; p != NULL && *p != '\0'; p += strspn(p, " "))
        oids[n++] = (uint32_t)strtoul(p, &p, 10);
    *out_n = n;
    return oids;
}

struct error *binary_read_types(struct pg_conn *c, struct arena *a, struct type_list *out)
{
    struct pg_rows answer;

    TRY(pg_query(c, a, "reading the types of columns", sql_types, NULL, 0, &answer));
    out->n = answer.n_rows;
    out->types = arena_alloc(a, (answer.n_rows + 1U) * sizeof *out->types);
    for (unsigned r = 0; r < answer.n_rows; r++) {
        char **cell = answer.rows[r];
        struct type_facts *t = &out->types[r];

        *t = (struct type_facts){
            .oid = cell_u32(cell[0]),
            .schema = cell[1],
            .name = cell[2],
            .kind = cell_char(cell[3]),
            .has_send = cell_bool(cell[4]),
            .has_receive = cell_bool(cell[5]),
            .element = cell_u32(cell[6]),
            .base = cell_u32(cell[7]),
            .extension = cell[8],
            .extension_version = cell[9],
        };
        t->fields = split_oids(a, cell[10], &t->n_fields);
    }
    return NULL;
}

static const struct type_facts *type_find(const struct type_list *l, uint32_t oid)
{
    unsigned low = 0, high = l->n;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (l->types[middle].oid == oid)
            return &l->types[middle];
        if (l->types[middle].oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct pair {
    const struct binary_side *source;
    const struct binary_side *target;
    struct arena *a;
};

static const char *why_not(const struct pair *p, uint32_t source_oid, uint32_t target_oid, unsigned depth);

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_never_binary(const struct type_facts *t)
{
    for (size_t i = 0; strcmp(t->schema, "pg_catalog") == 0 && i < COUNT_OF(never_binary); i++)
        if (strcmp(t->name, never_binary[i]) == 0)
            return true;
    return false;
}

/* An array or composite names the oids of its parts in its bytes. */
static const char *why_not_part(const struct pair *p, uint32_t source_oid, uint32_t target_oid, unsigned depth)
{
    if (source_oid != target_oid && (p->target->version_number < ARRAY_RECV_TRUSTS_SENDER ||
                                     source_oid < OIDS_OF_USERS_START || target_oid < OIDS_OF_USERS_START))
        return "a server before 14 takes arrays and composites of user types in text only";
    return why_not(p, source_oid, target_oid, depth);
}

static const char *why_not_fields(const struct pair *p, const struct type_facts *s, const struct type_facts *t,
                                  unsigned depth)
{
    if (s->n_fields != t->n_fields)
        return arena_printf(p->a, "type \"%s.%s\" has other fields on the target", s->schema, s->name);
    for (unsigned i = 0; i < s->n_fields; i++) {
        const char *why = why_not_part(p, s->fields[i], t->fields[i], depth);

        if (why != NULL)
            return why;
    }
    return NULL;
}

/* NULL when a value of the one type can be read as the other. */
static const char *why_not(const struct pair *p, uint32_t source_oid, uint32_t target_oid, unsigned depth)
{
    const struct type_facts *s = type_find(p->source->types, source_oid);
    const struct type_facts *t = type_find(p->target->types, target_oid);

    if (s == NULL || t == NULL || depth > DEPTH_MAX)
        return "its type could not be examined on both sides";
    if (strcmp(s->name, t->name) != 0 || strcmp(s->schema, t->schema) != 0 || s->kind != t->kind)
        return arena_printf(p->a, "type \"%s.%s\" on the source is \"%s.%s\" on the target", s->schema, s->name,
                            t->schema, t->name);
    if (!s->has_send || !t->has_receive || is_never_binary(s))
        return arena_printf(p->a, "type \"%s.%s\" has no binary form that another server understands", s->schema,
                            s->name);
    if (!same_text(s->extension, t->extension) || !same_text(s->extension_version, t->extension_version))
        return arena_printf(p->a, "type \"%s.%s\" comes from different versions of its extension", s->schema, s->name);
    if ((s->element == 0) != (t->element == 0) || (s->base == 0) != (t->base == 0))
        return arena_printf(p->a, "type \"%s.%s\" is made differently on the target", s->schema, s->name);
    if (s->element != 0)
        return why_not_part(p, s->element, t->element, depth + 1);
    if (s->base != 0)
        return why_not(p, s->base, t->base, depth + 1);
    return s->kind == 'c' ? why_not_fields(p, s, t, depth + 1) : NULL;
}

static const char *why_not_table(const struct pair *p, const struct catalog_table *source)
{
    const struct catalog_table *target = catalog_find(p->target->catalog, source->schema, source->name);

    if (target == NULL)
        return "the target has no such table";
    for (unsigned i = 0; i < source->n_columns; i++) {
        const struct catalog_column *from = &source->columns[i];
        const struct catalog_column *to = catalog_column_find(target, from->name);

        if (from->generated != GENERATED_NOT)
            continue;
        if (to == NULL)
            return arena_printf(p->a, "the target has no column \"%s\"", from->name);
        const char *why = why_not(p, from->type, to->type, 0);
        if (why != NULL)
            return arena_printf(p->a, "column \"%s\": %s", from->name, why);
    }
    return NULL;
}

void binary_choose(struct arena *a, const struct binary_side *source, const struct binary_side *target,
                   const char **out_reasons)
{
    struct pair p = {.source = source, .target = target, .a = a};

    for (unsigned i = 0; i < source->catalog->n_tables; i++)
        out_reasons[i] = why_not_table(&p, &source->catalog->tables[i]);
}

/* xml travels well here: both sessions have the same client_encoding, and the receiver reads the declaration. */
const char *binary_stream_reason(struct arena *a, const struct type_list *types, int target_version)
{
    for (unsigned i = 0; i < types->n; i++) {
        const struct type_facts *t = &types->types[i];
        bool is_made_of_users = (t->element >= OIDS_OF_USERS_START || t->kind == 'c') && t->oid >= OIDS_OF_USERS_START;

        if (is_never_binary(t) && strcmp(t->name, "xml") != 0)
            return arena_printf(a, "type \"%s\" is used, which sends the source's oids", t->name);
        if (target_version < ARRAY_RECV_TRUSTS_SENDER && is_made_of_users)
            return arena_printf(a, "type \"%s.%s\" is used, which a target before 14 takes in text only", t->schema,
                                t->name);
    }
    return NULL;
}
