"""Rows that stay on disk: mapped, encoded from tables block by block, and CSV made into Parquet."""
