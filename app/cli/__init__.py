"""The command line: how the service is started, migrated, filled and described."""
