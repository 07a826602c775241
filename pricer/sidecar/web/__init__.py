"""The dashboard's files, served as they are."""
