"""Any corpus that comes as tables of audio files and transcripts (Common Voice, or a TSV or CSV of one's own).

    python -m data_prep.tsv --out data/mine train.tsv dev.tsv test.tsv [--language de] [--speaker me]

Each table becomes the data directory of its name. How rows are read, and which columns are guessed, is the business of
`speechnlp_tl.speech.data_import`; one table alone is imported as well by `speechnlp-tl data import-tsv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.command import corpus_parser, run
from data_prep.output import output_folder
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_import import import_tsv


def prepare(tables: Sequence[Path], out: Path, **options: Any) -> dict[str, Path]:
    """Write one data directory for each table; audio stays where it is.

    Args:
        tables: the files; their names without ending are the splits.
        out: where to; a folder that this function wrote earlier is replaced.
        options: as for `import_tsv` (`language`, `speaker`, `audio_root`, `audio_column`, ...).

    Returns:
        Split -> data directory.

    Raises:
        InputError: lists every bad row of every table, two tables of one name, or that `out` holds something else.
    """
    names = [Path(table).stem for table in tables]
    problems = [
        Problem("another table has this name too", file=table, remedy="rename one of them")
        for table, name in zip(tables, names, strict=True)
        if names.count(name) > 1
    ]
    if not tables:
        problems.append(Problem("no table was given"))
    if problems:
        raise InputError(problems)
    shown = {key: str(value) for key, value in options.items() if value is not None}
    with output_folder(out, "tsv", {"tables": [str(table) for table in tables], **shown}) as folder:
        for table, name in zip(tables, names, strict=True):
            try:
                import_tsv(table, folder / name, **options)
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
    return {name: Path(out) / name for name in names}


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__, corpus_dir=False)
    parser.add_argument("tables", type=Path, nargs="+", metavar="TABLE", help="TSV or CSV files with a header")
    parser.add_argument("--audio-root", type=Path, help="folder of relative audio paths (default: the table's)")
    parser.add_argument("--language", help="language of all rows (default: a language column, where there is one)")
    parser.add_argument("--speaker", help="speaker of all rows (default: the speaker column)")
    arguments = parser.parse_args()
    run(
        lambda: prepare(
            arguments.tables,
            arguments.out,
            audio_root=arguments.audio_root,
            language=arguments.language,
            speaker=arguments.speaker,
        )
    )


if __name__ == "__main__":
    main()
