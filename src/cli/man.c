#include "cli/man.h"

#include <string.h>

#include "cli/command.h"
#include "cli/exit.h"

/* What groff would take for a request or an escape is text here; "-" is a hyphen that can be copied. */
static void text(struct buffer *out, const char *s)
{
    static const char ellipsis[] = "…";
    bool begins = true;

    for (; *s != '\0'; s++) {
        if (begins && (*s == '.' || *s == '\''))
            buffer_append_text(out, "\\&");
        begins = *s == '\n';
        if (*s == '\\')
            buffer_append_text(out, "\\e");
        else if (*s == '-')
            buffer_append_text(out, "\\-");
        else if (strncmp(s, ellipsis, strlen(ellipsis)) == 0) {
            buffer_append_text(out, "...");
            s += strlen(ellipsis) - 1;
        } else
            buffer_append_char(out, *s);
    }
}

static void line(struct buffer *out, const char *request, const char *s)
{
    buffer_append_text(out, request);
    text(out, s);
    buffer_append_char(out, '\n');
}

static void arguments(struct buffer *out, const struct command_spec *spec)
{
    for (const struct argument_spec *a = spec->arguments; a->name != NULL; a++) {
        buffer_append_char(out, ' ');
        for (const struct word *w = a->words; w != NULL && w->word != NULL; w++) {
            buffer_append_text(out, w == a->words ? "" : "|");
            text(out, w->word);
        }
        if (a->words == NULL)
            buffer_printf(out, "\\fI%s\\fR", a->name);
    }
}

static void options(struct buffer *out, enum command command)
{
    for (size_t i = 0; i < n_option_specs; i++) {
        const struct option_spec *o = &option_specs[i];

        if (!option_belongs_to(o, command))
            continue;
        buffer_append_text(out, ".TP\n\\fB\\-\\-");
        text(out, o->name);
        buffer_append_text(out, "\\fR");
        if (o->value != NULL)
            buffer_append_text(out, " \\fI");
        text(out, o->value == NULL ? "" : o->value);
        buffer_append_text(out, o->value == NULL ? "\n" : "\\fR\n");
        line(out, "", o->help);
    }
}

static void examples(struct buffer *out, const struct command_spec *spec)
{
    for (const char *const *e = spec->examples; e != NULL && e[0] != NULL; e += 2) {
        line(out, ".TP\n.B ", e[0]);
        line(out, "", e[1]);
    }
}

static void one_command(struct buffer *out, enum command command)
{
    const struct command_spec *spec = command_spec(command);

    buffer_printf(out, ".SS pgtide %s", spec->name);
    arguments(out, spec);
    buffer_append_char(out, '\n');
    buffer_printf(out, "%c", (char)(spec->summary[0] - 'a' + 'A'));
    text(out, spec->summary + 1);
    buffer_append_text(out, ".\n");
    if (spec->details[0] != '\0')
        line(out, "", spec->details);
    options(out, command);
    examples(out, spec);
}

void man_page(struct buffer *out)
{
    buffer_append_text(
        out, ".TH PGTIDE 1 \"\" \"pgtide " PGTIDE_VERSION "\"\n"
             ".SH NAME\npgtide \\- synchronize a live PostgreSQL database to another server\n"
             ".SH SYNOPSIS\n.B pgtide\n\\fICOMMAND\\fR \\fIARGUMENTS\\fR [\\fIOPTIONS\\fR]\n"
             ".SH DESCRIPTION\n"
             "Copies a database to another server, keeps following its changes, proves that both sides are equal while "
             "both\n"
             "are in use, and leads through the switch. \\fISOURCE\\fR and \\fITARGET\\fR are anything libpq takes:\n"
             "postgresql://user@host/database, \"host=old dbname=shop\", service=old.\n"
             ".SH COMMANDS\n");
    for (enum command c = 0; c < COMMAND_COUNT; c++)
        one_command(out, c);
    buffer_append_text(out, ".SH EXIT STATUS\n");
    for (const struct exit_meaning *m = exit_meanings; m->meaning != NULL; m++) {
        buffer_printf(out, ".TP\n.B %u\n", m->status);
        line(out, "", m->meaning);
    }
    buffer_append_text(out, ".SH ENVIRONMENT\n.TP\n.B PGTIDE_STATE_DIR\nwhere the state of syncs is kept, unless "
                            "\\-\\-state\\-dir says so\n"
                            ".TP\n.B NO_COLOR\nno colors on a terminal\n"
                            ".TP\n.B PGPASSFILE, PGSERVICEFILE, PGSSLMODE and the like\nas of libpq\n"
                            ".SH FILES\n.TP\n.I ~/.local/state/pgtide\n"
                            "a folder a pair, with the changes that were received and not applied yet, the log, and "
                            "the names of what was made on the servers\n"
                            ".SH SEE ALSO\n.BR pg_dump (1),\n.BR psql (1)\n");
}
