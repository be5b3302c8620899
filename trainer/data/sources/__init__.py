"""One file per `data.source.kind`, each with `read(source) -> Examples`."""
