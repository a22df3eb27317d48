"""The command line, `nbsoftmax`.

`entry` runs a command, `parser` reads its options and `config` those of a file. Each command has a file of its own name
with its options (`add_options`) and what it does (`run`). What they share: `options`, `reading` (data and models),
`output` (text, JSON, tables), `saving` (models), `fit_report` and `advice` (the report and the warnings of a fit).
"""

from nbsoftmax.cli.entry import main as main
