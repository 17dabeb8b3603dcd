"""What the console command ``tuplemill`` calls: imports nothing before Ctrl-C is silent."""

from jobs.starting import quiet


def main() -> None:
    """Run the command line; its commands let Ctrl-C be a KeyboardInterrupt again."""
    quiet()
    from jobs.cli import program

    program.run()
