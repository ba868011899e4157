"""What operators run: the `objstore` command, one file for each group of subcommands."""
