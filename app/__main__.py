"""Lets `python -m app` be the command line."""

from app.cli import commands

if __name__ == "__main__":
    commands.app()
