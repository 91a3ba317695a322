"""Dataset repositories: Parquet, manifest, cards and metadata; verified, audited and published."""
