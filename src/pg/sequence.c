#include "pg/sequence.h"

#include "base/buffer.h"
#include "base/fault.h"
#include "pg/cells.h"
#include "pg/sql.h"

enum { SEQUENCES_PER_STATEMENT = 500 };

/* is_called is a column of the sequence's own relation and nowhere else: one branch of a union for each. */
static void append_branch(struct buffer *sql, struct arena *a, unsigned n, const char *schema, const char *name)
{
    buffer_printf(sql, "%sSELECT %u, last_value::text, is_called::text FROM %s", n == 0 ? "" : " UNION ALL ", n,
                  pg_quote_name(a, schema, name));
}

static struct error *read_values(struct pg_conn *c, struct arena *a, struct sequence *sequences, unsigned n)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(a, "values of sequences");
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct pg_rows answer;

    for (unsigned i = 0; i < n; i++)
        append_branch(sql, scratch, i, sequences[i].schema, sequences[i].name);
    TRY(pg_query(c, scratch, "reading the values of sequences", buffer_text(sql), NULL, 0, &answer));
    if (answer.n_rows != n)
        return error_new(ERROR_BUG, "reading the values of sequences: asked for %u, got %u", n, answer.n_rows);
    for (unsigned r = 0; r < n; r++) {
        struct sequence *s = &sequences[cell_u32(answer.rows[r][0]) % n];

        s->last_value = cell_i64(answer.rows[r][1]);
        s->is_called = cell_bool(answer.rows[r][2]);
    }
    return NULL;
}

static struct error *read_all_values(struct pg_conn *c, struct arena *a, struct sequence *sequences, unsigned n)
{
    for (unsigned from = 0; from < n; from += SEQUENCES_PER_STATEMENT) {
        unsigned part = n - from < SEQUENCES_PER_STATEMENT ? n - from : SEQUENCES_PER_STATEMENT;

        TRY(read_values(c, a, sequences + from, part));
    }
    return NULL;
}

struct error *sequence_read(struct pg_conn *c, struct arena *a, struct relation_filter filter, struct sequence **out,
                            unsigned *out_n)
{
    struct pg_rows names;
    unsigned n = 0;

    TRY(pg_query(c, a, "reading the list of sequences", sql_sequences, NULL, 0, &names));
    struct sequence *sequences = arena_alloc(a, (names.n_rows + 1U) * sizeof *sequences);
    for (unsigned i = 0; i < names.n_rows; i++) {
        char **cell = names.rows[i];

        if (filter_takes(filter, cell_u32(cell[2]), cell[0], cell[1]))
            sequences[n++] = (struct sequence){.schema = cell[0], .name = cell[1]};
    }
    struct error *err = read_all_values(c, a, sequences, n);
    if (err != NULL)
        return error_hint(
            err, "The user needs SELECT on all sequences; one that was dropped just now is gone at the next try.");
    *out = sequences;
    *out_n = n;
    return NULL;
}

static struct error *write_part(struct pg_conn *target, struct arena *a, const struct sequence *sequences, unsigned n)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(a, "statement");
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct pg_rows ignored;

    for (unsigned i = 0; i < n; i++) {
        const char *name = pg_quote_name(scratch, sequences[i].schema, sequences[i].name);

        buffer_printf(sql, "%s(%s::regclass, %lld, %s)", i == 0 ? "SELECT count(setval(s, v, c)) FROM (VALUES " : ", ",
                      pg_quote_literal(scratch, name), (long long)sequences[i].last_value,
                      sequences[i].is_called ? "true" : "false");
    }
    buffer_append_text(sql, ") AS wanted(s, v, c)");
    return pg_query(target, scratch, "setting sequences", buffer_text(sql), NULL, 0, &ignored);
}

static struct error *write_in_transaction(struct pg_conn *target, struct arena *a, const struct sequence *sequences,
                                          unsigned n)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(a, "sequences read back");
    struct sequence *again = arena_alloc(scratch, (n + 1U) * sizeof *again);

    for (unsigned from = 0; from < n; from += SEQUENCES_PER_STATEMENT) {
        unsigned part = n - from < SEQUENCES_PER_STATEMENT ? n - from : SEQUENCES_PER_STATEMENT;

        TRY(write_part(target, scratch, sequences + from, part));
    }
    FAULT_POINT("sequence.before_compare");
    if (n > 0)
        memcpy(again, sequences, n * sizeof *again);
    TRY(read_all_values(target, scratch, again, n));
    for (unsigned i = 0; i < n; i++)
        if (again[i].last_value != sequences[i].last_value || again[i].is_called != sequences[i].is_called)
            return error_new(ERROR_DATA, "sequence \"%s.%s\" was set to %lld but reads %lld", sequences[i].schema,
                             sequences[i].name, (long long)sequences[i].last_value, (long long)again[i].last_value);
    return NULL;
}

struct error *sequence_write(struct pg_conn *target, struct arena *a, const struct sequence *sequences, unsigned n)
{
    if (n == 0)
        return NULL;
    TRY(pg_execute(target, "beginning to set sequences", "BEGIN"));
    struct error *err = write_in_transaction(target, a, sequences, n);
    if (err != NULL) {
        error_free(
            pg_execute(target, "giving up setting sequences", "ROLLBACK")); /* the first error is the one to tell */
        return err;
    }
    return pg_execute(target, "committing the values of sequences", "COMMIT");
}
