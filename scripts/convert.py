"""Convert a .csv file to Parquet in bounded memory."""

from __future__ import annotations

from pathlib import Path

from common import main_guard, parser
from torchlogreg.disk.csv_to_parquet import csv_to_parquet

DESCRIPTION = """\
Convert a .csv file of any size to Parquet, a block at a time. The file is read twice: a column is
of whole numbers, numbers, true and false, or text, whichever all of its fields are.
"""

EPILOG = """\
example:
  python scripts/convert.py big.csv big.parquet
  python scripts/train.py --data big.parquet --target bought --mapped
"""


def main() -> None:
    """Parse, convert, report."""
    p = parser(DESCRIPTION, EPILOG)
    p.add_argument("source", type=Path, help="a .csv file with a header, in UTF-8")
    p.add_argument("path", type=Path, help="the .parquet file to write")
    args = p.parse_args()
    if args.path.suffix.lower() != ".parquet":
        raise ValueError(f"{args.path} does not end in .parquet, which is what is written")
    n = csv_to_parquet(args.source, args.path)
    print(f"{args.path}: {n} rows")


if __name__ == "__main__":
    main_guard(main)
