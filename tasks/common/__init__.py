"""What all studies share: training, result files, reports, plots, columns of files."""

__all__: list[str] = []
