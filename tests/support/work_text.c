#include "support/work_text.h"

#include "support/rows.h"

static void show_row(struct buffer *b, const struct batch *batch, const struct batch_row *r)
{
    unsigned n = batch->table->relation->n_columns;

    if (r->key != NULL && batch->op != BATCH_UPDATE)
        row_to_text(b, r->key, batch->table->mode == TABLE_KEYED ? batch->table->n_key : n);
    if (batch->op == BATCH_REKEY)
        buffer_append_char(b, '>');
    if (r->row != NULL)
        row_to_text(b, r->row, n);
}

static void show_batch(struct buffer *b, const struct batch *batch)
{
    static const char *const names[BATCH_OP_COUNT] = {"insert", "update", "rekey", "delete"};

    buffer_printf(b, "%s.%s(", batch->table->relation->name, names[batch->op]);
    for (unsigned i = 0; i < batch->n_rows; i++) {
        if (i > 0)
            buffer_append_char(b, ' ');
        show_row(b, batch, &batch->rows[i]);
    }
    buffer_append_char(b, ')');
}

static void show_truncate(struct buffer *b, const struct change_truncate *t)
{
    buffer_append_text(b, "truncate(");
    for (unsigned i = 0; i < t->n_tables; i++)
        buffer_printf(b, "%s%s", i == 0 ? "" : " ", t->tables[i]->relation->name);
    buffer_append_char(b, ')');
}

const char *work_text(struct arena *a, const struct window *w, enum window_part_kind kind)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    for (const struct fold_work *work = window_part(w, kind).work; work != NULL; work = work->next) {
        if (b->length > 0)
            buffer_append_char(b, ' ');
        if (work->batch != NULL)
            show_batch(b, work->batch);
        else
            show_truncate(b, work->truncate);
    }
    return arena_strdup(a, buffer_text(b));
}
