#!/usr/bin/env python3
"""Write a C file that holds each .sql file given as a string `sql_NAME`; src/pg/sql.h declares them by hand."""
import sys
from pathlib import Path

ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


def literal(text):
    """One C string literal a line, so that the compiler's messages and a debugger stay readable."""
    lines = text.splitlines(keepends=True)
    return "\n".join('    "' + "".join(ESCAPES.get(c, c) for c in line) + '"' for line in lines)


def main(out, files):
    definitions = [f"const char sql_{f.stem}[] =\n{literal(f.read_text())};" for f in map(Path, files)]
    head = '/* Made by tools/embed_sql.py from src/pg/sql. */\n#include "pg/sql.h"\n'
    Path(out).write_text("\n".join([head, *definitions]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
