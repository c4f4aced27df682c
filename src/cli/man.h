/* The manual page, in man(7), written from the tables of cli/command.h. Pure. */
#pragma once

#include "base/buffer.h"

/* pgtide(1): every command with its options and examples, exit statuses, environment, files. */
void man_page(struct buffer *out);
