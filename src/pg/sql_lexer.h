/*
 * Cuts SQL text into tokens as psql and the server's scanner do (psqlscan.l, scan.l), standard_conforming_strings on.
 *
 * Pure, allocates nothing; understands every legal text of a server encoding (all are ASCII-safe). Text that ends
 * inside a string or comment gives LEX_BROKEN.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum lex_kind {
    LEX_END,
    LEX_WORD,    /* keyword or plain identifier */
    LEX_QUOTED,  /* "identifier", with its quotes */
    LEX_STRING,  /* '…', E'…', $tag$…$tag$ */
    LEX_NUMBER,  /* digits and what sticks to them */
    LEX_SYMBOL,  /* one byte */
    LEX_COMMENT, /* from -- to before the newline; block comments are skipped like blanks */
    LEX_BROKEN,
};

struct lexeme {
    enum lex_kind kind;
    const char *start;
    size_t length;
};

struct lexer {
    const char *at;
    const char *end;
};

struct lexeme lex_next(struct lexer *l);

/* Whether a word is `keyword` (lower case), whatever its case. */
bool lexeme_is_word(const struct lexeme *x, const char *keyword);
