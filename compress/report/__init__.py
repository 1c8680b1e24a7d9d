"""The report of a build: the verdict, tables, charts and sample images."""
